"""`./retrain demo`: everything started, two uploads, two runs at the pinned version, trained for real and followed.

The first upload is left to the blob trigger; the second is also announced by webhook, and so is the first, late: none
of that may start a run more. Believes only what the workspace received, not what the app says it sent.
Everything runs on free ports, in memory, with the wiring winning over the environment: it never touches a real account.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from azure.storage.blob import BlobServiceClient
from rich.console import Console
from rich.table import Table

from local.configuration import Kind, over, pins, shipped, toml
from local.process import HOST, ChildFailedError
from local.stack import CONTAINER, LOGS, Ports, PortTakenError, Stack, interruptible
from local.workspace.sample_data import generate
from local.workspace.seed import BATCH_ENDPOINT
from local.workspace.state import PATH as WORKSPACE

DATASTORE = "training"  # the datastore of the shipped retrain.toml
ROWS = 2000
PATIENCE_S = 90.0  # for each thing that is waited for; all of them take seconds
ENDED = {"Finished", "Failed", "Canceled"}


class DemoFailedError(RuntimeError):
    """Something is not as promised; the message says what."""


@dataclass
class Upload:
    """One upload and what came of it."""

    blob: str
    country: str
    rule: str
    """The rule that is to start a run of it."""
    uploaded: datetime = datetime.min
    run: dict[str, Any] = field(default_factory=dict)
    """The submission as the workspace received it, and what became of it."""

    @property
    def properties(self) -> dict[str, str]:
        """What the app wrote on the run about why it is there."""
        found: dict[str, str] = self.run.get("properties", {})
        return found

    @property
    def data_path(self) -> dict[str, str]:
        """Where the run reads its data."""
        found: dict[str, str] = self.run.get("data_paths", {}).get("input_data", {"datastore": "", "path": ""})
        return found

    def is_about(self, run: dict[str, Any]) -> bool:
        """Tell whether a submission is this rule's of this blob."""
        path = run["data_paths"].get("input_data", {}).get("path")
        return bool(path == self.blob and run["properties"].get("retrain.rule") == self.rule)

    @property
    def upload_to_submit_s(self) -> float:
        """Seconds from the end of the upload to the submission's arrival at the workspace."""
        return round((datetime.fromisoformat(self.run["received"]) - self.uploaded).total_seconds(), 3)

    def as_json(self) -> dict[str, Any]:
        """Return the facts for `--json`; those not known yet are null."""
        run = self.run
        return {
            "blob": self.blob,
            "rule": self.properties.get("retrain.rule") if run else None,
            "version": run.get("version"),
            "data_path": self.data_path if run else None,
            "run_id": run.get("run_id"),
            "status": run.get("status"),
            "metrics": run.get("metrics"),
            "upload_to_submit_s": self.upload_to_submit_s if run else None,
        }


