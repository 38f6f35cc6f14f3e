"""docs/tutorial.md, followed by a stranger who types what stands there, and edits what it says."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cli.commands import commands as operators
from local.process import HOST
from local.stack import Ports
from shared.settings import read
from tests.samples import ENVIRON
from tests.stacks import start
from tests.waiting import until

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
OFFLINE = PAGE.partition("\n## Offline\n")[2].partition("\n## With a real workspace\n")[0]
NOT_CLONED = (
    "*.git",
    ".venv",
    ".retrain",
    "node_modules",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "local.settings.json",
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a POSIX shell")


class Reader:
    """Somebody with a fresh clone, two terminals and an editor."""

    def __init__(self, folder: Path, log: Path) -> None:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_CLONED))
        # What the first command would make takes a minute; tests/test_door.py is about that.
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        (folder / "local" / "node_modules").symlink_to(ROOT / "local" / "node_modules")
        (folder / ".retrain").mkdir()
        self.folder, self.log, self.ports = folder, log, Ports.free()
        self.first = contextlib.ExitStack()
        self.environ = {
            "PATH": os.environ["PATH"],
            "RETRAIN_STACKS": str(folder / ".retrain" / "stacks"),
            "RETRAIN_TIMER_SCHEDULE": "*/2 * * * * *",  # the reader waits a minute
        }

    def types(self, line: str) -> None:
        """Type a line of the page. Raises AssertionError when it fails."""
        if line.startswith("./retrain start"):
            self.first.close()  # Ctrl-C
            words = line.split()[2:]
            self.first.enter_context(start(self.ports, self.log, *words, folder=self.folder, **self.environ))
            return
        done = subprocess.run(
            ["bash", "-c", self.meant(line)],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def meant(self, line: str) -> str:
        """Return a line with what only the reader's machine knows: ports, a signature, a key."""
        if "?..." in line:
            begins = line.partition("127.0.0.1")[0]
            line = next(one.strip() for one in self.log.read_text().splitlines() if one.strip().startswith(begins))
        if line.startswith("./retrain "):
            name = line.split()[1]
            line = line.replace(
                "./retrain", f".venv/bin/python -m {'cli' if name in operators.commands else 'local'}", 1
            )
        if re.search(r"\bKEY\b", line):
            line = line.replace("KEY", self.newest()["key"])
        return line.replace("127.0.0.1:7071", f"{HOST}:{self.ports.app}").replace(
            "127.0.0.1:7081", f"{HOST}:{self.ports.workspace}"
        )

    def newest(self) -> Any:
        """Return what `history` shows first, once it shows something."""
        line = [sys.executable, "-m", "cli", "history", "--json"]

        def shown() -> Any:
            done = subprocess.run(line, cwd=self.folder, env=self.environ, capture_output=True, timeout=60)
            return json.loads(done.stdout)["retrains"]

        return until(shown)[0]

    def edits(self, diff: str) -> None:
        """Change retrain.toml as a diff says; each line of it is there, once."""
        file = self.folder / "retrain.toml"
        text = file.read_text()
        [old, new] = [re.findall(rf"(?m)^\{sign}(.*)$", diff) for sign in "-+"]
        for before, after in zip(old, new, strict=True):
            assert text.splitlines().count(before) == 1
            text = text.replace(f"\n{before}\n", f"\n{after}\n")
        file.write_text(text)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader, who ends what was started."""
    made = Reader(tmp_path / "clone", tmp_path / "start.log")
    with made.first:
        yield made


@posix
def test_offline_half(reader: Reader) -> None:
    """A reader with a fresh clone ends with a run at the version that was published and pinned, and only that one."""
    for diff, block in re.findall(r"(?m)```diff\n((?:[-+].*\n)+)|((?:^    .*\n)+)", OFFLINE):
        if diff:
            reader.edits(diff)
        for line in block.splitlines():
            reader.types(line.strip())
    entry = reader.newest()
    assert (entry["state"], entry["version"], entry["path"]) == ("finished", "2", "income/us/new.csv")
    [run] = requests.get(f"http://{HOST}:{reader.ports.workspace}/_control/runs", timeout=30).json()
    assert (run["run_id"], run["version"], run["status"]) == (entry["run_id"], "2", "Finished")
    assert run["url"].endswith("/2?pipelineVersion=2")
    call = {"datastore": "training", "path": "income/us/new.csv"}
    told = requests.post(f"http://{HOST}:{reader.ports.app}/api/retrain", json=call, timeout=30).json()
    assert (told["run_id"], told["duplicate"]) == (entry["run_id"], True)


def test_table_of_the_batch_endpoint(tmp_path: Path) -> None:
    """It takes the place of the shipped file's, and the file is sound."""
    [table] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    before, _, rest = read.FILE.read_text(encoding="utf-8").partition("[pipelines.income]")
    file = tmp_path / "retrain.toml"
    file.write_text(f"{before}{table}\n[[rules]]{rest.partition('[[rules]]')[2]}", encoding="utf-8")
    workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    scoring = "https://income.westeurope.inference.ml.azure.com/jobs"
    made = read.load(file, {**ENVIRON, "INCOME_SCORING_URI": scoring, "WORKSPACE_ID": workspace})
    assert made.pipelines["income"].target.version == tomllib.loads(table)["pipelines"]["income"]["deployment"]
