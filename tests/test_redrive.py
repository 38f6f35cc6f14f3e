"""The two ways around the ordinary flow: poison, and an operator's redrive."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App
from shared.errors import BadRequestError, ConflictError, NotFoundError, RetrainError, StorageError
from shared.flow import enter
from shared.flow.arrive import arrive as deliver
from shared.flow.outcome import Outcome
from shared.flow.poison import bury
from shared.flow.tick import tick
from shared.ledger.entries import Entry, Row, State
from shared.operate.redrive import Wish, close, redrive, redrive_many, wished
from shared.rules.arrival import Source
from shared.storage.datastores import Datastore
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

PATH = "income/us/a.csv"
REFUSAL = {"on": "submit", "kind": "status", "status": 400}


def refused(app: App, workspace: LocalWorkspace) -> Entry:
    """Return the entry of an arrival that the endpoint refused."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [REFUSAL])
    [outcome] = deliver(app, "training", PATH, Source.BLOB_SCAN)
    assert outcome.entry is not None
    assert outcome.entry.state == State.REFUSED
    return outcome.entry


def dead(app: App, monkeypatch: pytest.MonkeyPatch, path: str = PATH) -> Entry:
    """Return the entry of an arrival that was buried, since its properties could not be read."""

    def fails(*_: object) -> Any:
        raise StorageError(f"Properties of {path!r} in datastore 'training': 403 AuthorizationFailure")

    with monkeypatch.context() as patch:
        patch.setattr(Datastore, "look", fails)
        bury(app, "training", path, "", datetime.now(UTC))
    [entry] = [entry for entry in app.ledger.history("income-files", 10) if entry.state == State.DEAD]
    return entry


def runs(workspace: LocalWorkspace) -> list[dict[str, Any]]:
    """Return what the workspace accepted."""
    accepted: list[dict[str, Any]] = workspace.control("GET", "runs")
    return accepted


def test_poison_is_tried_once_more(app: App, workspace: LocalWorkspace) -> None:
    """What made it fail five times may be over."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    bury(app, "training", PATH, "etag", datetime.now(UTC))
    [entry] = app.ledger.history("income-files", 10)
    assert (entry.state, entry.source) == (State.SUBMITTED, Source.POISON)
    assert len(runs(workspace)) == 1


def test_poison_of_an_arrival_that_has_its_row_starts_nothing(app: App, workspace: LocalWorkspace) -> None:
    """It was claimed before its delivery failed: the row owns it."""
    refused(app, workspace)
    bury(app, "training", PATH, "etag", datetime.now(UTC))
    assert runs(workspace) == []
    assert len(app.ledger.history("income-files", 10)) == 1


def test_poison_that_fails_again_is_a_dead_row_with_what_is_known(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and reason; it is not open, and a message that comes twice makes one row."""
    entry = dead(app, monkeypatch)
    assert entry.path == PATH
    assert "403 AuthorizationFailure" in entry.reason
    assert samples.open_states(app.ledger) == {}
    assert entry.attempt == 0


