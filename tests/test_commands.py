"""The commands as a stranger meets them: mistyped, with nothing running, on other ports, beside another stack.

Real processes throughout. What the operator's commands do when all is well is in test_plan.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest
import requests

from cli import environment
from local.azurite import connection_string
from local.process import HOST, free_ports
from local.stack import Ports
from tests.samples import ENVIRON
from tests.stacks import INCOME, start
from tests.waiting import until

ROOT = Path(__file__).parent.parent
NOWHERE = 9  # the discard port: nobody listens

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


def run(*words: str, module: str = "cli", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own, past the door; of this process's environment only what it needs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "RETRAIN_STACKS") if name in os.environ}
    line = [sys.executable, "-m", module, *words]
    return subprocess.run(
        line, cwd=ROOT, env={**kept, **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


# Nothing runs


def nothing_running() -> dict[str, str]:
    """Return settings that name addresses of this machine where nobody listens."""
    return {
        **ENVIRON,
        "AzureWebJobsStorage": connection_string(free_ports(3)),
        "TrainingStorage": connection_string(free_ports(3)),
        "INCOME_ENDPOINT_URL": ENVIRON["INCOME_ENDPOINT_URL"].replace("7081", str(NOWHERE)),
    }


@pytest.mark.parametrize(
    "words",
    [
        ("history",),
        ("redrive", "KEY"),
        ("redrive", "--rule", "income-files", "--state", "held"),
        ("close", "KEY"),
        ("plan",),
        ("backfill", "--rule", "income-files"),
    ],
)
def test_command_that_needs_storage(words: tuple[str, ...]) -> None:
    """One line says what does not answer, which setting says so, and what to do; with --json it is JSON."""
    done = run(*words, **nothing_running())
    assert done.returncode == 1
    [line] = done.stderr.splitlines()[-1:]
    for text in ("AzureWebJobsStorage", f"nothing answers at {HOST}:", "./retrain start"):
        assert text in line
    assert "Traceback" not in done.stderr
    told = run(*words, "--json", **nothing_running())
    assert (told.returncode, "nothing answers" in json.loads(told.stdout)["error"]) == (1, True)


def test_check_with_nothing_running() -> None:
    """Each address that does not answer is a fault of its own, and the configuration is looked at all the same."""
    done = run("check", "--json", **nothing_running())
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    faults = [one["where"] for one in told["findings"] if one["level"] == "fault"]
    assert {*faults} >= {f"app setting {name!r}" for name in {*ENVIRON} - {"TRAINING_CONTAINER"}}
    assert [one["where"] for one in told["findings"] if one["level"] == "ok"] == ["retrain.toml"]


@pytest.mark.parametrize("words", [("plan", "income/us/a.csv"), ("plan", "--offline", "income/us/a.csv")])
def test_plan_of_a_path_needs_nothing_running(words: tuple[str, ...]) -> None:
    """The decision and the exact request are told as if the blob came now."""
    done = run(*words, "--json", **nothing_running())
    assert done.returncode == 0, done.stderr
    [planned] = json.loads(done.stdout)["planned"]
    assert (planned["decision"], planned["version"]) == ("start", "1")
    assert planned["reason"] == "Storage was not asked. As if it came now."
    assert planned["request"]["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == "income/us/a.csv"


def test_check_offline_needs_nothing_running() -> None:
    """It looks at the configuration alone."""
    assert run("check", "--offline", **nothing_running()).returncode == 0


# Mistyped


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("histroy",), "Did you mean history?"),
        (("statsu",), "Did you mean start?"),
        (("xyz",), "There are: demo, start"),
    ],
)
def test_command_that_there_is_none_of(words: tuple[str, ...], says: str) -> None:
    """One line, with what may be meant; nothing is set up for it."""
    line = [sys.executable, str(ROOT / "retrain"), *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [told] = done.stderr.splitlines()
    assert says in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("history", "--rul", "x"), "--rule"),
        (("history", "--state", "fnished"), "finished"),
        (("history", "--limit", "many"), "many"),
        (("history", "--port", "1"), "No ./retrain start has its app at port 1; there are: none."),
        (("plan", "--offline"), "Give PATHS"),
        (("redrive",), "Give KEY, or --rule and --state"),
    ],
)
def test_words_that_a_command_does_not_know(words: tuple[str, ...], says: str) -> None:
    """Exit code 2 and what is known; with --json it is JSON."""
    done = run(*words, **ENVIRON)
    assert done.returncode == 2
    assert says in done.stderr
    told = run(*words, "--json", **ENVIRON)
    assert says in json.loads(told.stdout)["error"]


@pytest.mark.parametrize("name", ["history", "redrive", "close", "plan", "backfill", "check"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_an_operators_command(name: str, flag: str) -> None:
    """Both forms, and nothing is asked of storage for it."""
    done = run(name, flag, **nothing_running())
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: ./retrain {name}")


@pytest.mark.parametrize("name", ["start", "demo", "chaos", "matrix", "lint"])
def test_help_of_a_development_command(name: str) -> None:
    """The short form, too."""
    done = run(name, "-h", module="local")
    assert (done.returncode, done.stdout.split("\n")[0].split(" [")[0]) == (0, f"Usage: ./retrain {name}")


@posix
def test_interrupted_while_modules_are_imported() -> None:
    """Ctrl-C leaves no traceback, whenever it comes."""
    line = [sys.executable, "-X", "importtime", "-m", "cli", "history"]
    process = subprocess.Popen(line, cwd=ROOT, env={**os.environ, **ENVIRON}, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        for written in process.stderr:  # the imports of the command have begun
            if "click" in written:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert "Traceback" not in rest
    assert process.returncode in (1, 130)


# Stacks


def answer(*words: str) -> Any:
    """Run an operator's command with no setting given; return its JSON."""
    done = run(*words, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@posix
def test_stacks_are_found_by_the_operators_commands(tmp_path: Path) -> None:
    """One is found by itself; of two it must be said which; one that ended is forgotten."""
    with start(Ports.free(), tmp_path / "a.log") as one:
        one.container.upload_blob("income/us/a.csv", INCOME)
        shown = until(lambda: answer("history")["retrains"])
        assert [entry["path"] for entry in shown] == ["income/us/a.csv"]
        assert answer("check")["ok"] is True
        with start(Ports.free(), tmp_path / "b.log") as two:
            assert "--port PORT" in answer("history")["error"]
            assert answer("history", "--port", str(two.ports.app))["retrains"] == []
            assert len(answer("history", "--port", str(one.ports.app))["retrains"]) == 1
        assert len(answer("history")["retrains"]) == 1
        taken = run("start", "--port", str(one.ports.app), "--events", "grid", module="local")
        assert taken.returncode == 1
        assert f"Port {one.ports.app} (app) is taken" in taken.stderr
        assert "--events grid" in taken.stderr.replace("\n", " ")


@posix
def test_stack_that_was_killed_is_not_found(tmp_path: Path, stacks: Path) -> None:
    """Its file is left behind, and nothing listens where it points."""
    ports = Ports.free()
    file = stacks / f"{ports.app}.json"
    file.write_text(json.dumps({"port": ports.app, "ports": [ports.app], "values": ENVIRON}))
    try:
        done = run("history", "--port", str(ports.app))
        assert "No ./retrain start has its app at port" in done.stderr
    finally:
        file.unlink()


@posix
def test_stack_that_keeps_what_it_has(tmp_path: Path) -> None:
    """Blobs, ledger and runs are there after a restart; a run that was under way comes to its end."""
    ports, keep = Ports.free(), tmp_path / "kept"
    with start(ports, tmp_path / "a.log", "--keep", str(keep)) as first:
        requests.post(
            f"http://{HOST}:{ports.workspace}/_control/settings", json={"engine": "hold"}, timeout=10
        ).raise_for_status()
        first.container.upload_blob("income/us/a.csv", INCOME)
        [entry] = until(lambda: [one for one in answer("history")["retrains"] if one["run_id"]])
    with start(ports, tmp_path / "b.log", "--keep", str(keep)) as second:
        assert second.container.get_blob_client("income/us/a.csv").exists()
        [again] = answer("history")["retrains"]
        assert (again["key"], again["run_id"]) == (entry["key"], entry["run_id"])
        control = f"http://{HOST}:{ports.workspace}/_control/runs"
        [run_] = requests.get(control, timeout=10).json()
        assert run_["run_id"] == entry["run_id"]
        second.tick()
        assert len(requests.get(control, timeout=10).json()) == 1


def test_history_for_people_and_by_state(tmp_path: Path) -> None:
    """A header, the data's own time, the key whole, run and reason; filters by state and time."""
    with start(Ports.free(), tmp_path / "a.log") as made:
        made.container.upload_blob("income/us/broken.csv", b"\x00\x01 no table")
        key = until(lambda: [one["key"] for one in answer("history")["retrains"]])[0]

        def failed() -> Any:
            made.tick()
            return answer("history", "--state", "failed")["retrains"]

        [entry] = until(failed, timeout_s=60)
        assert entry["key"] == key
        assert answer("history", "--state", "finished")["retrains"] == []
        assert len(answer("history", "--since", "1h")["retrains"]) == 1
        shown = run("history").stdout.splitlines()
        assert shown[0].split() == ["DATA", "WRITTEN", "(UTC)", "STATE", "RULE", "VERSION", "DATA", "PATH"]
        assert shown[2].startswith(time.strftime("%Y-%m-%d", time.gmtime()))
        assert key in shown[3]
        assert entry["run_id"] in shown[3]
        assert entry["reason"][:30] in shown[3]

        whole = answer("show", key)
        times = [datetime.fromisoformat(step["at"]) for step in whole["timeline"]]
        assert times == sorted(times)
        assert {"data written", "entered", "sent last (attempt 1)", "ended: failed"} <= {
            step["what"] for step in whole["timeline"]
        }
        assert whole["request"]["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == "income/us/broken.csv"
        assert "Authorization" not in json.dumps(whole)
        assert "income/us/broken.csv" in run("show", key).stdout
        assert run("wait", key).returncode == 1
        control = f"http://{HOST}:{made.ports.workspace}/_control/settings"
        requests.post(control, json={"engine": "hold"}, timeout=10).raise_for_status()
        made.container.upload_blob("income/us/held.csv", INCOME)
        [held] = until(lambda: [one for one in answer("history")["retrains"] if one["path"] == "income/us/held.csv"])
        assert run("wait", held["key"], "--timeout", "1s").returncode == 3


def test_stack_file_that_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named, and what to do with it."""
    (tmp_path / "7071.json").write_text('{"port": 70')
    monkeypatch.setattr(environment, "STACKS", tmp_path)
    with pytest.raises(click.ClickException, match=r"7071\.json.*remove it"):
        environment.running()
