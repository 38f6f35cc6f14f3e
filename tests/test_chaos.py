"""`./retrain chaos` with few uploads: the real command, how it judges what was accepted, and what it plans."""

import json
import subprocess
import sys
import tomllib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from local.chaos.configuration import Configuration, Places, Target, configurations
from local.chaos.judge import ChaosError, Life, Report, judge
from local.chaos.plan import absences, deployments, kills
from local.chaos.weather import fault_mix, grace_s, in_flight_s
from local.configuration import Kind, shipped

ROOT = Path(__file__).parents[1]
NAMES = [
    "arrivals",
    "submissions",
    "lost",
    "doubled",
    "wrong",
    "uncertain",
    "held",
    "kills",
    "faults",
    "changes",
    "settle_s",
    "seed",
]


@pytest.mark.parametrize(
    ("options", "may_hold"),
    [
        ((), False),
        (("--list-lag", "2"), False),
        (("--no-keys",), True),
        (("--changes",), False),
        (("--kind", "batch"), False),
        (("--kind", "both", "--changes"), False),
        (("--queue",), False),
    ],
    ids=str,
)
def test_chaos(options: tuple[str, ...], may_hold: bool) -> None:
    """Nothing is lost, doubled or wrong, though apps were killed, submissions went wrong, and people changed things."""
    command = [sys.executable, str(ROOT / "retrain"), "chaos", "--arrivals", "40", "--seed", "1", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    changes = "--changes" in options
    assert list(report) == [name for name in NAMES if changes or name != "changes"]
    assert (report["arrivals"], report["seed"]) == (40, 1)
    assert (report["lost"], report["doubled"], report["wrong"], report["uncertain"]) == (0, 0, 0, 0)
    assert report["kills"] > 0
    assert report["faults"] > 0
    assert not changes or report["changes"] > 3
    if may_hold:
        assert 40 - report["held"] <= report["submissions"] <= 40
    else:
        assert (report["submissions"], report["held"]) == (40, 0)


# The judge

PIN = Target("e", "1", "income-retrain")
PLACES = Places("e", "income-batch", "http://127.0.0.1/batch/income-batch/jobs")
FIRST, SECOND, THIRD = "income/non-us/00000.csv", "income/us/00001.csv", "income/non-us/00002.csv"
BLOBS = (FIRST, SECOND, THIRD)
FINE = dict.fromkeys(BLOBS, "finished")


def run(version: str = "1", at: float = 10.0) -> dict[str, Any]:
    """Return an accepted submission."""
    return {
        "run_id": f"{version} at {at}",
        "endpoint_id": "e",
        "version": version,
        "accepted_at": at,
        "experiment": "income-retrain",
    }


def judged(runs: dict[str, list[dict[str, Any]]], states: dict[str, str], *lives: Life) -> Report:
    """Return what is made of these runs."""
    report = Report(3)
    judge(
        report,
        BLOBS,
        before=runs,
        after=runs,
        states=states,
        lives=lives or (Life(PIN, begun=0),),
        in_flight_s=4,
    )
    return report


def test_all_is_well() -> None:
    """One run each."""
    report = judged({name: [run()] for name in BLOBS}, FINE)
    assert (report.submissions, report.bad) == (3, {})


def test_blob_without_a_run() -> None:
    """It is lost, also when the app says that it has finished."""
    assert judged({FIRST: [run()], THIRD: [run()]}, FINE).lost == [SECOND]


@pytest.mark.parametrize("state", ["held", "uncertain", "queued", "deferred", "sending"])
def test_blob_without_a_run_that_the_app_has_on_its_list(state: str) -> None:
    """It is not lost: somebody will act on it."""
    report = judged({FIRST: [run()], THIRD: [run()]}, FINE | {SECOND: state})
    assert report.bad == {}
    assert (report.held, report.uncertain) == (state == "held", state == "uncertain")


def test_blob_with_two_runs() -> None:
    """It is doubled."""
    report = judged({FIRST: [run()], SECOND: [run(), run()], THIRD: [run()]}, FINE)
    assert (report.doubled, report.submissions) == ([SECOND], 4)


def test_run_of_something_else() -> None:
    """That is no judgement, it is an error."""
    with pytest.raises(ChaosError, match="never uploaded: secret"):
        judged({"secret": [run()]}, FINE)


@pytest.mark.parametrize(
    ("version", "at", "is_wrong"),
    [("1", 5, False), ("1", 13.9, False), ("1", 14.1, True), ("0", 9.9, True), ("0", 10, False), ("2", 11, True)],
)
def test_run_at_a_version_that_was_not_pinned_then(version: str, at: float, is_wrong: bool) -> None:
    """Version 1 was deployed until second 10, and a submission may be under way for four more; then version 0."""
    lives = Life(PIN, begun=0, ended=10), Life(PIN._replace(version="0"), begun=10)
    report = judged({name: [run(version, at)] for name in BLOBS}, FINE, *lives)
    assert bool(report.wrong) == is_wrong


# The plan


def test_plan_follows_from_the_seed() -> None:
    """The same seed kills the same apps after the same pauses; another one others."""

    def plan(seed: int) -> list[Any]:
        return list(islice(kills(seed), 30))

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)
    assert {step.victims for step in plan(1)} == {(0,), (1,), (0, 1)}
    assert list(islice(absences(1), 3)) == list(islice(absences(1), 3))


