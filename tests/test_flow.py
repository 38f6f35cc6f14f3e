"""The story of an arrival over Azurite and the local workspace: what is started, what is not, and why."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App
from shared.errors import BadRequestError, ConflictError, NotFoundError, StorageError
from shared.flow import enter
from shared.flow.arrive import arrive as deliver
from shared.flow.outcome import Outcome
from shared.flow.poison import bury
from shared.ledger.entries import State
from shared.ledger.table import Only
from shared.operate.calls import Call, request, until_sent
from shared.rules.arrival import Source
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
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
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
    first = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    [second] = deliver(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
    [third] = request(app, Call(datastore="training", path="income/us/a.csv"))
    assert second.duplicate
    assert third.duplicate
    assert third.entry == first
    assert len(runs(workspace)) == 1
    assert log.text.count(f"duplicate key={first.key}") == 2


def test_overwritten_file_is_a_new_arrival(app: App, workspace: LocalWorkspace) -> None:
    """Same name, other content: another key, another run."""
    upload(app, workspace)
    first = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    upload(app, workspace, content="a,b\n3,4\n")
    second = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert first.key != second.key
    assert len(runs(workspace)) == 2


def test_file_that_no_rule_matches_is_skipped_with_the_reason(
    app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture
) -> None:
    """Nothing is started, and the log says why."""
    upload(app, workspace, "scratch/notes.txt")
    [outcome] = deliver(app, "training", "scratch/notes.txt", Source.BLOB_SCAN)
    assert outcome.skip is not None
    assert "skipped datastore=training path=scratch/notes.txt rule=income-files" in log.text
    assert "does not match" in log.text
    assert runs(workspace) == []


def test_file_that_was_there_before_the_rule_starts_nothing(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan of a full container finds old data; only data written since the rule was first seen counts."""
    workspace.upload("income/us/old.csv", "a\n1\n")
    app.memory.since["income-files"] = datetime.now(UTC) + timedelta(seconds=5)
    [outcome] = deliver(app, "training", "income/us/old.csv", Source.BLOB_SCAN)
    assert outcome.skip is not None
    assert "before the rule's since" in outcome.skip.reason
    assert runs(workspace) == []


@pytest.mark.parametrize("source", [Source.BLOB_EVENT, Source.WEBHOOK])
def test_what_is_announced_one_by_one_needs_no_first_sight(app: App, workspace: LocalWorkspace, source: Source) -> None:
    """An event is raised for a new blob only, and a caller means the blob that is named."""
    workspace.upload("income/us/old.csv", "a\n1\n")
    app.memory.since["income-files"] = datetime.now(UTC) + timedelta(hours=1)
    if source == Source.WEBHOOK:
        outcomes = request(app, Call(datastore="training", path="income/us/old.csv"))
    else:
        outcomes = deliver(app, "training", "income/us/old.csv", source)
    assert only(outcomes).state == State.SUBMITTED


def test_since_in_the_rule_holds_for_events_too(app: App, workspace: LocalWorkspace) -> None:
    """What is written down is meant for every detection."""
    rule = msgspec.structs.replace(samples.RULE, since=datetime.now(UTC) + timedelta(hours=1))
    app = App(samples.settings(rules=(rule,)), app.ledger, app.datastores, app.endpoints)
    workspace.upload("income/us/old.csv", "a\n1\n")
    [outcome] = deliver(app, "training", "income/us/old.csv", Source.BLOB_EVENT)
    assert outcome.skip is not None


def test_file_deleted_before_it_was_looked_at(app: App, log: pytest.LogCaptureFixture) -> None:
    """There is nothing to train on: skipped, not retried."""
    [outcome] = deliver(app, "training", "income/us/gone.csv", Source.BLOB_SCAN)
    assert outcome.skip is not None
    assert "There is no blob 'income/us/gone.csv' in container 'training-data'" in log.text


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_no_to_what_the_request_is(app: App, workspace: LocalWorkspace, status: int) -> None:
    """The row says `refused`, with code and message of the service: it would be refused again."""
    upload(app, workspace)
    fault = {"on": "submit", "kind": "status", "status": status}
    workspace.control("POST", "faults", [fault])
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert entry.state == State.REFUSED
    assert entry.reason.startswith(f"{status} ")


