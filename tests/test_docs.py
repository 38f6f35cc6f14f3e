"""The commands and the JSON of README and docs, run as they stand there: what a reader copies must work."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from cli.commands import commands as operators
from functions.asked import ToClose, ToRedrive, ToRedriveMany
from local.__main__ import main as development
from local.stack import Ports
from shared.operate.calls import Call
from tests.fixtures_workspace import LocalWorkspace
from tests.stacks import start
from tests.test_commands import answer, run
from tests.waiting import until

ROOT = Path(__file__).parent.parent
DOCS = [*ROOT.glob("docs/**/*.md")]
PAGES = [*ROOT.glob("*.md"), *DOCS, *ROOT.glob("local/*/README.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
WORKSPACE = (ROOT / "local" / "workspace" / "README.md").read_text(encoding="utf-8")


def spans(page: str) -> list[str]:
    """Return the inline code of a page, each on one line."""
    prose = "\n".join(line for line in page.splitlines() if not line.startswith("    "))
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def blocks(page: str) -> list[str]:
    """Return the lines of the indented code of a page, without comments."""
    return [line.strip().partition("  #")[0].strip() for line in page.splitlines() if line.startswith("    ")]


PROGRAMS = ("./retrain ", "python ", ".venv/bin/python ", "curl ", "az ", "azd ", "func ", "export ", "LIVE_AZUREML")
AZURE = ("az ", "azd ", "export LIVE_AZUREML")


def typed(page: str) -> list[tuple[str, bool]]:
    """Return the commands in the indented code of a page, and of each whether the words before it say: needs Azure."""
    found, words = list[tuple[str, bool]](), ""
    for block in re.split(r"\n\s*\n", page):
        if not block.startswith("    "):
            words = " ".join(block.split())
            continue
        marked = re.search(r"needs? Azure\):$", words) is not None
        lines = [line.strip().partition("  #")[0].strip() for line in block.splitlines()]
        found += [(line, marked) for line in lines if line.startswith(PROGRAMS)]
    return found


def told(page: Path) -> list[str]:
    """Return what a page says to type at the door."""
    text = page.read_text(encoding="utf-8")
    return [line for line in [*spans(text), *blocks(text)] if line.startswith(("./retrain ", "python retrain "))]


COMMANDS = sorted({(page.name, line) for page in PAGES for line in told(page)})


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_is_one_that_there_is(page: str, line: str) -> None:
    """With options that it has, and values that they take."""
    name, *rest = shlex.split(line)[1:] if line.startswith("./") else shlex.split(line)[2:]
    if name == "test":  # what follows is pytest's
        return
    group = operators if name in operators.commands else development
    assert isinstance(group, click.Group)
    assert name in group.commands, f"{page}: there is no {name}"
    alone = [word for word in rest if word != "..."]
    group.commands[name].make_context(name, alone)


def anchors(page: Path) -> set[str]:
    """Return what a link can name on a page: its headings, as GitHub does it."""
    found = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Those within the project: to a file, and to a heading of it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.exists(), link
        assert not anchor or anchor in anchors(to), link


def test_decisions_are_in_their_index() -> None:
    """Each page, and in its number's place."""
    folder = ROOT / "docs" / "decisions"
    pages = sorted(path.name for path in folder.glob("0*.md"))
    listed = re.findall(r"(?m)^\d+\. .*?\((0\d+-[^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == pages
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    for number, name in enumerate(pages, 1):
        assert (folder / name).read_text(encoding="utf-8").startswith(f"# {number}. ")


RUN_BY = {  # what runs the commands of a page, or a single one
    "tutorial.md": "test_docs_tutorial.py",
    "operations.md": "test_docs_operations.py",
    "./retrain demo --kind batch": "test_demo.py",
    "./retrain package --out package.zip": "test_package.py",
    "./retrain doctor": "test_doctor.py",
    "./retrain doctor income/us/new.csv": "test_doctor.py",
    "LIVE_AZUREML_REPLAY=recording.json ./retrain test tests/live": "test_live_replay.py",
}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_command_is_run_by_a_test_or_needs_azure(page: Path) -> None:
    """What needs Azure says so before the block, in one way: `(needs Azure):`."""
    for line, marked in typed(page.read_text(encoding="utf-8")):
        assert marked or not (line.startswith(AZURE) or "https://" in line), f"needs Azure, and does not say so: {line}"
        runner = RUN_BY.get(line) or RUN_BY.get(page.name)
        assert marked or (runner and (ROOT / "tests" / runner).exists()), f"nobody runs this: {line}"


def test_every_command_is_told_somewhere() -> None:
    """In README or docs."""
    listed = {line.split()[1] for _, line in COMMANDS}
    assert {*operators.commands, *development.commands} - {"lint"} <= listed


def test_readme_from_top_to_bottom(tmp_path: Path) -> None:
    """What `start` prints makes and uploads a file; then each line of README that can be run here is."""
    with start(Ports.free(), tmp_path / "start.log") as made:
        printed = [line.strip() for line in made.log.read_text().splitlines()]
        sample = next(line for line in printed if "sample_data" in line)
        upload = next(line for line in printed if line.startswith("curl -X PUT"))
        here = str(tmp_path / "new.csv")
        for line in (sample.replace("new.csv", here), upload.replace("@new.csv", f"@{here}")):
            subprocess.run(["bash", "-c", line], cwd=ROOT, check=True, capture_output=True, timeout=60)
        [entry] = until(lambda: [one for one in answer("history")["retrains"] if one["run_id"]])
        assert entry["path"] == "income/us/new.csv"

        curl = next(line for line in blocks(README) if line.startswith("curl"))
        done = subprocess.run(
            ["bash", "-c", curl.replace("http://127.0.0.1:7071", made.url)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        head, _, body = done.stdout.partition("\n\n") if "\n\n" in done.stdout else done.stdout.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 202")
        shown = next(line for line in blocks(README) if line.startswith('{"key"'))
        assert set(re.findall(r'"(\w+)":', shown)) <= json.loads(body).keys()

        for line in blocks(README):
            words = line.replace("KEY", entry["key"]).split()[1:]
            if line.startswith("./retrain") and words[0] in operators.commands:
                ran = run(*words)
                assert (ran.returncode in (0, 1), "Traceback" in ran.stderr) == (True, False), f"{line}\n{ran.stderr}"
                may_be_refused = words[0] in ("redrive", "close", "cancel", "backfill")
                assert may_be_refused or ran.returncode == 0, f"{line}\n{ran.stderr}"


BODIES: dict[str, type[msgspec.Struct]] = {
    "POST /api/retrain": Call,
    "POST /api/retrains/{key}/redrive": ToRedrive,
    "POST /api/redrive": ToRedriveMany,
    "POST /api/retrains/{key}/close": ToClose,
}


@pytest.mark.parametrize("route", BODIES)
def test_bodies_of_the_http_api(route: str) -> None:
    """Each body that docs/http.md shows is one that the route takes."""
    section = HTTP.partition(f"## {route}\n")[2].partition("\n## ")[0]
    shown = [text for text in [*blocks(section), *spans(section)] if text.startswith("{")]
    assert shown, f"{route}: docs/http.md shows no body"
    for text in shown:
        msgspec.json.decode(text.encode(), type=BODIES[route])


def test_json_of_the_workspaces_controls(workspace: LocalWorkspace) -> None:
    """Each setting, odds and list of faults that the README shows is taken as it stands there."""
    shown = list[Any]()
    for text in spans(WORKSPACE.partition("## Control")[2].partition("## Differs")[0]):
        if text.startswith(("{", "[")):
            with_values = re.search(r'":', text)
            shown += [json.loads(text)] if with_values and "…" not in text and "[the same]" not in text else []
    taken = 0
    for body in shown:
        kinds = {"role": "settings", "rate": "odds", "versions": "endpoints"}
        what = "faults" if isinstance(body, list) else next(kinds[key] for key in body if key in kinds)
        workspace.control("POST", what, body)
        taken += 1
    workspace.control("POST", "faults", [])
    assert taken >= 5
