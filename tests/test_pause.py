"""An operator's pause: nothing is sent, nothing is lost, what runs is followed. And the end of a run on their word."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App, build
from shared.errors import ConflictError, NotFoundError
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.operate import pausing, redrive, status
from shared.operate.calls import Call, request
from shared.rules.arrival import Source
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

PATH = "income/us/a.csv"

pytestmark = pytest.mark.usefixtures("empty_container")


@pytest.fixture
def clock(app: App) -> Any:
    """Move the application's clock on: what is paused is read again after some seconds."""
    now, ahead = app.ledger.now, [timedelta()]
    app.prepare()
    app.ledger.now = lambda: now() + ahead[0]

    def later(**by: float) -> None:
        ahead[0] += timedelta(**by)

    return later


def runs(workspace: LocalWorkspace) -> int:
    """Return how many submissions were accepted."""
    return len(workspace.control("GET", "runs"))


@pytest.mark.parametrize("rule", ["income-files", None])
def test_what_arrives_while_paused_waits(app: App, workspace: LocalWorkspace, clock: Any, rule: str | None) -> None:
    """By event and by call, it has its row and says why; nothing is sent by the timer either, until it is resumed."""
    pausing.pause(app, rule, "new cluster on Monday")
    clock(seconds=20)
    workspace.upload(PATH, "a\n1\n")
    workspace.upload("income/us/b.csv", "a\n1\n")
    [one] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    [two] = request(app, Call(path="income/us/b.csv", datastore="training"))
    for outcome in (one, two):
        assert outcome.entry is not None
        assert outcome.entry.state == State.QUEUED
        assert "paused since" in outcome.entry.reason
        assert "new cluster on Monday" in outcome.entry.reason
    for _ in range(3):
        clock(minutes=5)
        tick(app)
    assert runs(workspace) == 0
    told = status.status(app)
    assert "new cluster on Monday" in told.paused[rule or "*"]
    assert told.open["income-files"] == 2
    pausing.resume(app, rule)
    clock(seconds=20)
    tick(app)
    assert runs(workspace) == 2
    assert status.status(app).paused == {}


def test_other_rules_go_on(app: App, workspace: LocalWorkspace, clock: Any) -> None:
    """A pause is about the rule that it names."""
    second = samples.changed(name="second")
    both = build(msgspec.structs.replace(app.settings, rules=(samples.RULE, second)))
    pausing.pause(both, "second")
    workspace.upload(PATH, "a\n1\n")
    outcomes = deliver(both, "training", PATH, Source.BLOB_EVENT)
    assert {one.rule: str(one.entry.state) for one in outcomes if one.entry} == {
        "income-files": "submitted",
        "second": "queued",
    }
    both.close()


def test_what_is_deferred_stays_so_and_what_runs_is_followed(app: App, workspace: LocalWorkspace, clock: Any) -> None:
    """Neither is sent again; a run that finishes is written down."""
    workspace.upload(PATH, "a\n1\n")
    [running] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 403}])
    workspace.upload("income/us/b.csv", "a\n1\n")
    [deferred] = deliver(app, "training", "income/us/b.csv", Source.BLOB_EVENT)
    pausing.pause(app, None)
    assert running.entry is not None
    workspace.control("POST", f"runs/{running.entry.run_id}/status", {"status": "Finished"})
    before = workspace.control("GET", "requests")["submit"]
    for _ in range(3):
        clock(minutes=20)
        tick(app)
    assert workspace.control("GET", "requests")["submit"] == before
    states = {entry.path: str(entry.state) for entry in app.history(10)}
    assert states == {PATH: "finished", "income/us/b.csv": "deferred"}
    assert deferred.key
    pausing.resume(app, None)
    clock(minutes=20)
    tick(app)
    assert runs(workspace) == 2


def test_redrive_of_a_paused_rule_waits_as_well(app: App, workspace: LocalWorkspace, clock: Any) -> None:
    """A person who wants it sent resumes the rule."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 400}])
    workspace.upload(PATH, "a\n1\n")
    [refused] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    pausing.pause(app, "income-files")
    clock(seconds=20)
    outcome = redrive.redrive(app, refused.key)
    assert outcome.entry is not None
    assert outcome.entry.state == State.QUEUED
    assert runs(workspace) == 0


def test_pause_of_a_rule_that_there_is_none_of(app: App) -> None:
    """It is said, with those that there are; and so it is where what is to go on is not what was paused."""
    with pytest.raises(NotFoundError, match="known are: income-files"):
        pausing.pause(app, "incom")
    with pytest.raises(NotFoundError, match="paused: nothing"):
        pausing.resume(app, None)
    pausing.pause(app, "income-files")
    for name in ("incom", None):
        with pytest.raises(NotFoundError, match="paused: 'income-files'"):
            pausing.resume(app, name)
    pausing.resume(app, "income-files")
    pausing.pause(app, None)
    with pytest.raises(NotFoundError, match="resume them without a name"):
        pausing.resume(app, "income-files")


def test_second_pause_keeps_the_first_ones_time(app: App, clock: Any) -> None:
    """Since when nothing is sent is since the first one."""
    first = pausing.pause(app, None, "a")
    clock(hours=1)
    assert pausing.pause(app, None, "b").since == first.since


def test_pause_costs_arrivals_nothing(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marks are read once in some seconds, however many arrive."""
    asked = list[str]()
    rows = app.ledger.rows

    def counted(partition: str, *more: Any, **options: Any) -> Any:
        asked.append(partition)
        return rows(partition, *more, **options)

    monkeypatch.setattr(app.ledger, "rows", counted)
    for number in range(10):
        workspace.upload(f"income/us/{number}.csv", "a\n1\n")
        deliver(app, "training", f"income/us/{number}.csv", Source.BLOB_EVENT)
    assert asked.count("rules|") == 1


# Cancel


def test_run_is_ended_on_an_operators_word(app: App, workspace: LocalWorkspace) -> None:
    """The endpoint ends it, and the next tick writes it down; twice is a conflict then."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    [outcome] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    assert redrive.cancel(app, outcome.key).run_id
    tick(app)
    row = app.ledger.get(outcome.key, ["income-files"])
    assert row is not None
    assert row.entry.state == State.CANCELED
    with pytest.raises(ConflictError, match="came to its end already: it is canceled"):
        redrive.cancel(app, outcome.key)


def test_request_without_a_run_cannot_be_canceled(app: App, workspace: LocalWorkspace) -> None:
    """What to do instead is told."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 403}])
    workspace.upload(PATH, "a\n1\n")
    [outcome] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    with pytest.raises(ConflictError, match=r"has no run\. .* ended by close"):
        redrive.cancel(app, outcome.key)
