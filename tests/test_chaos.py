"""`./retrain chaos` with few uploads: the real command, and how it judges what the workspace accepted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.chaos import Chaos, ChaosError, fault_mix, grace_s
from local.stack import Ports, Stack

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("options", "may_hold"), [((), False), (("--list-lag", "2"), False), (("--no-keys",), True)], ids=str
)
def test_chaos(options: tuple[str, ...], may_hold: bool) -> None:
    """Nothing is lost and nothing doubled, though apps were killed and submissions went wrong."""
    command = [sys.executable, str(ROOT / "retrain"), "chaos", "--arrivals", "40", "--seed", "1", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    names = ["arrivals", "submissions", "lost", "doubled", "uncertain", "held", "kills", "faults", "settle_s", "seed"]
    assert list(report) == names
    assert (report["arrivals"], report["seed"]) == (40, 1)
    assert (report["lost"], report["doubled"], report["uncertain"]) == (0, 0, 0)
    assert report["kills"] > 0
    assert report["faults"] > 0
    if may_hold:
        assert 40 - report["held"] <= report["submissions"] <= 40
    else:
        assert (report["submissions"], report["held"]) == (40, 0)


# The judge


class Judged(Chaos):
    """Chaos whose workspace and app say what the test says."""

    def __init__(self, tmp_path: Path, runs: list[str], states: dict[str, str]) -> None:
        stack = Stack(Ports.free(), logs=tmp_path, parts=[])
        super().__init__(stack, Console(stderr=True), arrivals=3, seed=1, list_lag_s=0, keys=True)
        self.runs, self.states = runs, states
        self.judge()

    def accepted(self) -> dict[str, list[dict[str, Any]]]:
        return {name: [{"run_id": name, "version": "1"}] * self.runs.count(name) for name in self.runs}

    def roll_call(self) -> dict[str, str]:
        return self.states


FIRST, SECOND, THIRD = "income/non-us/00000.csv", "income/us/00001.csv", "income/non-us/00002.csv"
FINE = dict.fromkeys((FIRST, SECOND, THIRD), "finished")


def test_all_is_well(tmp_path: Path) -> None:
    """One run each."""
    report = Judged(tmp_path, [FIRST, SECOND, THIRD], FINE).report
    assert (report.submissions, report.lost, report.doubled) == (3, [], [])


def test_blob_without_a_run(tmp_path: Path) -> None:
    """It is lost, also when the app says that it has finished."""
    assert Judged(tmp_path, [FIRST, THIRD], FINE).report.lost == [SECOND]


@pytest.mark.parametrize("state", ["held", "uncertain", "waiting"])
def test_blob_without_a_run_that_the_app_has_on_its_list(tmp_path: Path, state: str) -> None:
    """It is not lost: somebody will act on it."""
    report = Judged(tmp_path, [FIRST, THIRD], FINE | {SECOND: state}).report
    assert report.lost == []
    assert (report.held, report.uncertain) == (state == "held", state == "uncertain")


def test_blob_with_two_runs(tmp_path: Path) -> None:
    """It is doubled."""
    report = Judged(tmp_path, [FIRST, SECOND, SECOND, THIRD], FINE).report
    assert (report.doubled, report.submissions) == ([SECOND], 4)


def test_run_of_something_else(tmp_path: Path) -> None:
    """That is no judgement, it is an error."""
    with pytest.raises(ChaosError, match="never uploaded: secret"):
        Judged(tmp_path, [FIRST, SECOND, THIRD, "secret"], FINE)


# The plan


def test_plan_follows_from_the_seed(tmp_path: Path) -> None:
    """The same seed kills the same apps after the same pauses; another one others."""

    def plan(seed: int) -> list[Any]:
        stack = Stack(Ports.free(), logs=tmp_path, parts=[])
        made = Chaos(stack, Console(), arrivals=1, seed=seed, list_lag_s=0, keys=True)
        kills = zip(made.plan(), range(30), strict=False)
        return [(gap, [made.ports.index(port) for port in victims], down) for (gap, victims, down), _ in kills]

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)
    assert {tuple(victims) for _, victims, _ in plan(1)} == {(0,), (1,), (0, 1)}


@pytest.mark.parametrize("lag", [0, 2, 3, 60])
def test_late_answers_and_late_lists_fit_into_the_grace_period(lag: float) -> None:
    """Or a run that shows up after it would be sent again, and rightly so."""
    grace = grace_s(lag)
    latest = max(fault.get("delay_s", 0) for fault in fault_mix(grace))
    begin, connect, retry = (grace / 5,) * 3  # the app's own limits, each a fifth at most
    assert latest > grace / 5  # it is longer than the app waits
    assert begin + connect + retry + latest + lag <= grace
