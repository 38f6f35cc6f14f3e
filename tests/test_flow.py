"""The story of an arrival over Azurite and the local workspace: what is started, what is not, and why."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared import flow
from shared.arrival import Source
from shared.calls import Call, until_sent
from shared.errors import BadRequestError, ConflictError, NotFoundError, StorageError
from shared.ledger import State
from shared.outcome import Outcome
from shared.wiring import App
from tests import samples
from tests.fixtures_workspace import LocalWorkspace


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The application's own log."""
    with caplog.at_level(logging.INFO, "retrain"):
        yield caplog


def runs(workspace: LocalWorkspace) -> list[dict[str, Any]]:
    """Return what the workspace accepted."""
    accepted: list[dict[str, Any]] = workspace.control("GET", "runs")
    return accepted


def upload(app: App, workspace: LocalWorkspace, path: str = "income/us/a.csv", content: str = "a,b\n1,2\n") -> None:
    """Put new data where the rule watches, after the rule has been seen."""
    app.prepare()
    workspace.upload(path, content)


def only(outcomes: list[Outcome]) -> Any:
    """Return the entry of the one outcome."""
    [outcome] = outcomes
    assert outcome.entry is not None
    return outcome.entry


def test_new_file_is_submitted_and_recorded(app: App, workspace: LocalWorkspace) -> None:
    """One run at the pinned version; the row has its id and its page."""
    upload(app, workspace)
    entry = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    [run] = runs(workspace)
    assert entry.state == State.SUBMITTED
    assert entry.run_id == run["run_id"]
    assert entry.run_url.startswith("http")
    assert run["body"]["Properties"]["retrain.key"] == entry.key
    row = app.ledger.get(entry.key, ["income-files"])
    assert row is not None
    assert row.entry == entry


def test_second_delivery_starts_nothing(app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture) -> None:
    """Scan, event and webhook agree on the key; who comes later is told the run that is there."""
    upload(app, workspace)
    first = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    [second] = flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
    [third] = flow.request(app, Call(datastore="training", path="income/us/a.csv"))
    assert second.duplicate
    assert third.duplicate
    assert third.entry == first
    assert len(runs(workspace)) == 1
    assert f"duplicate key={first.key} state=submitted" in log.text


def test_overwritten_file_is_a_new_arrival(app: App, workspace: LocalWorkspace) -> None:
    """Same name, other content: another key, another run."""
    upload(app, workspace)
    first = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    upload(app, workspace, content="a,b\n3,4\n")
    second = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert first.key != second.key
    assert len(runs(workspace)) == 2


def test_file_that_no_rule_matches_is_skipped_with_the_reason(
    app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture
) -> None:
    """Nothing is started, and the log says why."""
    upload(app, workspace, "scratch/notes.txt")
    [outcome] = flow.arrive(app, "training", "scratch/notes.txt", Source.BLOB_SCAN)
    assert outcome.skip is not None
    assert "skipped datastore=training path=scratch/notes.txt rule=income-files" in log.text
    assert "does not match" in log.text
    assert runs(workspace) == []