def test_dead_arrival_is_not_in_the_way_of_its_blob(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the blob can be read again, any delivery of it starts the run."""
    dead(app, monkeypatch)
    workspace.upload(PATH, "a\n1\n")
    [outcome] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    assert outcome.entry is not None
    assert outcome.entry.state == State.SUBMITTED


def test_dead_arrival_is_redriven(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator mended the rights: the blob becomes its first attempt, and the dead row says so."""
    entry = dead(app, monkeypatch)
    workspace.upload(PATH, "a\n1\n")
    outcome = redrive(app, entry.key)
    assert outcome.entry is not None
    assert (outcome.entry.state, outcome.entry.attempt) == (State.SUBMITTED, 1)
    row = app.ledger.get(entry.key, ["income-files"])
    assert row is not None
    assert row.entry.redriven == outcome.entry.key
    assert len(runs(workspace)) == 1


def test_poison_that_cannot_even_be_written_down_stays_in_its_queue(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then raising is right: the message is all that is left of the arrival."""

    def fails(*_: object, **__: object) -> Any:
        raise StorageError("Ledger table 't', bury: 503")

    monkeypatch.setattr(Datastore, "look", fails)
    monkeypatch.setattr(app.ledger, "bury", fails)
    with pytest.raises(StorageError):
        bury(app, "training", PATH, "", datetime.now(UTC))


def test_refused_request_is_redriven_as_a_new_attempt(app: App, workspace: LocalWorkspace) -> None:
    """History is kept: the refused row stays, and names its successor."""
    entry = refused(app, workspace)
    outcome = redrive(app, entry.key)
    assert outcome.entry is not None
    assert (outcome.entry.attempt, outcome.entry.state) == (2, State.SUBMITTED)
    old, new = sorted(app.ledger.history("income-files", 10), key=lambda item: item.attempt)
    assert (old.state, old.redriven) == (State.REFUSED, new.key)
    [run] = runs(workspace)
    assert run["body"]["tags"]["retrain.attempt"] == "2"


def test_redrive_goes_to_the_version_that_is_pinned_now(app: App, workspace: LocalWorkspace) -> None:
    """The refusal may have been about the version."""
    entry = refused(app, workspace)
    pipeline = msgspec.structs.replace(app.settings.pipelines["income"], version="0")
    settings = msgspec.structs.replace(app.settings, pipelines={"income": pipeline})
    redrive(App(settings, app.ledger, app.datastores, app.endpoints), entry.key)
    [run] = runs(workspace)
    assert run["version"] == "0"


def test_two_operators_at_once_start_one_attempt(app: App, workspace: LocalWorkspace) -> None:
    """One of them is told who was first."""
    entry = refused(app, workspace)

    def one_of_them(_: int) -> Outcome | RetrainError:
        try:
            return redrive(app, entry.key)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one_of_them, range(4)))
    assert len(runs(workspace)) == 1
    assert sum(isinstance(result, Outcome) for result in results) == 1
    assert all("redriven already" in str(result) for result in results if isinstance(result, ConflictError))


@pytest.mark.parametrize("ended", [False, True])
def test_live_or_finished_run_is_redriven_by_force_only(app: App, workspace: LocalWorkspace, ended: bool) -> None:
    """Another attempt could train twice; who means that says so."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    [outcome] = deliver(app, "training", PATH, Source.BLOB_SCAN)
    assert outcome.entry is not None
    if ended:
        workspace.control("POST", f"runs/{outcome.entry.run_id}/status", {"status": "Finished"})
        tick(app)
    with pytest.raises(ConflictError, match="force"):
        redrive(app, outcome.entry.key)
    assert len(runs(workspace)) == 1
    again = redrive(app, outcome.entry.key, force=True)
    assert again.entry is not None
    assert again.entry.attempt == 2
    assert len(runs(workspace)) == 2


def test_forced_redrive_of_an_uncertain_request_ends_the_first(app: App, workspace: LocalWorkspace) -> None:
    """Nobody sends the first one again after the operator has decided."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "drop"}])
    [outcome] = deliver(app, "training", PATH, Source.BLOB_SCAN)
    assert outcome.entry is not None
    with pytest.raises(ConflictError, match="is uncertain"):
        redrive(app, outcome.entry.key)
    redrive(app, outcome.entry.key, force=True)
    row = app.ledger.get(outcome.entry.key, ["income-files"])
    assert row is not None
    assert row.entry.state == State.CLOSED
    assert len(runs(workspace)) == 1


def test_blob_that_was_overwritten_since_is_not_redriven(app: App, workspace: LocalWorkspace) -> None:
    """The new version is an arrival of its own; the old one is gone."""
    entry = refused(app, workspace)
    workspace.upload(PATH, "a\n2\n")
    with pytest.raises(ConflictError, match="overwritten"):
        redrive(app, entry.key)


def test_blob_that_was_deleted_since_is_not_redriven(app: App, workspace: LocalWorkspace) -> None:
    """It says which blob is missing where."""
    entry = refused(app, workspace)
    app.datastores["training"].container.delete_blob(PATH)
    with pytest.raises(NotFoundError, match="no blob 'income/us/a"):
        redrive(app, entry.key)


def test_entry_of_a_rule_that_is_gone_is_shown_and_not_redriven(app: App, workspace: LocalWorkspace) -> None:
    """Its history is still there; to act on it again the rule has to be put back."""
    entry = refused(app, workspace)
    rule = msgspec.structs.replace(app.settings.rules[0], name="renamed")
    renamed = App(msgspec.structs.replace(app.settings, rules=(rule,)), app.ledger, app.datastores, app.endpoints)
    assert [shown.key for shown in renamed.history(10)] == [entry.key]
    assert [shown.key for shown in renamed.history(10, "income-files")] == [entry.key]
    with pytest.raises(NotFoundError, match="no rule 'income-files' any more"):
        redrive(renamed, entry.key)


@pytest.mark.parametrize("key", ["nonsense", "20261101T120000Z-" + "0" * 32])
def test_key_that_does_not_exist(app: App, key: str) -> None:
    """Nothing is started."""
    with pytest.raises(NotFoundError, match="no retrain request"):
        redrive(app, key)


# Many at once, and closing


def many_refused(app: App, workspace: LocalWorkspace, count: int) -> list[Entry]:
    """Return the entries of arrivals that the endpoint refused."""
    found = list[Entry]()
    for number in range(count):
        path = f"income/us/{number}.csv"
        workspace.upload(path, "a\n1\n")
        workspace.control("POST", "faults", [REFUSAL])
        [outcome] = deliver(app, "training", path, Source.BLOB_EVENT)
        assert outcome.entry is not None
        found.append(outcome.entry)
    return found


@pytest.mark.usefixtures("empty_container")
def test_many_are_redriven_by_rule_and_state(app: App, workspace: LocalWorkspace) -> None:
    """Each is queued, and the timer sends it; what cannot be is told of and stops no other; nothing is done twice."""
    app.prepare()
    entries = many_refused(app, workspace, 5)
    app.datastores["training"].container.delete_blob(entries[2].path)
    wish = Wish(rule="income-files", state="refused")
    assert {entry.key for entry in wished(app, wish)} == {entry.key for entry in entries}
    done = list(redrive_many(app, wished(app, wish)))
    assert [one.key for one in done if one.error] == [entries[2].key]
    assert runs(workspace) == []
    tick(app)
    assert len(runs(workspace)) == 4
    assert [entry.key for entry in wished(app, wish)] == [entries[2].key]


@pytest.mark.usefixtures("empty_container")
def test_many_that_are_deferred_are_due_at_once(app: App, workspace: LocalWorkspace) -> None:
    """The operator knows that the role is there: nobody waits for the pause to be over."""
    app.prepare()
    workspace.control("POST", "settings", {"role": "reader"})
    for number in range(3):
        workspace.upload(f"income/us/{number}.csv", "a\n1\n")
        deliver(app, "training", f"income/us/{number}.csv", Source.BLOB_EVENT)
    workspace.control("POST", "settings", {"role": "contributor"})
    tick(app)
    assert runs(workspace) == []
    list(redrive_many(app, wished(app, Wish(rule="income-files", state="deferred"))))
    tick(app)
    assert len(runs(workspace)) == 3


def test_deferred_request_is_sent_now(app: App, workspace: LocalWorkspace) -> None:
    """The same attempt: surely nobody has it."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 403}])
    [outcome] = deliver(app, "training", PATH, Source.BLOB_SCAN)
    sent = redrive(app, outcome.key)
    assert sent.entry is not None
    assert (sent.entry.state, sent.entry.attempt, sent.entry.tries) == (State.SUBMITTED, 1, 2)


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        (Wish(rule="income-files", state="finished"), BadRequestError, "there are: refused, held"),
        (Wish(rule="none", state="refused"), NotFoundError, "no rule 'none'"),
    ],
)
def test_wishes_that_cannot_be_fulfilled(app: App, wish: Wish, error: type[Exception], says: str) -> None:
    """Each says what there is."""
    with pytest.raises(error, match=says):
        wished(app, wish)