@pytest.mark.parametrize("seed", range(5))
def test_deployments_have_all_kinds_of_changes_early(seed: int) -> None:
    """The pin, the pattern, the table's name and the set of rules change; the rule is back everywhere afterwards."""
    found = list(islice(configurations(seed), 5))
    assert found[0] == Configuration()
    assert {one.target(PLACES).version for one in found} == {"0", "1"}
    assert any(one.absent for one in found[1:4])
    assert any(one.renamed for one in found)
    assert any(one.second and not one.absent for one in found) or any(one.second for one in found)
    steps = list(islice(deployments(seed, islice(configurations(seed), 1, None)), 40))
    deployed = [Configuration(), Configuration()]
    for step in steps:
        assert step.configuration is not None
        if any(one.absent for one in deployed) and not step.configuration.absent:
            assert step.configuration.number > max(one.number for one in deployed if one.absent)
        for app in step.victims:
            deployed[app] = step.configuration


def test_both_kinds_of_endpoint_take_turns() -> None:
    """Each with either version, and with either name of the pipeline's table."""
    found = [(one.batch, one.version, one.renamed) for one in islice(configurations(1, "both"), 8)]
    assert {(batch, version) for batch, version, _ in found} == {(b, v) for b in (True, False) for v in (None, "0")}
    assert {(batch, renamed) for batch, _, renamed in found} == {(b, r) for b in (True, False) for r in (True, False)}
    assert all(one.batch for one in islice(configurations(1, "batch"), 8))


@pytest.mark.parametrize("kind", ["pipeline", "batch", "both"])
@pytest.mark.parametrize("seed", range(5))
def test_configurations_are_files(seed: int, kind: Kind) -> None:
    """Each is TOML, and says what it should; the first rule keeps its name."""
    for one in islice(configurations(seed, kind), 8):
        read = tomllib.loads(one.toml(PLACES))
        assert read == one.content(PLACES)
        names = [rule["name"] for rule in read["rules"]]
        assert (shipped()["rules"][0]["name"] in names) != one.absent


@pytest.mark.parametrize("lag", [0, 2, 3, 60])
def test_late_answers_and_late_lists_fit_into_the_grace_period(lag: float) -> None:
    """Or a run that shows up after it would be sent again, and rightly so."""
    grace = grace_s(lag)
    latest = max(fault.get("delay_s", 0) for fault in fault_mix(grace))
    begin, connect, retry = (grace / 5,) * 3  # the app's own limits, each a fifth at most
    assert latest > grace / 5  # it is longer than the app waits
    assert begin + connect + retry + latest + lag <= grace
    assert in_flight_s(grace) >= latest
