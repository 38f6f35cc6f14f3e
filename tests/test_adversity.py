"""Rare orders of events that once started a run twice, lost one, or stopped the timer. Each has its test."""

import logging
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import ServiceResponseError
from azure.data.tables import UpdateMode

from shared.app import App
from shared.errors import ConflictError, StorageError
from shared.flow import enter, folders, rounds, search, track
from shared.flow.arrive import arrive as deliver
from shared.flow.poison import bury
from shared.flow.tick import tick
from shared.identity import Tokens
from shared.ledger import learned
from shared.ledger.entries import State, history_key
from shared.ledger.table import Entered, Ledger, Taken
from shared.pipelines.base import Evidence
from shared.pipelines.endpoints import Endpoints
from shared.pipelines.target import Target
from shared.rules.arrival import Source
from shared.storage.accounts import table_client
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import RULE, retrain_request

GRACE = timedelta(minutes=10)
PATH = "income/us/a.csv"


class Clock:
    """The real time, moved on."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock(app: App, empty_container: None) -> Clock:
    """The app's clock; nothing of other tests is taken for missed."""
    app.prepare()
    app.ledger.now = made = Clock()
    return made


def arrive(app: App, workspace: LocalWorkspace, content: str = "a\n1\n", **fault: Any) -> None:
    """Let a file arrive while the endpoint answers with a fault."""
    workspace.upload(PATH, content)
    if fault:
        workspace.control("POST", "faults", [{"on": "submit", **fault}])
    deliver(app, "training", PATH, Source.BLOB_SCAN)


def keys(workspace: LocalWorkspace) -> list[str]:
    """Return the keys of the runs that were accepted."""
    return [run["body"]["Properties"]["retrain.key"] for run in workspace.control("GET", "runs")]


def target(app: App) -> Target:
    """Return where submissions go."""
    return app.settings.pipelines["income"].target


def trusted(app: App) -> None:
    """The endpoint was seen to give keys back."""
    learned.learn(app.ledger, Evidence.KEYS, target(app).place, True, "an earlier run")


