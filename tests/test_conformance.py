"""`./retrain conformance`: Microsoft's own SDKs before the stand-in, and our submissions compared with theirs.

The command runs once, as people run it. Skips, with the reason, only what cannot be run here.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.conformance.command import BATCH, PIPELINES, Check, Outcome, compared, conformance, facts
from local.conformance.compare import Difference, Explained, differences, fields, stale
from local.conformance.explained import EXPLAINED
from local.environments import UnavailableError, python_of

ROOT = Path(__file__).parents[1]
SDKS = {sdk.name: sdk for sdk in (PIPELINES, BATCH)}


@pytest.fixture(scope="module")
def outcome() -> dict[str, Any]:
    """What the command says; its exit code goes with it."""
    command = [sys.executable, "-m", "local", "conformance", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) is told["ok"], done.stderr
    assert told["ok"] is all(check["ok"] for check in told["checks"])
    return told


@pytest.mark.parametrize("name", SDKS)
def test_unmodified_sdk_works_and_sends_what_we_send(outcome: dict[str, Any], name: str) -> None:
    """Every check of the SDK holds, none is missing, and each difference from our own submission is explained."""
    sdk = SDKS[name]
    if skipped := [check["told"] for check in outcome["checks"] if check["name"] == name and check["skipped"]]:
        pytest.skip(skipped[0])
    wanted = [f"{name}: {check}" for check in sdk.expected] + [f"sent by both: {kind}" for kind in sdk.kinds]
    about = {check["name"]: check for check in outcome["checks"] if check["name"].startswith((name, "sent by both"))}
    assert [check for check in about.values() if not check["ok"]] == []
    assert set(wanted) <= set(about)
    for kind in sdk.kinds:
        of_kind = [one for one in outcome["differences"] if one["kind"] == kind]
        assert of_kind
        assert all(one["why"] for one in of_kind)


def test_pin_data_and_parameters_are_the_same_in_both(outcome: dict[str, Any]) -> None:
    """Nobody can explain away what the app is there for."""
    differing = {one["field"] for one in outcome["differences"]} - {"query api-version"}
    assert [field for field in differing if field.startswith(("method", "path", "query", "header azureml"))] == []
    assert [field for field in differing if "input" in field.lower() or "ParameterAssignments" in field] == []


# What the command notices


SENT = {
    "method": "POST",
    "url": "/jobs/a%20b?v=1",
    "headers": {"host": "x", "accept": "*/*", "content-length": "3"},
    "body": {"A": {"B": 1, "C": {}}, "D": [1]},
}


def test_fields_of_a_submission() -> None:
    """Query, headers and members of the body each by a name of its own; neither host nor length."""
    assert fields(SENT) == {
        "method": "POST",
        "path": "/jobs/a%20b",
        "query v": "1",
        "header accept": "*/*",
        "body A/B": 1,
        "body A/C": {},
        "body D": [1],
    }


@pytest.mark.parametrize(
    ("sdk", "ours", "how"),
    [
        ({"a": 1}, {}, "only the SDK"),
        ({}, {"a": None}, "only ours"),
        ({"a": 1}, {"a": "1"}, "other value"),
        ({"a": 1}, {"a": True}, "other value"),
    ],
)
def test_difference_that_nobody_explains(sdk: dict[str, Any], ours: dict[str, Any], how: str) -> None:
    """It fails, in which way whatsoever it differs; an explanation of another kind, field or way does not help."""
    others = ("only the SDK", "only ours", "other value")
    beside = [Explained(("other",), "a", one, "why") for one in others]  # type: ignore[arg-type]
    beside += [Explained(("kind",), "b", one, "why") for one in others]  # type: ignore[arg-type]
    beside += [Explained(("kind",), "a", one, "why") for one in others if one != how]  # type: ignore[arg-type]
    [found] = differences("kind", sdk, ours, beside)
    assert (found.how, found.why) == (how, "")
    check = compared("kind", len(sdk), [found], [])
    assert not check.ok
    assert "nobody says why" in check.told
    right = Explained(("kind",), "a*", how, "why")  # type: ignore[arg-type]
    assert compared("kind", len(sdk), differences("kind", sdk, ours, [right]), [right]).ok


def test_explanation_of_a_difference_that_is_gone() -> None:
    """It fails, too: the table says what is, not what was."""
    one = Explained(("kind",), "a", "other value", "why")
    assert stale("kind", differences("kind", {"a": 1}, {"a": 1}, [one]), [one]) == [one]
    check = compared("kind", 1, [], [one])
    assert not check.ok
    assert "does not differ so any more" in check.told


@pytest.mark.parametrize("seen", [{}, {"check": {}}, {"check": {"fact": 2}}, {"check": {"fact": 1, "more": 1}}])
def test_sdk_sees_something_else(seen: dict[str, dict[str, Any]]) -> None:
    """A fact that is another one, is missing, or is new."""
    [check] = facts("sdk", {"check": {"fact": 1}}, seen)
    assert not check.ok
    assert "expected" in check.told


def test_every_explanation_says_why_about_kinds_that_there_are() -> None:
    """No row is empty or about nothing."""
    kinds = {kind for sdk in SDKS.values() for kind in sdk.kinds}
    assert all(one.why and one.kinds and set(one.kinds) <= kinds for one in EXPLAINED)


def test_what_was_skipped_does_not_hold() -> None:
    """The whole is ok only when everything was run."""
    done, left_out = Check("a", ok=True, told=""), Check("b", ok=False, told="no Python", skipped=True)
    assert Outcome([done], []).ok
    assert not Outcome([done, left_out], []).ok
    assert not Outcome([], []).ok


def test_no_python_for_an_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names what is needed, and where it was looked for."""
    monkeypatch.setattr("local.environments.KEPT", tmp_path)
    with pytest.raises(UnavailableError, match=r"local-conformance-v1 needs one of python1\.0, and none is on PATH"):
        python_of(PIPELINES.folder / "requirements.txt", ["python1.0"])


def test_sdk_that_cannot_be_run_is_skipped_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither SDK can: the command says so of each, and its exit code is 1."""

    def nowhere(*_: object) -> Path:
        raise UnavailableError("no Python here")

    monkeypatch.setattr("local.conformance.command.python_of", nowhere)
    assert conformance(as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["differences"]) == (False, [])
    assert [(check["name"], check["skipped"]) for check in told["checks"]] == [(name, True) for name in SDKS]


def test_difference_is_one_object_for_programs() -> None:
    """With the members that are promised."""
    assert {"kind", "field", "sdk", "ours", "why"} <= set(Difference._fields)
