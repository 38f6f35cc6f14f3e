"""docs/operations.md: its commands run as they stand there, its counts hold, and its sums are right."""

import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
import requests

from local.bench import prices
from local.process import HOST
from local.stack import Ports
from shared.app import App
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.operate.redrive import REDRIVEN
from shared.operate.why import Verdict
from shared.rules.arrival import Source
from shared.settings import read
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import ENVIRON
from tests.stacks import INCOME, start
from tests.test_commands import answer, run
from tests.test_docs import typed
from tests.test_situations import Clock, clock, counted
from tests.waiting import until

__all__ = ["clock"]  # a fixture

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MAY_END = {  # otherwise than with 0
    ("My file started nothing", "check"): (1,),  # the role is away, and it says so
    ("An endpoint takes nothing", "check"): (1,),
    ("It came to a bad end", "cancel"): (1,),  # what has failed has no run to end any more
    ("It came to a bad end", "close"): (1,),
}

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@posix
def test_commands_of_the_page(tmp_path: Path) -> None:
    """In its order, each section on a request that it is about: it does what the page says, or says why not."""
    never = "0 0 3 1 1 *"  # the timer ticks here when it is told to
    log = tmp_path / "start.log"
    with start(Ports.free(), log, RETRAIN_GRACE="20s", RETRAIN_TIMER_SCHEDULE=never) as made:

        def order(what: str, body: Any) -> None:
            url = f"http://{HOST}:{made.ports.workspace}/_control/{what}"
            requests.post(url, json=body, timeout=10).raise_for_status()

        def key_of(state: str) -> str:
            def there() -> Any:
                made.tick()
                return answer("history", "--state", state)["retrains"]

            key: str = until(there, timeout_s=90)[0]["key"]
            return key

        order("settings", {"give_back_keys": False})
        made.container.upload_blob("income/us/new.csv", b"\x00\x01 no table")
        keys = {"It came to a bad end": key_of("failed")}
        order("faults", [{"on": "submit", "kind": "accept_then_drop"}])
        made.container.upload_blob("income/us/unknown.csv", INCOME)
        keys["Held"] = key_of("held")
        order("settings", {"role": "none"})
        made.container.upload_blob("income/us/waits.csv", INCOME)
        keys["An endpoint takes nothing"] = key_of("deferred")
        done = Counter[str]()
        for name in re.findall(r"(?m)^## (.+)$", PAGE):
            if name == "Uncertain":
                order("settings", {"role": "contributor"})
            for line in [line for line, needs_azure in typed(section(name)) if not needs_azure]:
                words = shlex.split(line.replace("KEY", keys.get(name, keys["It came to a bad end"])))
                assert words[0] == "./retrain"
                asks = words[1] in ("redrive", "backfill") and "--rule" in words
                ran = run(*words[1:], *(["--yes"] if asks else []))
                assert "Traceback" not in ran.stderr, f"{line}\n{ran.stderr}"
                assert ran.returncode in MAY_END.get((name, words[1]), (0,)), f"{name}: {line}\n{ran.stderr}"
                done[name] += 1
        assert done.keys() >= {*keys}
        assert done.total() > 20


def test_file_of_several_environments(tmp_path: Path) -> None:
    """One file, and another version by an app setting."""
    [tables] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    rules = read.FILE.read_text(encoding="utf-8").partition("[[rules]]")[2]
    file = tmp_path / "retrain.toml"
    file.write_text(f"{tables}\n[[rules]]{rules}", encoding="utf-8")
    for stage, version in (("test", "4"), ("production", "3")):
        target = read.load(file, {**ENVIRON, "STAGE": stage, "INCOME_VERSION": version}).pipelines["income"].target
        assert (target.version, target.experiment) == (version, f"income-{stage}")