class Demo:
    """The story: each step says on the console what it does and what came of it."""

    def __init__(self, stack: Stack, console: Console, pinned: dict[str, str]) -> None:
        """`pinned`: what each rule's pipeline is pinned to."""
        self.stack, self.console, self.pinned = stack, console, pinned
        first, *others = pinned
        self.us = Upload("income/us/adult.csv", "us", first)
        self.abroad = Upload("income/non-us/adult.csv", "non-us", first)
        beside = [Upload(one.blob, one.country, rule) for rule in others for one in (self.us, self.abroad)]
        self.uploads = [self.us, self.abroad, *beside]
        self.announced = 0  # by webhook
        self.submissions = 0  # accepted by the workspace, at the last look

    def run(self) -> None:
        """Upload, announce, follow, check. Raises DemoFailedError or ChildFailedError."""
        self.upload(self.us)
        self.console.print("  ... the blob trigger has to see it by itself")
        self.await_submission(self.us)
        self.upload(self.abroad)
        answer = self.announce(self.abroad)
        self.await_submission(self.abroad)
        self.expect_same_run(self.abroad, answer)
        self.console.print(f"  announcing {self.us.blob} again, now that it has its run")
        self.expect_same_run(self.us, self.announce(self.us), must_name_it=True)
        self.follow()
        self.check()

    def upload(self, upload: Upload) -> None:
        """Put made-up census data into the container, as anybody would."""
        text = generate(upload.country, ROWS, seed=1)
        with BlobServiceClient.from_connection_string(self.stack.storage) as service:
            service.get_blob_client(CONTAINER, upload.blob).upload_blob(text)
        for one in self.uploads:
            if one.blob == upload.blob:
                one.uploaded = datetime.now(UTC)
        self.console.print(f"uploaded {CONTAINER}/{upload.blob} ({len(text) // 1000} kB)")

    def announce(self, upload: Upload) -> dict[str, Any]:
        """Tell the webhook about an upload; return its answer."""
        self.announced += 1
        body = {"datastore": DATASTORE, "path": upload.blob}
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(f"{self.stack.app_url}/api/retrain", json=body, timeout=PATIENCE_S)
        if response.status_code != 202:
            raise DemoFailedError(f"POST /api/retrain {body} was answered {response.status_code}: {response.text}")
        answer: dict[str, Any] = response.json()
        self.console.print(f"  POST /api/retrain: {answer['state']}, run {answer['run_id'] or '(being submitted)'}")
        return answer

    def accepted(self) -> list[dict[str, Any]]:
        """Return every submission that the workspace accepted."""
        with requests.Session() as session:
            session.trust_env = False
            runs: list[dict[str, Any]] = session.get(f"{self.stack.workspace_url}/_control/runs", timeout=10).json()
        self.submissions = len(runs)
        for upload in self.uploads:
            for run in runs:
                if upload.is_about(run) and upload.run.get("run_id") in (None, run["run_id"]):
                    upload.run = run
        return runs

    def await_submission(self, upload: Upload) -> None:
        """Wait until the workspace has accepted a run for the upload."""

        def seen() -> bool:
            self.accepted()
            return bool(upload.run)

        self.wait_until(seen, f"no submission for {upload.blob} reached the workspace")
        run = upload.run
        self.console.print(f"  submitted after {upload.upload_to_submit_s:.1f} s: run {run['run_id']}")

    def expect_same_run(self, upload: Upload, answer: dict[str, Any], must_name_it: bool = False) -> None:
        """Raise DemoFailedError when the webhook's answer is not about the run that the workspace has."""
        named, run = answer["run_id"], upload.run["run_id"]
        if (named or must_name_it) and named != run:
            raise DemoFailedError(f"The webhook says that {upload.blob} has run {named}, the workspace says {run}.")
        if answer["key"] != upload.properties.get("retrain.key"):
            raise DemoFailedError(f"The webhook's key for {upload.blob} is not the one on the run: {answer['key']}.")

    def follow(self) -> None:
        """Wait until both runs have ended."""

        def ended() -> bool:
            self.accepted()
            return all(upload.run.get("status") in ENDED for upload in self.uploads)

        self.console.print("training ...")
        self.wait_until(ended, "the runs did not end")

    def check(self) -> None:
        """Raise DemoFailedError unless both finished, pinned, once each, and learned different things."""
        faults = []
        for upload in self.uploads:
            count = sum(upload.is_about(run) for run in self.accepted())
            if count != 1:
                faults.append(f"{upload.blob} was submitted {count} times")
            if upload.run["status"] != "Finished":
                faults.append(f"the run of {upload.blob} ended {upload.run['status']}: {upload.run['error']}")
            if upload.run["version"] != (pinned := self.pinned[upload.rule]):
                faults.append(f"{upload.blob} ran at version {upload.run['version']}, pinned is {pinned}")
        if (more := len(self.accepted()) - len(self.uploads)) > 0:
            faults.append(f"the workspace accepted {more} more than was uploaded")
        if self.us.run["metrics"] == self.abroad.run["metrics"]:
            faults.append("both runs have the same metrics: they cannot have read different data")
        if faults:
            raise DemoFailedError("Not as promised: " + "; ".join(faults) + ".")

    def wait_until(self, done: Callable[[], bool], otherwise: str) -> None:
        """Wait until `done()`. Raises DemoFailedError saying `otherwise` when it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            self.stack.check()
            if time.monotonic() > deadline:
                raise DemoFailedError(f"For {PATIENCE_S:.0f} s {otherwise}.")
            time.sleep(0.05)

    def tables(self) -> Iterator[Table]:
        """Yield what came of the uploads, for people, a table a rule; narrow enough for a terminal of 80 columns."""
        for rule, pinned in self.pinned.items():
            facts = [upload.as_json() for upload in self.uploads if upload.rule == rule]
            accuracies = [(one["metrics"] or {}).get("accuracy") for one in facts]
            table = Table("", "US", "non-US", title="Two uploads, two runs")
            table.add_row("upload", *(one["blob"] for one in facts))
            table.add_row("rule", *(one["rule"] for one in facts))
            table.add_row("version", *(f"{one['version']} (pinned: {pinned})" for one in facts))
            table.add_row("data path", *("{datastore}/{path}".format(**one["data_path"]) for one in facts))
            table.add_row("run", *(one["run_id"][-8:] for one in facts))
            table.add_row("status", *(one["status"] for one in facts))
            table.add_row("accuracy", *("-" if accuracy is None else f"{accuracy:.3f}" for accuracy in accuracies))
            table.add_row("submitted", *(f"{one['upload_to_submit_s']:.2f} s after the upload" for one in facts))
            yield table


def demo(*, as_json: bool, kind: Kind = "pipeline") -> int:
    """Run the demo over a kind of endpoint, or both; return the exit code.

    With `as_json` stdout gets one JSON object and nothing else.
    """
    begun = time.monotonic()
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="demo-", dir=LOGS))
    story, fault = None, None
    try:
        with interruptible():
            console.print("starting on free ports: storage emulator, workspace stand-in, function app")
            ports = Ports.free()
            content, settings = configured(kind, ports, logs)
            say: Callable[[str], object] = lambda line: console.print(f"  {line}")  # noqa: E731
            with Stack(ports, logs=logs, more=settings, say=say) as stack:
                story = Demo(stack, console, pins(content))
                try:
                    story.run()
                except (DemoFailedError, requests.RequestException) as error:
                    fault = f"{error}\n{stack.log_tails()}"
    except (ChildFailedError, PortTakenError, DemoFailedError) as error:
        fault = str(error)
    except KeyboardInterrupt:
        fault = "interrupted"
    if story and all(upload.run for upload in story.uploads):
        Console(stderr=as_json, highlight=False).print(*story.tables())
        arrivals = len({one.blob for one in story.uploads})
        console.print(
            f"{arrivals} arrivals in sight of the blob trigger, {story.announced} announcements by webhook: "
            f"the workspace accepted {story.submissions} submissions."
        )
    if fault:
        console.print(f"The demo failed after {time.monotonic() - begun:.0f} s.\n{fault}", markup=False)
    else:
        shutil.rmtree(logs)
        console.print(f"Done in {time.monotonic() - begun:.0f} s.\n{NEXT}", markup=False)
    if as_json:
        uploads = [upload.as_json() for upload in story.uploads] if story else []
        print(json.dumps({"ok": not fault, "uploads": uploads} | ({"error": fault} if fault else {})))
    return 1 if fault else 0


NEXT = """Next:
  ./retrain start   the same, to play with: upload, call the webhook, look at the workspace's pages
  retrain.toml      what starts what, at which version
  README.md         how it works, and how to put it into Azure"""


def configured(kind: Kind, ports: Ports, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what retrain.toml says, and the app settings that go with it: where it is, if not the shipped one."""
    if kind == "pipeline":
        return shipped(), {}
    scoring_uri = f"http://{HOST}:{ports.workspace}/batch/{BATCH_ENDPOINT}/jobs"
    content, file = over(kind, scoring_uri, WORKSPACE), folder / "retrain.toml"
    file.write_text(toml(content), encoding="utf-8")
    return content, {"RETRAIN_FILE": str(file)}
