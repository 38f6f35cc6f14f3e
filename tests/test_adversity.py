"""Rare orders of events that once started a run twice, lost one, or stopped the timer. Each has its test."""

import contextlib
import logging
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import ServiceResponseError
from azure.data.tables import UpdateMode

from shared import flow
from shared.arrival import Source
from shared.errors import ConflictError, StorageError
from shared.identity import Tokens
from shared.ledger import Claimed, Ledger, State, Taken, _history_key
from shared.pipelines.published import PublishedEndpoint
from shared.settings import PublishedPipeline
from shared.storage import table_client
from shared.wiring import App
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
    flow.arrive(app, "training", PATH, Source.BLOB_SCAN)


def keys(workspace: LocalWorkspace) -> list[str]:
    """Return the keys of the runs that were accepted."""
    return [run["body"]["Properties"]["retrain.key"] for run in workspace.control("GET", "runs")]


def trusted(app: App) -> None:
    """The endpoint was seen to give keys back."""
    app.ledger.learn("income", app.endpoint("income"), True, "an earlier run")


def test_lists_that_are_slower_than_the_grace_period(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """A run that can be read by its id but is in no list: the list's silence proves nothing, so it is held."""
    workspace.control("POST", "settings", {"list_lag_s": 3600})
    arrive(app, workspace)
    clock.ahead = timedelta(minutes=11)
    flow.tick(app)
    arrive(app, workspace, "a\n2\n", kind="accept_then_drop")
    clock.ahead = timedelta(minutes=25)
    flow.tick(app)
    assert len(keys(workspace)) == len(set(keys(workspace))) == 2
    assert State.HELD in [entry.state for entry in app.ledger.history(RULE.name, 9)]


def test_run_without_our_key_is_remembered_for_good(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """One later run that has it does not restore the trust."""
    endpoint = app.endpoint("income")
    app.ledger.learn("income", endpoint, False, "r1")
    app.ledger.learn("income", endpoint, True, "r2")
    assert app.ledger.gives_keys_back("income", endpoint) is False
    assert app.ledger.gives_keys_back("income", "another endpoint") is None


def test_token_that_takes_longer_than_the_grace_period(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """When the token is there at last, somebody else has sent: the request does not leave."""
    trusted(app)
    tokens = Tokens("https://management.azure.com")
    slow = PublishedEndpoint(workspace.endpoint["url"], "income-retrain", tokens, app.limits)
    stuck = App(app.settings, app.ledger, app.datastores, {"income": slow})
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
    flow.tick(app)
    go.set()
    worker.join()
    slow.close()
    assert len(keys(workspace)) == 1


def test_claim_that_the_storage_client_repeats_late(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile the row was brought on by others: it is theirs."""
    ledger.table.create_table()
    submit, request = ledger.table.submit_transaction, retrain_request()

    def late(operations: Any) -> Any:
        monkeypatch.undo()
        submit(operations)
        row = ledger.get(request.key, [RULE.name])
        assert row is not None
        ledger.move(row, State.SUBMITTED, run_id="theirs")
        return submit(operations)

    monkeypatch.setattr(ledger.table, "submit_transaction", late)
    assert isinstance(ledger.claim(request, GRACE), Taken)


def test_two_workers_whose_clocks_agree_to_the_microsecond(storage: str) -> None:
    """They write the same change; only one of them has made it."""
    now, name = datetime.now(UTC), f"t{uuid.uuid4().hex}"
    one, two = (Ledger(table_client("S", name, {"S": storage}), lambda: now) for _ in range(2))
    with one.table, two.table:
        claim = one.claim(retrain_request(), GRACE)
        changes: dict[str, Any] = {"sent_at": now, "due_at": now + GRACE, "tries": 2}
        one.move(claim.row, State.SENDING, **changes)
        with pytest.raises(ConflictError):
            two.move(claim.row, State.SENDING, **changes)


def test_claim_whose_connection_breaks_after_it_was_written(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage client does not repeat this; the row is read back, is ours, and is sent."""
    submit = app.ledger.table.submit_transaction

    def cut(operations: Any) -> Any:
        monkeypatch.setattr(app.ledger.table, "submit_transaction", submit)
        submit(operations)
        raise ServiceResponseError("The connection was cut.")

    monkeypatch.setattr(app.ledger.table, "submit_transaction", cut)
    arrive(app, workspace)
    [entry] = app.ledger.history(RULE.name, 9)
    assert entry.state == State.SUBMITTED


def test_pipeline_that_was_taken_out_of_the_configuration(
    app: App, workspace: LocalWorkspace, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its open work waits and says so; the rest of the tick is done."""
    arrive(app, workspace, kind="drop")
    rule = msgspec.structs.replace(RULE, name="other", pipeline="new", path="income/us/missed*")
    settings = msgspec.structs.replace(app.settings, rules=(rule,), pipelines={"new": app.settings.pipelines["income"]})
    other = App(settings, app.ledger, app.datastores, {"new": app.pipelines["income"]})
    other.prepare()
    workspace.upload("income/us/missed.csv", "a\n1\n")
    clock.ahead = timedelta(minutes=2)
    flow.tick(other)
    assert "retrain.toml has no pipeline 'income' any more" in caplog.text
    assert len(keys(workspace)) == 1


def test_rule_that_was_renamed(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """What it had claimed is still brought to its end."""
    arrive(app, workspace, kind="status", status=429, retry_after=300)
    rule = msgspec.structs.replace(RULE, name="renamed", path="elsewhere/*")
    renamed = App(msgspec.structs.replace(app.settings, rules=(rule,)), app.ledger, app.datastores, app.pipelines)
    clock.ahead = timedelta(minutes=6)
    flow.tick(renamed)
    assert len(keys(workspace)) == 1


@pytest.mark.parametrize("damage", [{"State": "paused"}, {"Request": '{"key": '}])
def test_row_that_makes_no_sense(
    app: App, workspace: LocalWorkspace, clock: Clock, damage: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the other open work is done."""
    bad = retrain_request()
    app.ledger.claim(bad, GRACE)
    row_key = f"o|{bad.key}" if "State" in damage else _history_key(bad.key)
    app.ledger.table.update_entity({"PartitionKey": RULE.name, "RowKey": row_key, **damage}, mode=UpdateMode.MERGE)
    arrive(app, workspace, kind="accept_then_drop")
    clock.ahead = GRACE + timedelta(minutes=1)
    flow.tick(app)
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
    monkeypatch.setattr(flow, "track", wrong)
    with caplog.at_level(logging.INFO, "retrain"):
        flow.tick(app)
    assert "this is a fault of the application" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_published_pipeline_that_was_replaced_by_another(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """What waits goes to the pipeline that was pinned when it arrived."""
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{workspace.endpoint['id']}").json()
    ids = [version["PipelineId"] for version in entity["PipelineVersionList"]]

    def pinned_to(pipeline_id: str) -> App:
        url = f"{workspace.pipelines}/PipelineRuns/PipelineSubmit/{pipeline_id}"
        pipelines: Any = {"income": PublishedPipeline(url=url, experiment="x")}
        before: Any = app.pipelines["income"]
        made = PublishedEndpoint(url, "x", before.tokens, before.limits)
        settings = msgspec.structs.replace(app.settings, pipelines=pipelines)
        return App(settings, app.ledger, app.datastores, {"income": made})

    old, new = (pinned_to(pipeline_id) for pipeline_id in ids)
    arrive(old, workspace, kind="status", status=429, retry_after=300)
    clock.ahead = timedelta(minutes=6)
    flow.tick(new)
    flow.tick(new)
    for made in (old, new):
        made.pipelines["income"].close()
    [run] = workspace.control("GET", "runs")
    [entry] = app.ledger.history(RULE.name, 9)
    assert run["pipeline_id"] == entry.version == ids[0]
    assert entry.state == State.SUBMITTED


def test_endpoint_that_was_replaced_while_the_outcome_was_uncertain(
    app: App, workspace: LocalWorkspace, clock: Clock
) -> None:
    """The run is looked for where it was sent to, or by an operator; never at the new endpoint."""
    trusted(app)
    arrive(app, workspace, kind="accept_then_drop")
    before: Any = app.pipelines["income"]
    url = workspace.endpoint["url"].replace(workspace.endpoint["id"], str(uuid.uuid4()))
    moved = PublishedEndpoint(url, "x", before.tokens, before.limits)
    clock.ahead = timedelta(minutes=11)
    flow.tick(App(app.settings, app.ledger, app.datastores, {"income": moved}))
    moved.close()
    [entry] = app.ledger.history(RULE.name, 9)
    assert entry.state == State.HELD
    assert "look for its run there" in entry.reason
    assert len(keys(workspace)) == 1


@pytest.mark.parametrize("value", [10**12, "Wed, 21 Oct 2026 07:28:00 -0000"])
def test_retry_after_of_another_kind(app: App, workspace: LocalWorkspace, clock: Clock, value: object) -> None:
    """Beyond all dates, or a date without a zone: the row waits, at most a day."""
    arrive(app, workspace, kind="status", status=429, retry_after=value, times=9)
    [entry] = app.ledger.history(RULE.name, 9)
    assert entry.state == State.WAITING
    assert entry.due_at is not None
    assert entry.due_at <= app.ledger.now() + timedelta(days=1)


def test_change_of_a_row_that_has_ended(ledger: Ledger) -> None:
    """An end is an end; it is a conflict like any other."""
    claim = ledger.claim(retrain_request(), GRACE)
    assert isinstance(claim, Claimed)
    ended = ledger.move(claim.row, State.REFUSED)
    with pytest.raises(ConflictError, match="came to its end"):
        ledger.move(ended, State.HELD)


def test_poison_buries_only_what_could_not_be_started(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two rules one has its run; the other one gets a dead row."""
    second = msgspec.structs.replace(samples.RULE, name="second")
    settings = msgspec.structs.replace(app.settings, rules=(samples.RULE, second))
    both = App(settings, app.ledger, app.datastores, app.pipelines)
    both.prepare()
    claim = app.ledger.claim

    def fails_for_the_second(request: Any, *more: Any, **options: Any) -> Any:
        if request.rule == "second":
            raise StorageError("Ledger table 't', claim: 503")
        return claim(request, *more, **options)

    monkeypatch.setattr(app.ledger, "claim", fails_for_the_second)
    workspace.upload(PATH, "a\n1\n")
    flow.bury(both, "training", PATH, "e", datetime.now(UTC))
    assert [entry.state for entry in app.ledger.history(RULE.name, 9)] == [State.SUBMITTED]
    assert [entry.state for entry in app.ledger.history("second", 9)] == [State.DEAD]


def test_ticks_leave_no_connections_behind(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Threads come and go with each tick; what they talked over is shared."""
    arrive(app, workspace)
    pipeline: Any = app.pipelines["income"]
    for _ in range(5):
        flow.tick(app)
    pools = pipeline._session.get_adapter("http://").poolmanager.pools
    with contextlib.closing(pipeline):
        assert len(pools) == 1