def section(name: str) -> str:
    """Return a section of the page."""
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_verdicts_states_and_alerts_have_their_row() -> None:
    """What `why` can say, each bad end, and each alert of infra/."""
    assert {*re.findall(r"(?m)^\| `(\w+)` \|", section("My file started nothing"))} == {*get_args(Verdict)}
    ends = re.findall(r"(?m)^\| (`[^|]+`) \|", section("It came to a bad end"))
    named = {word for end in ends for word in re.findall(r"`(\w+)`", end)}
    assert named == {*REDRIVEN, State.MISPINNED} - {State.HELD, State.DEFERRED}
    alerts = (ROOT / "infra" / "alerts.bicep").read_text(encoding="utf-8")
    made = {*re.findall(r"(?m)^    name: '(\w+)'", alerts), *re.findall(r"name: 'retrain-(\w+)'", alerts)}
    assert {*re.findall(r"(?m)^\| `(\w+)` \|", section("What the alerts mean"))} == made


# Costs


def told(what: str) -> int:
    """Return how many requests the page says something takes."""
    [number] = re.findall(rf"(?m)^\| {re.escape(what)} \| (?:at most )?(\d+) \|", PAGE)
    return int(number)


@pytest.mark.usefixtures("empty_container")
def test_counts(app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tick with nothing to do, of an arrival, of a duplicate, and of following a run from its start to its end."""
    idle = told("a tick with nothing to do, one rule, a small container")
    tick(app)
    for minutes in (2, 1, 1, 1, 1):
        clock.on(minutes=minutes)
        with counted(workspace, monkeypatch) as found:
            tick(app)
        assert found.total() <= idle
    workspace.upload("income/us/a.csv", "a\n1\n")
    with counted(workspace, monkeypatch) as found:
        deliver(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert found["storage"] == told("an arrival, from the event to its run")
    with counted(workspace, monkeypatch) as found:
        deliver(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert found["storage"] == told("a duplicate of it")
    [submission] = workspace.control("GET", "runs")
    beyond = 0
    for status in ("", "Running", "Finished"):
        if status:
            workspace.control("POST", f"runs/{submission['run_id']}/status", {"status": status})
        clock.on(minutes=5)
        with counted(workspace, monkeypatch) as found:
            tick(app)
        beyond += max(0, found["storage"] - idle + 1)  # of the seven one is written every five minutes only
    assert [entry.state for entry in app.history(5)] == ["finished"]
    assert beyond <= told("following a run to its end, beyond the ticks")


SUMS = re.findall(r"`([^`=]+) = \$([\d.]+)`", PAGE)


@pytest.mark.parametrize(("terms", "total"), SUMS)
def test_sums(terms: str, total: str) -> None:
    """Each is what its terms come to, rounded as it is shown."""
    plain = terms.replace(",", "").replace("$", "")
    assert re.fullmatch(r"[\d.]+(?: [*+] [\d.]+)*", plain)
    exact = 0.0
    for term in plain.split(" + "):
        product = 1.0
        for factor in term.split(" * "):
            product *= float(factor)
        exact += product
    digits = len(total.partition(".")[2])
    assert f"{exact:.{digits}f}" == total


MILLION = 1_000_000


@pytest.mark.parametrize(
    "told",
    [
        f"| a table's transaction | ${prices.TABLE.of(MILLION):.3f} for a million |",
        f"| a queue's request | ${prices.QUEUE.of(MILLION):.2f} for a million |",
        f"| a listing of blobs, hot | ${prices.BLOB_LIST.of(MILLION):.2f} for a million |",
        f"| Flex Consumption | ${prices.MEMORY.of(1):.6f} for a GB-second, ${prices.EXECUTIONS.of(MILLION):.2f} for a "
        f"million executions; {prices.MEMORY.free:,} and {prices.EXECUTIONS.free:,} a month free |",
        f"| Event Grid | ${prices.EVENTS.of(MILLION):.2f} for a million operations, "
        f"{prices.EVENTS.free:,} a month free |",
        f"| Logic App: a connector's call, an action | ${prices.CONNECTOR.of(1):.6f}, ${prices.ACTION.of(1):.6f} |",
        "| Data Factory: a run of an activity or trigger, an hour of an external activity | "
        f"${prices.ORCHESTRATION.of(1):.3f}, ${prices.EXTERNAL.of(1):.5f} |",
    ],
)
def test_prices_are_those_of_the_benchmarks(told: str) -> None:
    """Two pages that disagreed would both be doubted."""
    assert told in PAGE


def test_sums_are_found() -> None:
    """The pattern above still fits the page."""
    assert len(SUMS) == PAGE.count(" = $") >= 10