def test_file_that_was_there_before_the_rule_starts_nothing(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan of a full container finds old data; only data written since the rule was first seen counts."""
    workspace.upload("income/us/old.csv", "a\n1\n")
    app._first_seen["income-files"] = datetime.now(UTC) + timedelta(seconds=5)
    [outcome] = flow.arrive(app, "training", "income/us/old.csv", Source.BLOB_SCAN)
    assert outcome.skip is not None
    assert "before the rule's since" in outcome.skip.reason
    assert runs(workspace) == []


@pytest.mark.parametrize("source", [Source.BLOB_EVENT, Source.WEBHOOK])
def test_what_is_announced_one_by_one_needs_no_first_sight(app: App, workspace: LocalWorkspace, source: Source) -> None:
    """An event is raised for a new blob only, and a caller means the blob that is named."""
    workspace.upload("income/us/old.csv", "a\n1\n")
    app._first_seen["income-files"] = datetime.now(UTC) + timedelta(hours=1)
    if source == Source.WEBHOOK:
        outcomes = flow.request(app, Call(datastore="training", path="income/us/old.csv"))
    else:
        outcomes = flow.arrive(app, "training", "income/us/old.csv", source)
    assert only(outcomes).state == State.SUBMITTED


def test_since_in_the_rule_holds_for_events_too(app: App, workspace: LocalWorkspace) -> None:
    """What is written down is meant for every detection."""
    rule = msgspec.structs.replace(samples.RULE, since=datetime.now(UTC) + timedelta(hours=1))
    app = App(samples.settings(rules=(rule,)), app.ledger, app.datastores, app.pipelines)
    workspace.upload("income/us/old.csv", "a\n1\n")
    [outcome] = flow.arrive(app, "training", "income/us/old.csv", Source.BLOB_EVENT)
    assert outcome.skip is not None


def test_file_deleted_before_it_was_looked_at(app: App, log: pytest.LogCaptureFixture) -> None:
    """There is nothing to train on: skipped, not retried."""
    [outcome] = flow.arrive(app, "training", "income/us/gone.csv", Source.BLOB_SCAN)
    assert outcome.skip is not None
    assert "There is no blob 'income/us/gone.csv' in container 'training-data'" in log.text


def test_no_of_the_endpoint_is_refused_in_its_words(app: App, workspace: LocalWorkspace) -> None:
    """The row says `refused`, with code and message of the service."""
    upload(app, workspace)
    fault = {"on": "submit", "kind": "status", "status": 403}
    workspace.control("POST", "faults", [fault])
    entry = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert entry.state == State.REFUSED
    assert entry.reason.startswith("403 ")


def test_throttling_that_lasts_waits_for_the_timer(app: App, workspace: LocalWorkspace) -> None:
    """Surely not accepted: the row is due again when the endpoint asked for it."""
    upload(app, workspace)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "retry_after": 300}])
    entry = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert entry.state == State.WAITING
    assert entry.due_at > app.ledger.now() + timedelta(seconds=250)


@pytest.mark.parametrize("fault", [{"kind": "accept_then_drop"}, {"kind": "drop"}, {"kind": "status", "status": 503}])
def test_submission_without_an_answer_is_uncertain(app: App, workspace: LocalWorkspace, fault: dict[str, Any]) -> None:
    """It is not sent again, and not raised: the row owns it."""
    upload(app, workspace)
    workspace.control("POST", "faults", [{"on": "submit", **fault}])
    entry = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert entry.state == State.UNCERTAIN
    assert entry.tries == 1
    assert len(runs(workspace)) == (fault["kind"] == "accept_then_drop")


def test_answer_that_cannot_be_recorded_is_logged_and_not_raised(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """The row owns the arrival: raising would only bring the delivery again. The log holds the run that is missing."""

    def fails(*_: Any, **__: Any) -> None:
        raise StorageError("Ledger table 't', change: 503")

    upload(app, workspace)
    monkeypatch.setattr(app.ledger, "move", fails)
    entry = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    [run] = runs(workspace)
    assert entry.run_id == run["run_id"]
    assert f"not_recorded key={entry.key} state=submitted run={run['run_id']}" in log.text
    row = app.ledger.get(entry.key, ["income-files"])
    assert row is not None
    assert row.entry.state == State.SENDING


def test_rule_that_fails_does_not_stop_the_others(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second rule's run is started; the first one's error is raised at the end, for another delivery."""
    two = msgspec.structs.replace(samples.RULE, name="second")
    app = App(samples.settings(rules=(samples.RULE, two)), app.ledger, app.datastores, app.pipelines)
    upload(app, workspace)
    claim = app.ledger.claim

    def fails_for_the_first(request: Any, grace: timedelta, endpoint: str, queued: bool) -> Any:
        if request.rule == samples.RULE.name:
            raise StorageError("Ledger table 't', claim: 503")
        return claim(request, grace, endpoint, queued)

    monkeypatch.setattr(app.ledger, "claim", fails_for_the_first)
    with pytest.raises(StorageError, match="claim: 503"):
        flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN)
    [run] = runs(workspace)
    assert run["body"]["Properties"]["retrain.rule"] == "second"


def test_forced_request_trains_again_each_time(app: App, workspace: LocalWorkspace) -> None:
    """Every forced call is an attempt with a key of its own; the first may be the first at all."""
    upload(app, workspace)
    call = Call(datastore="training", path="income/us/a.csv", force=True)
    attempts = [only(flow.request(app, call)) for _ in range(3)]
    assert [entry.attempt for entry in attempts] == [1, 2, 3]
    assert len({entry.key for entry in attempts}) == 3
    assert len(runs(workspace)) == 3


def test_parameters_of_the_caller_are_sent(app: App, workspace: LocalWorkspace) -> None:
    """As strings, beside the data path."""
    upload(app, workspace)
    only(flow.request(app, Call(rule="income-files", path="income/us/a.csv", parameters={"seed": "7"})))
    [run] = runs(workspace)
    assert run["body"]["ParameterAssignments"] == {"seed": "7"}


def test_other_parameters_for_data_that_has_a_run_are_a_conflict(app: App, workspace: LocalWorkspace) -> None:
    """The caller is not told of a run that ignored what was asked for."""
    upload(app, workspace)
    only(flow.request(app, Call(datastore="training", path="income/us/a.csv")))
    with pytest.raises(ConflictError, match=r'with another seed.*"force": true'):
        flow.request(app, Call(datastore="training", path="income/us/a.csv", parameters={"seed": "7"}))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (Call(path="income/a.csv"), BadRequestError, "Give the datastore"),
        (Call(path="income/a.csv", datastore="nowhere"), NotFoundError, "known are: training"),
        (Call(path="income/a.csv", rule="none"), NotFoundError, "known are: income-files"),
        (Call(path="/income/a.csv", datastore="training"), BadRequestError, "starts with a slash"),
        (Call(path="income/../a.csv", datastore="training"), BadRequestError, "'..' segment"),
        (Call(path="income/missing.csv", datastore="training"), NotFoundError, "no blob"),
        (Call(path="a", datastore="training", parameters={"input_data": "x"}), BadRequestError, "takes the data path"),
    ],
)
def test_calls_that_cannot_be_acted_on(
    app: App, workspace: LocalWorkspace, call: Call, error: type[Exception], says: str
) -> None:
    """Each says what is wrong; nothing is started."""
    upload(app, workspace)
    with pytest.raises(error, match=says.replace(".", r"\.")):
        flow.request(app, call)
    assert runs(workspace) == []


def test_caller_who_meets_a_submission_under_way_is_told_its_run(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says `sending` when the call comes, and `submitted` with a run before it is answered."""
    upload(app, workspace)
    entry = only(flow.arrive(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    sending = msgspec.structs.replace(entry, state=State.SENDING, run_id="")
    assert until_sent(app, sending) == entry
