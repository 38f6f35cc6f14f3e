"""Looking before sending: plan, counts, backfill; and the operator's commands as real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.app import App, build
from shared.errors import BadRequestError, NotFoundError
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.operate import plan
from shared.operate.calls import Call, request
from shared.rules.arrival import Source
from shared.rules.decision import RetrainRequest
from shared.settings import read
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import ENVIRON

ROOT = Path(__file__).parent.parent
Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("empty_container")


def call(path: str, **changes: Any) -> Call:
    """Return a call about a path in the datastore."""
    return Call(path=path, datastore="training", **changes)


def test_plan_is_what_would_be_sent(app: App, workspace: LocalWorkspace) -> None:
    """URL and body to the letter; and then that is what is sent."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    [planned] = plan.plan_call(app, call("income/us/a.csv", parameters={"seed": "7"}))
    assert (planned.decision, planned.version, planned.data_path) == ("start", "1", "training/income/us/a.csv")
    assert workspace.control("GET", "runs") == []
    request(app, call("income/us/a.csv", parameters={"seed": "7"}))
    [run] = workspace.control("GET", "runs")
    assert planned.request is not None
    assert planned.request.url.endswith(run["url"])
    assert planned.request.body == run["body"]


def test_plan_of_what_is_started_already(app: App, workspace: LocalWorkspace) -> None:
    """It says so, with the state of the row."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    request(app, call("income/us/a.csv"))
    [planned] = plan.plan_call(app, call("income/us/a.csv"))
    assert (planned.decision, planned.state) == ("started", State.SUBMITTED)


def test_plan_of_a_blob_that_is_not_there(app: App) -> None:
    """As if it came now; the plan says that it is not there."""
    [planned] = plan.plan_call(app, call("income/us/tomorrow.csv"))
    assert planned.decision == "start"
    assert planned.reason.startswith("There is no blob ")
    assert planned.reason.endswith("As if it came now.")


def test_plan_of_a_path_that_no_rule_takes(app: App) -> None:
    """The reason is the one that a real arrival would be skipped with."""
    [planned] = plan.plan_call(app, call("scratch/a.txt"))
    assert (planned.decision, planned.request) == ("skip", None)
    assert "does not match" in planned.reason


def test_plan_of_calls_that_cannot_be_acted_on(app: App) -> None:
    """The same errors as the call itself."""
    with pytest.raises(BadRequestError):
        plan.plan_call(app, call("/a"))
    with pytest.raises(NotFoundError):
        plan.plan_call(app, Call(path="a", datastore="nowhere"))


def test_candidates_are_what_is_there_and_has_no_row(app: App, workspace: LocalWorkspace) -> None:
    """Old enough to be skipped by the scan, young enough for `since`."""
    for number in range(3):
        workspace.upload(f"income/us/{number}.csv", "a\n1\n")
    workspace.upload("income/us/notes.txt", "x")
    deliver(app, "training", "income/us/1.csv", Source.BLOB_EVENT)
    [rule] = app.settings.rules
    found = list(plan.candidates(app, rule, None))
    assert [item.arrival.path for item in found] == ["income/us/0.csv", "income/us/2.csv"]
    assert all(isinstance(item.decision, RetrainRequest) for item in found)
    assert plan.counts(app, "training", None) == {"income-files": 2}
    assert plan.counts(app, "training", app.ledger.now() + timedelta(hours=1)) == {"income-files": 0}


@pytest.fixture
def command(workspace: LocalWorkspace, storage: str) -> Command:
    """Run an operator's command as a process of its own, on the shipped retrain.toml."""
    settings = {
        "AzureWebJobsStorage": storage,
        "TrainingStorage": storage,
        "TRAINING_CONTAINER": "training-data",
        "INCOME_ENDPOINT_URL": workspace.endpoint["url"],
        "IDENTITY_ENDPOINT": workspace.info["identity_endpoint"],
        "IDENTITY_HEADER": workspace.info["identity_header"],
    }

    def run(*words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "cli", *words]
        return subprocess.run(
            line, cwd=ROOT, env={**os.environ, **settings}, input=answer, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture
def ticking(workspace: LocalWorkspace, storage: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the timer of an app tick on the shipped retrain.toml."""
    monkeypatch.setenv("TRAINING_CONTAINER", "training-data")
    monkeypatch.setenv("INCOME_ENDPOINT_URL", workspace.endpoint["url"])

    def tick_once() -> None:
        app = build(read.load())
        tick(app)
        app.close()

    return tick_once


def test_operators_way_from_plan_to_redrive(
    command: Command, workspace: LocalWorkspace, ticking: Callable[[], None]
) -> None:
    """Plan, count, backfill after a question, history, and a redrive that is refused without force."""
    workspace.control("POST", "settings", {"engine": "hold"})
    workspace.upload("income/us/a.csv", "a\n1\n")
    workspace.upload("income/us/b.csv", "a\n2\n")

    shown = command("plan", "income/us/a.csv", "scratch/x")
    assert shown.returncode == 0, shown.stderr
    assert "decision   start" in shown.stdout
    assert "/1?pipelineVersion=1" in shown.stdout
    assert "does not match" in shown.stdout
    assert json.loads(command("plan", "--since", "7d", "--json").stdout)["would_start"] == {"income-files": 2}

    refused = command("backfill", "--rule", "income-files", answer="n\n")
    assert refused.returncode == 1
    assert "This would start 2 runs" in refused.stderr
    assert workspace.control("GET", "runs") == []
    assert json.loads(command("backfill", "--rule", "income-files", "--limit", "1", "--yes", "--json").stdout)[
        "states"
    ] == {"queued": 1}
    done = command("backfill", "--rule", "income-files", "--yes")
    assert "1 queued; the app's timer sends" in done.stdout
    assert "Nothing to start" in command("backfill", "--rule", "income-files", "--yes").stdout
    assert workspace.control("GET", "runs") == []
    listed = json.loads(command("history", "--json").stdout)["retrains"]
    assert {(entry["state"], entry["source"]) for entry in listed} == {("queued", "backfill")}
    ticking()
    assert len(workspace.control("GET", "runs")) == 2

    entries = json.loads(command("history", "--json").stdout)["retrains"]
    assert {entry["path"] for entry in entries} == {"income/us/a.csv", "income/us/b.csv"}
    assert {entry["source"] for entry in entries} == {"backfill"}
    key = entries[0]["key"]
    assert "income/us" in command("history").stdout
    assert json.loads(command("redrive", "--rule", "income-files", "--state", "refused", "--yes", "--json").stdout) == {
        "rule": "income-files",
        "state": "refused",
        "redriven": [],
    }
    live = command("redrive", key)
    assert live.returncode == 1
    assert "force" in live.stderr
    assert "attempt 2" in command("redrive", key, "--force").stdout
    assert "closed. Closed by an operator: enough." in command("close", key, "--reason", "enough").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("history", "--rule", "none"), "known are: income-files"),
        (("redrive", "nonsense"), "no retrain request"),
        (("plan", "--since", "soon"), "a number and a unit"),
        (("plan", "/a"), "slash"),
        (("backfill", "--rule", "none"), "known are: income-files"),
        (("redrive",), "Give KEY, or --rule and --state"),
        (("redrive", "--rule", "income-files", "--state", "running"), "there are: refused"),
        (("close", "nonsense"), "no retrain request"),
    ],
)
def test_commands_that_cannot_be_done_say_why(command: Command, words: tuple[str, ...], says: str) -> None:
    """On stderr, without a traceback, and with an exit code."""
    done = command(*words)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("redrive", "nonsense", "--json"), ("history", "--rule", "none", "--json")])
def test_fault_of_a_command_is_json_too(command: Command, words: tuple[str, ...]) -> None:
    """Whoever asked for JSON reads it."""
    done = command(*words)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]


@pytest.mark.parametrize("words", [("check",), ("plan", "income/us/a.csv"), ("history",)])
@pytest.mark.parametrize("text", ["nonsense", "AccountKey=c2VjcmV0"])
def test_connection_string_that_is_none(command: Command, words: tuple[str, ...], text: str) -> None:
    """The setting is named, without a traceback and without the key."""
    line = [sys.executable, "-m", "cli", *words]
    environ = {**os.environ, **ENVIRON, "TrainingStorage": text, "AzureWebJobsStorage": text}
    done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "is no connection string" in done.stdout + done.stderr
    assert "c2VjcmV0" not in done.stdout + done.stderr


def test_commands_without_settings_list_the_faults(command: Command) -> None:
    """All of them, as the app does."""
    line = [sys.executable, "-m", "cli", "history"]
    environ = {**os.environ, "TRAINING_CONTAINER": "", "INCOME_ENDPOINT_URL": ""}
    done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "2 faults" in done.stderr