def test_lists_that_are_slower_than_the_grace_period(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """A run that can be read by its id but is in no list: the list's silence proves nothing, so it is held."""
    workspace.control("POST", "settings", {"list_lag_s": 3600})
    arrive(app, workspace)
    clock.ahead = timedelta(minutes=11)
    tick(app)
    arrive(app, workspace, "a\n2\n", kind="accept_then_drop")
    clock.ahead = timedelta(minutes=25)
    tick(app)
    assert len(keys(workspace)) == len(set(keys(workspace))) == 2
    assert State.HELD in [entry.state for entry in app.ledger.history(RULE.name, 9)]


def test_run_without_our_key_is_remembered_for_good(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """One later run that has it does not restore the trust."""
    place = target(app).place
    learned.learn(app.ledger, Evidence.KEYS, place, False, "r1")
    learned.learn(app.ledger, Evidence.KEYS, place, True, "r2")
    assert learned.seen(app.ledger, Evidence.KEYS, place) is False
    assert learned.seen(app.ledger, Evidence.KEYS, "another endpoint") is None


def test_token_that_takes_longer_than_the_grace_period(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """When the token is there at last, somebody else has sent: the request does not leave."""
    trusted(app)
    tokens = Tokens("https://management.azure.com")
    stuck = App(app.settings, app.ledger, app.datastores, Endpoints(app.limits))
    stuck.endpoints._tokens[target(app).audience] = tokens
    asked, go, get = threading.Event(), threading.Event(), tokens.get

    def wait_for_it() -> str:
        asked.set()
        go.wait(30)
        return get()

    tokens.get = wait_for_it  # type: ignore[method-assign]
    worker = threading.Thread(target=arrive, args=(stuck, workspace))
    worker.start()
    assert asked.wait(30)
    clock.ahead = GRACE + timedelta(minutes=1)
    tick(app)
    go.set()
    worker.join()
    stuck.endpoints.close()
    assert len(keys(workspace)) == 1


def test_claim_that_the_storage_client_repeats_late(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile the row was brought on by others: it is theirs."""
    ledger.table.create_table()
    submit, request = ledger.table.submit_transaction, retrain_request()

    def late(operations: Any, sendings: list[object]) -> Any:
        monkeypatch.undo()
        submit(operations)
        row = ledger.get(request.key, [RULE.name])
        assert row is not None
        ledger.move(row, State.SUBMITTED, run_id="theirs")
        sendings.append("the first one")
        return submit(operations, sendings=sendings)

    monkeypatch.setattr(ledger.table, "submit_transaction", late)
    assert isinstance(ledger.enter(request, State.QUEUED), Taken)


def test_two_workers_whose_clocks_agree_to_the_microsecond(storage: str) -> None:
    """They write the same change; only one of them has made it."""
    now, name = datetime.now(UTC), f"t{uuid.uuid4().hex}"
    one, two = (Ledger(table_client("S", name, {"S": storage}), lambda: now) for _ in range(2))
    with one.table, two.table:
        made = one.enter(retrain_request(), State.QUEUED)
        assert isinstance(made, Entered)
        changes: dict[str, Any] = {"sent_at": now, "due_at": now + GRACE, "tries": 2}
        one.move(made.row, State.SENDING, **changes)
        with pytest.raises(ConflictError):
            two.move(made.row, State.SENDING, **changes)


def test_claim_whose_connection_breaks_after_it_was_written(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage client does not repeat this; the row is read back, is ours, and is sent."""
    submit = app.ledger.table.submit_transaction

    def cut(operations: Any, **_: Any) -> Any:
        monkeypatch.setattr(app.ledger.table, "submit_transaction", submit)
        submit(operations)
        raise ServiceResponseError("The connection was cut.")

    monkeypatch.setattr(app.ledger.table, "submit_transaction", cut)
    arrive(app, workspace)
    [entry] = app.ledger.history(RULE.name, 9)
    assert entry.state == State.SUBMITTED


@pytest.mark.parametrize("damage", [{"State": "paused"}, {"Request": '{"key": '}])
def test_row_that_makes_no_sense(
    app: App, workspace: LocalWorkspace, clock: Clock, damage: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the other open work is done."""
    bad = retrain_request()
    app.ledger.enter(bad, State.DEFERRED)
    row_key = f"o|{bad.key}" if "State" in damage else history_key(bad.key)
    app.ledger.table.update_entity({"PartitionKey": RULE.name, "RowKey": row_key, **damage}, mode=UpdateMode.MERGE)
    arrive(app, workspace, kind="accept_then_drop")
    clock.ahead = GRACE + timedelta(minutes=1)
    tick(app)
    good = next(entry for entry in app.ledger.history(RULE.name, 9) if entry.path == PATH)
    assert good.state == State.SUBMITTED
    assert "this is a fault of the application" not in caplog.text


def test_fault_of_ours_in_one_row_does_not_stop_the_others(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, as what it is."""

    def wrong(*_: object) -> Any:
        raise ZeroDivisionError

    arrive(app, workspace)
    monkeypatch.setattr(track, "write", wrong)
    with caplog.at_level(logging.INFO, "retrain"):
        tick(app)
    assert "this is a fault of the application" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("value", [10**12, "Wed, 21 Oct 2026 07:28:00 -0000"])
def test_retry_after_of_another_kind(app: App, workspace: LocalWorkspace, clock: Clock, value: object) -> None:
    """Beyond all dates, or a date without a zone: the row waits, at most a day."""
    arrive(app, workspace, kind="status", status=429, retry_after=value, times=9)
    [entry] = app.ledger.history(RULE.name, 9)
    assert entry.state == State.DEFERRED
    assert entry.due_at is not None
    assert entry.due_at <= app.ledger.now() + timedelta(days=1)


@pytest.mark.parametrize("step", ["go_round", "look_round", "search"])
def test_fault_of_ours_in_one_step_does_not_stop_the_others(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What waits in the queue is sent all the same."""

    def wrong(*_: object) -> Any:
        raise ZeroDivisionError

    enter.queued(app, retrain_request())
    owner = {"go_round": rounds, "look_round": folders, "search": search}[step]
    monkeypatch.setattr(owner, step, wrong)
    tick(app)
    assert len(keys(workspace)) == 1


def test_change_of_a_row_that_has_ended(ledger: Ledger) -> None:
    """An end is an end; it is a conflict like any other."""
    made = ledger.enter(retrain_request(), State.SENDING)
    assert isinstance(made, Entered)
    ended = ledger.move(made.row, State.REFUSED)
    with pytest.raises(ConflictError, match="came to its end"):
        ledger.move(ended, State.HELD)


def test_poison_buries_only_what_could_not_be_started(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two rules one has its run; the other one gets a dead row."""
    second = msgspec.structs.replace(samples.RULE, name="second")
    settings = msgspec.structs.replace(app.settings, rules=(samples.RULE, second))
    both = App(settings, app.ledger, app.datastores, app.endpoints)
    both.prepare()
    enter = app.ledger.enter

    def fails_for_the_second(request: Any, *more: Any, **options: Any) -> Any:
        if request.rule == "second":
            raise StorageError("Ledger table 't', claim: 503")
        return enter(request, *more, **options)

    monkeypatch.setattr(app.ledger, "enter", fails_for_the_second)
    workspace.upload(PATH, "a\n1\n")
    bury(both, "training", PATH, "e", datetime.now(UTC))
    assert [entry.state for entry in app.ledger.history(RULE.name, 9)] == [State.SUBMITTED]
    assert [entry.state for entry in app.ledger.history("second", 9)] == [State.DEAD]


def test_ticks_leave_no_connections_behind(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Threads come and go with each tick; what they talked over is shared."""
    arrive(app, workspace)
    for _ in range(5):
        tick(app)
    adapter: Any = app.endpoints.session.get_adapter("http://")
    assert len(adapter.poolmanager.pools) == 1