def test_since_is_when_it_came_to_that_state(app: App, workspace: LocalWorkspace) -> None:
    """What was refused longer ago is left alone."""
    refused(app, workspace)
    now = datetime.now(UTC)
    app.ledger.now = lambda: now + timedelta(days=3)
    assert wished(app, Wish(rule="income-files", state="refused", since=timedelta(days=2))) == []
    assert len(wished(app, Wish(rule="income-files", state="refused", since=timedelta(days=4)))) == 1


@pytest.mark.usefixtures("empty_container")
def test_held_request_is_redriven_and_nobodys_turn_any_more(app: App, workspace: LocalWorkspace) -> None:
    """Its row names the attempt that took its place."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "drop"}])
    [outcome] = deliver(app, "training", PATH, Source.BLOB_SCAN)
    now = datetime.now(UTC)
    app.ledger.now = lambda: now + timedelta(minutes=11)
    tick(app)
    assert samples.open_states(app.ledger) == {outcome.key: "held"}
    again = redrive(app, outcome.key)
    row = app.ledger.get(outcome.key, ["income-files"])
    assert row is not None
    assert (row.entry.state, row.entry.redriven) == (State.CLOSED, again.key)
    assert samples.open_states(app.ledger) == {again.key: "submitted"}


def test_open_request_is_closed(app: App, workspace: LocalWorkspace) -> None:
    """What nobody can bring to an end: the row says who ended it, why, and what it was; once."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 403}])
    [outcome] = deliver(app, "training", PATH, Source.BLOB_SCAN)
    closed = close(app, outcome.key, "the data was wrong")
    assert closed.state == State.CLOSED
    assert closed.reason.startswith("Closed by an operator: the data was wrong. It was deferred. 403 ")
    assert samples.open_states(app.ledger) == {}
    with pytest.raises(ConflictError, match="it is closed"):
        close(app, outcome.key)


def test_request_that_is_being_sent_is_not_closed(app: App) -> None:
    """Its outcome is not known yet, and will be in a moment."""
    row = enter.to_send(app, samples.retrain_request())
    assert isinstance(row, Row)
    with pytest.raises(ConflictError, match="being sent just now"):
        close(app, row.entry.key)
