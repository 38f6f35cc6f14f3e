"""What is not established about the service, question by question, and what asking has told. Never asks.

docs/live-check.md has the same questions, with what they mean to the app.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

READS, SUBMITS = "LIVE_AZUREML_ENDPOINT_URL, LIVE_AZUREML_VERSION", "LIVE_AZUREML_SUBMIT=1"
BATCH = "LIVE_AZUREML_BATCH_URL, LIVE_AZUREML_WORKSPACE, LIVE_AZUREML_DEPLOYMENT"
DATA = "LIVE_AZUREML_DATASTORE, LIVE_AZUREML_PATH"
V1_SUBMITS, BATCH_SUBMITS = f"{SUBMITS}, {READS}, {DATA}", f"{SUBMITS}, {BATCH}, {DATA}"


class Question(NamedTuple):
    """One of them, in parts; each part says what is needed to learn it."""

    text: str
    parts: dict[str, str]


NEVER = "nothing here asks that: "
QUESTIONS = {
    1: Question("Which map do the designer's Import Data paths belong in?", {"lists of the interface": READS}),
    2: Question(
        "Do tags and Properties of a submission come back, and after how long?",
        {"on the run": V1_SUBMITS, "in run history": V1_SUBMITS},
    ),
    3: Question(
        "How is refused what is unknown or disabled?",
        {
            "unknown run": READS,
            "unknown datastore": "LIVE_AZUREML_ENDPOINT_URL",
            "unknown version": V1_SUBMITS,
            "unknown parameter": V1_SUBMITS,
            "disabled pipeline": f"{NEVER}it would change the workspace",
        },
    ),
    4: Question(
        "Retry-After and rate limits of the pipelines service?",
        {"headers of all answers": "any endpoint", "the limit": f"{NEVER}it would have to be exceeded"},
    ),
    5: Question("Length, paging and order of a pipeline's list of runs?", {"the list": READS}),
    6: Question("Does the pipelines service take tokens for ml.azure.com?", {"reading the endpoint": READS}),
    7: Question(
        "Does a batch endpoint honour name, tags and repeatability_request-id?",
        {
            "name": BATCH_SUBMITS,
            "tags and properties": BATCH_SUBMITS,
            "the same name twice": BATCH_SUBMITS,
            "the same repeatability_request-id twice": BATCH_SUBMITS,
        },
    ),
    8: Question(
        "Which rights are the least?",
        {"what this identity may read": "any endpoint", "the least": f"{NEVER}give the identity less, and ask again"},
    ),
    9: Question("Does Azure Resource Manager's jobs/{id} have runs of pipeline endpoints?", {"one run": READS}),
    10: Question(
        "When is the v1 REST API retired?",
        {"Deprecation and Sunset headers": "any endpoint", "a date": f"{NEVER}Microsoft's announcements do"},
    ),
    11: Question(
        "A leading slash or special characters in RelativePath?",
        {
            "leading slash": V1_SUBMITS,
            "special characters": V1_SUBMITS,
            "whether the data is found": f"{NEVER}a run would have to go to its end",
        },
    ),
    12: Question(
        "What does a second PUT of a job's name come to?",
        {"the same content twice": f"{SUBMITS}, LIVE_AZUREML_COMPONENT, {DATA}"},
    ),
}


class Report:
    """What was learned, part by part."""

    def __init__(self, of: str) -> None:
        """`of`: what was asked, in words."""
        self.of = of
        self.told = dict[tuple[int, str], str]()
        self.notes = list[str]()

    def tell(self, question: int, part: str, how: str) -> None:
        """Write down what a part of a question came to."""
        assert part in QUESTIONS[question].parts
        self.told[question, part] = how

    def state(self, question: int) -> str:
        """Return `established`, `partly`, or `open`."""
        told = [(question, part) in self.told for part in QUESTIONS[question].parts]
        return "established" if all(told) else "partly" if any(told) else "open"

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        questions = [
            {
                "number": number,
                "question": question.text,
                "state": self.state(number),
                "told": {part: self.told[number, part] for part in question.parts if (number, part) in self.told},
                "open": {part: needs for part, needs in question.parts.items() if (number, part) not in self.told},
            }
            for number, question in QUESTIONS.items()
        ]
        return {"of": self.of, "questions": questions, "notes": self.notes}

    def as_markdown(self) -> str:
        """Return all of it, for people."""
        lines = [f"# What {self.of} tells", "", "docs/live-check.md says what each question means to the app.", ""]
        for one in self.as_json()["questions"]:
            lines.append(f"{one['number']}. **{one['state']}**: {one['question']}")
            lines += [f"    - {part}: {how}" for part, how in one["told"].items()]
            lines += [f"    - {part}: not asked ({needs})" for part, needs in one["open"].items()]
        lines += ["", "Notes:", "", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([*lines, ""])

    def write(self, folder: Path) -> None:
        """Write report.md and report.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(self.as_markdown(), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(self.as_json(), indent=1), encoding="utf-8")