@pytest.mark.parametrize("status", [401, 403, 404, 410, 423])
def test_no_that_is_not_about_the_request(app: App, workspace: LocalWorkspace, status: int) -> None:
    """No role yet, not there yet, locked: the row is deferred, and whoever comes next does not even ask."""
    upload(app, workspace)
    workspace.control(
        "POST", "faults", [{"on": "submit", "kind": "status", "status": status, "times": 2 if status == 401 else 1}]
    )
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert entry.state == State.DEFERRED
    assert entry.reason.startswith(f"{status} ")
    assert entry.deferred_since <= app.ledger.now()
    upload(app, workspace, "income/us/b.csv")
    after = only(deliver(app, "training", "income/us/b.csv", Source.BLOB_SCAN))
    assert (after.state, after.reason) == (State.DEFERRED, entry.reason)
    assert runs(workspace) == []


def test_throttling_that_lasts_waits_for_the_timer(app: App, workspace: LocalWorkspace) -> None:
    """Surely not accepted: the row is due again when the endpoint asked for it."""
    upload(app, workspace)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "retry_after": 300}])
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    assert entry.state == State.DEFERRED
    assert entry.due_at > app.ledger.now() + timedelta(seconds=250)


@pytest.mark.parametrize("fault", [{"kind": "accept_then_drop"}, {"kind": "drop"}, {"kind": "status", "status": 503}])
def test_submission_without_an_answer_is_uncertain(app: App, workspace: LocalWorkspace, fault: dict[str, Any]) -> None:
    """It is not sent again, and not raised: the row owns it."""
    upload(app, workspace)
    workspace.control("POST", "faults", [{"on": "submit", **fault}])
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
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
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
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
    app = App(
        msgspec.structs.replace(app.settings, rules=(samples.RULE, two)), app.ledger, app.datastores, app.endpoints
    )
    upload(app, workspace)
    enter = app.ledger.enter

    def fails_for_the_first(request: Any, *more: Any, **columns: Any) -> Any:
        if request.rule == samples.RULE.name:
            raise StorageError("Ledger table 't', claim: 503")
        return enter(request, *more, **columns)

    monkeypatch.setattr(app.ledger, "enter", fails_for_the_first)
    with pytest.raises(StorageError, match="claim: 503"):
        deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN)
    [run] = runs(workspace)
    assert run["body"]["Properties"]["retrain.rule"] == "second"


def test_forced_request_trains_again_each_time(app: App, workspace: LocalWorkspace) -> None:
    """Every forced call is an attempt with a key of its own; the first may be the first at all."""
    upload(app, workspace)
    call = Call(datastore="training", path="income/us/a.csv", force=True)
    attempts = [only(request(app, call)) for _ in range(3)]
    assert [entry.attempt for entry in attempts] == [1, 2, 3]
    assert len({entry.key for entry in attempts}) == 3
    assert len(runs(workspace)) == 3


def test_parameters_of_the_caller_are_sent(app: App, workspace: LocalWorkspace) -> None:
    """As strings, beside the data path."""
    upload(app, workspace)
    only(request(app, Call(rule="income-files", path="income/us/a.csv", parameters={"seed": "7"})))
    [run] = runs(workspace)
    assert run["body"]["ParameterAssignments"] == {"seed": "7"}


def test_other_parameters_for_data_that_has_a_run_are_a_conflict(app: App, workspace: LocalWorkspace) -> None:
    """The caller is not told of a run that ignored what was asked for."""
    upload(app, workspace)
    only(request(app, Call(datastore="training", path="income/us/a.csv")))
    with pytest.raises(ConflictError, match=r'with another seed.*"force": true'):
        request(app, Call(datastore="training", path="income/us/a.csv", parameters={"seed": "7"}))


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
        request(app, call)
    assert runs(workspace) == []


