"""The two ways around the ordinary flow: poison, and an operator's redrive."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shared import flow
from shared.arrival import Source
from shared.datastores import Datastore
from shared.errors import ConflictError, NotFoundError, RetrainError, StorageError
from shared.ledger import Entry, State
from shared.outcome import Outcome
from shared.wiring import App
from tests.fixtures_workspace import LocalWorkspace

PATH = "income/us/a.csv"
REFUSAL = {"on": "submit", "kind": "status", "status": 403}


def refused(app: App, workspace: LocalWorkspace) -> Entry:
    """Return the entry of an arrival that the endpoint refused."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [REFUSAL])
    [outcome] = flow.arrive(app, "training", PATH, Source.BLOB_SCAN)
    assert outcome.entry is not None
    assert outcome.entry.state == State.REFUSED
    return outcome.entry


def dead(app: App, monkeypatch: pytest.MonkeyPatch, path: str = PATH) -> Entry:
    """Return the entry of an arrival that was buried, since its properties could not be read."""

    def fails(*_: object) -> Any:
        raise StorageError(f"Properties of {path!r} in datastore 'training': 403 AuthorizationFailure")

    with monkeypatch.context() as patch:
        patch.setattr(Datastore, "look", fails)
        flow.bury(app, "training", path, "", datetime.now(UTC))
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
    flow.bury(app, "training", PATH, "etag", datetime.now(UTC))
    [entry] = app.ledger.history("income-files", 10)
    assert (entry.state, entry.source) == (State.SUBMITTED, Source.POISON)
    assert len(runs(workspace)) == 1


def test_poison_of_an_arrival_that_has_its_row_starts_nothing(app: App, workspace: LocalWorkspace) -> None:
    """It was claimed before its delivery failed: the row owns it."""
    refused(app, workspace)
    flow.bury(app, "training", PATH, "etag", datetime.now(UTC))
    assert runs(workspace) == []
    assert len(app.ledger.history("income-files", 10)) == 1


def test_poison_that_fails_again_is_a_dead_row_with_what_is_known(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and reason; it is not open, and a message that comes twice makes one row."""
    entry = dead(app, monkeypatch)
    assert entry.path == PATH
    assert "403 AuthorizationFailure" in entry.reason
    assert app.ledger.open("income-files") == []
    assert entry.attempt == 0


def test_dead_arrival_is_not_in_the_way_of_its_blob(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the blob can be read again, any delivery of it starts the run."""
    dead(app, monkeypatch)
    workspace.upload(PATH, "a\n1\n")
    [outcome] = flow.arrive(app, "training", PATH, Source.BLOB_EVENT)
    assert outcome.entry is not None
    assert outcome.entry.state == State.SUBMITTED


def test_dead_arrival_is_redriven(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator mended the rights: the blob becomes its first attempt, and the dead row says so."""
    entry = dead(app, monkeypatch)
    workspace.upload(PATH, "a\n1\n")
    outcome = flow.redrive(app, entry.key)
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
        flow.bury(app, "training", PATH, "", datetime.now(UTC))


def test_refused_request_is_redriven_as_a_new_attempt(app: App, workspace: LocalWorkspace) -> None:
    """History is kept: the refused row stays, and names its successor."""
    entry = refused(app, workspace)
    outcome = flow.redrive(app, entry.key)
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
    flow.redrive(App(settings, app.ledger, app.datastores, app.pipelines), entry.key)
    [run] = runs(workspace)
    assert run["version"] == "0"


def test_two_operators_at_once_start_one_attempt(app: App, workspace: LocalWorkspace) -> None:
    """One of them is told who was first."""
    entry = refused(app, workspace)

    def redrive(_: int) -> Outcome | RetrainError:
        try:
            return flow.redrive(app, entry.key)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(redrive, range(4)))
    assert len(runs(workspace)) == 1
    assert sum(isinstance(result, Outcome) for result in results) == 1
    assert all("redriven already" in str(result) for result in results if isinstance(result, ConflictError))


@pytest.mark.parametrize("ended", [False, True])
def test_live_or_finished_run_is_redriven_by_force_only(app: App, workspace: LocalWorkspace, ended: bool) -> None:
    """Another attempt could train twice; who means that says so."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    [outcome] = flow.arrive(app, "training", PATH, Source.BLOB_SCAN)
    assert outcome.entry is not None
    if ended:
        workspace.control("POST", f"runs/{outcome.entry.run_id}/status", {"status": "Finished"})
        flow.tick(app)
    with pytest.raises(ConflictError, match="force"):
        flow.redrive(app, outcome.entry.key)
    assert len(runs(workspace)) == 1
    again = flow.redrive(app, outcome.entry.key, force=True)
    assert again.entry is not None
    assert again.entry.attempt == 2
    assert len(runs(workspace)) == 2


def test_forced_redrive_of_an_uncertain_request_ends_the_first(app: App, workspace: LocalWorkspace) -> None:
    """Nobody sends the first one again after the operator has decided."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "drop"}])
    [outcome] = flow.arrive(app, "training", PATH, Source.BLOB_SCAN)
    assert outcome.entry is not None
    with pytest.raises(ConflictError, match="is uncertain"):
        flow.redrive(app, outcome.entry.key)
    flow.redrive(app, outcome.entry.key, force=True)
    row = app.ledger.get(outcome.entry.key, ["income-files"])
    assert row is not None
    assert row.entry.state == State.HELD
    assert len(runs(workspace)) == 1


def test_blob_that_was_overwritten_since_is_not_redriven(app: App, workspace: LocalWorkspace) -> None:
    """The new version is an arrival of its own; the old one is gone."""
    entry = refused(app, workspace)
    workspace.upload(PATH, "a\n2\n")
    with pytest.raises(ConflictError, match="overwritten"):
        flow.redrive(app, entry.key)


def test_blob_that_was_deleted_since_is_not_redriven(app: App, workspace: LocalWorkspace) -> None:
    """It says which blob is missing where."""
    entry = refused(app, workspace)
    app.datastores["training"].container.delete_blob(PATH)
    with pytest.raises(NotFoundError, match="no blob 'income/us/a"):
        flow.redrive(app, entry.key)


def test_entry_of_a_rule_that_is_gone_is_shown_and_not_redriven(app: App, workspace: LocalWorkspace) -> None:
    """Its history is still there; to act on it again the rule has to be put back."""
    entry = refused(app, workspace)
    rule = msgspec.structs.replace(app.settings.rules[0], name="renamed")
    renamed = App(msgspec.structs.replace(app.settings, rules=(rule,)), app.ledger, app.datastores, app.pipelines)
    assert [shown.key for shown in renamed.history(10)] == [entry.key]
    assert [shown.key for shown in renamed.history(10, "income-files")] == [entry.key]
    with pytest.raises(NotFoundError, match="no rule 'income-files' any more"):
        flow.redrive(renamed, entry.key)


@pytest.mark.parametrize("key", ["nonsense", "20261101T120000Z-" + "0" * 32])
def test_key_that_does_not_exist(app: App, key: str) -> None:
    """Nothing is started."""
    with pytest.raises(NotFoundError, match="no retrain request"):
        flow.redrive(app, key)