def test_caller_who_meets_a_submission_under_way_is_told_its_run(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says `sending` when the call comes, and `submitted` with a run before it is answered."""
    upload(app, workspace)
    entry = only(deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN))
    sending = msgspec.structs.replace(entry, state=State.SENDING, run_id="")
    assert until_sent(app, sending) == entry


@pytest.mark.parametrize("path", ["income/../secret.csv", "income/a\x00.csv", "income\\a.csv"])
def test_event_with_a_path_that_is_none(app: App, workspace: LocalWorkspace, path: str) -> None:
    """The webhook refuses it, and an event is skipped: one check of a path for all entrances, and no dead row."""
    [outcome] = deliver(app, "training", path, Source.BLOB_EVENT)
    assert outcome.skip is not None
    bury(app, "training", path, "etag", datetime.now(UTC))
    with pytest.raises(BadRequestError):
        request(app, Call(datastore="training", path=path))
    assert app.ledger.history("income-files", 10) == []


def test_shorter_history_is_the_head_of_a_longer_one(app: App, workspace: LocalWorkspace) -> None:
    """Also within one second, and over several rules."""
    two = msgspec.structs.replace(samples.RULE, name="second")
    both = App(
        msgspec.structs.replace(app.settings, rules=(samples.RULE, two)), app.ledger, app.datastores, app.endpoints
    )
    both.prepare()
    for number in range(6):
        for rule in ("income-files", "second"):
            enter.queued(both, samples.retrain_request(rule, path=f"income/{number}.csv"))
    whole = [entry.key for entry in both.history(12)]
    assert len(whole) == 12
    assert all([entry.key for entry in both.history(limit)] == whole[:limit] for limit in range(1, 12))
    for size in (1, 5, 12):
        pages, after = list[str](), ""
        while page := both.history(size, None, Only(after=after)):
            pages += [entry.key for entry in page]
            after = page[-1].key
        assert pages == whole
    with pytest.raises(BadRequestError, match="is no key"):
        both.history(5, None, Only(after="nonsense"))


def test_history_of_some(app: App, workspace: LocalWorkspace) -> None:
    """By what the path begins with, by state, by time; each alone and together."""
    for path in ("income/us/a.csv", "income/us/😀.csv", "income/use/b.csv", "income/de/c.csv"):
        upload(app, workspace, path)
        deliver(app, "training", path, Source.WEBHOOK)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 400}])
    upload(app, workspace, "income/us/bad.csv")
    deliver(app, "training", "income/us/bad.csv", Source.WEBHOOK)

    def paths(**only: Any) -> list[str]:
        return sorted(entry.path for entry in app.history(50, None, Only(**only)))

    assert paths(prefix="income/us/") == ["income/us/a.csv", "income/us/bad.csv", "income/us/😀.csv"]
    assert paths(prefix="income/us/😀") == ["income/us/😀.csv"]
    assert paths(prefix="income/use", state=State.SUBMITTED) == ["income/use/b.csv"]
    assert paths(prefix="income/us/", state=State.REFUSED) == ["income/us/bad.csv"]
    assert paths(state=State.REFUSED) == ["income/us/bad.csv"]
    assert len(paths(written_since=app.ledger.now() - timedelta(hours=1))) == 5
    assert paths(written_since=app.ledger.now() + timedelta(hours=1)) == []


def test_line_of_the_log_is_one_line(app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture) -> None:
    """A blob's name cannot forge another line, or turn the text around; nor does a secret get there."""
    name = "income/a\u2028refused key=forged\u202e\x85 AccountKey=c2VjcmV0.csv"
    workspace.upload(name, "a\n1\n")
    deliver(app, "training", name, Source.BLOB_EVENT)
    assert not set("\u2028\u202e\x85") & set(log.text)
    assert "c2VjcmV0" not in log.text
