"""Folders: what a complete one starts, and what comes in between. The clock is moved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App
from shared.errors import ConflictError
from shared.flow import enter
from shared.flow.arrive import arrive as deliver
from shared.flow.outcome import Outcome
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.ledger.folders import gathering
from shared.operate.redrive import redrive
from shared.rules.arrival import Source
from shared.rules.rule import Settle
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

# Over Azurite and the local workspace.


@pytest.fixture
def folders(app: App, empty_container: None) -> App:
    """The app with a rule that takes folders after a minute of quiet."""
    return with_settle(app, quiet="1m")


def with_settle(app: App, **values: Any) -> App:
    """Return the app with a rule for folders that settle in this way."""
    data_path = msgspec.structs.replace(samples.RULE.data_path, grain=values.pop("grain", "folder"))
    rule = msgspec.structs.replace(samples.RULE, data_path=data_path, settle=Settle(**values))
    made = App(msgspec.structs.replace(app.settings, rules=(rule,)), app.ledger, app.datastores, app.endpoints)
    made.prepare()
    return made


def later(app: App, seconds: float) -> None:
    """Move the app's clock."""
    app.ledger.now = lambda: datetime.now(UTC) + timedelta(seconds=seconds)


def put(app: App, workspace: LocalWorkspace, *names: str, content: str = "a\n1\n") -> list[Outcome]:
    """Upload files and let them arrive; return what became of the last."""
    outcomes = list[Outcome]()
    for name in names:
        workspace.upload(name, content)
        outcomes = deliver(app, "training", name, Source.BLOB_EVENT)
    return outcomes


def paths(workspace: LocalWorkspace) -> list[str]:
    """Return the data paths of the runs that were accepted."""
    runs = workspace.control("GET", "runs")
    return [run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] for run in runs]


def test_folder_becomes_one_run_when_it_is_quiet(folders: App, workspace: LocalWorkspace) -> None:
    """However many files; its path is the data path, and nothing is settling then."""
    put(folders, workspace, *(f"income/us/{number}.csv" for number in range(20)))
    tick(folders)
    assert paths(workspace) == []
    later(folders, 61)
    tick(folders)
    tick(folders)
    assert paths(workspace) == ["income/us"]
    assert gathering(folders.ledger, "income-files") == []


def test_each_folder_is_a_run_of_its_own(folders: App, workspace: LocalWorkspace) -> None:
    """They settle independently of each other."""
    put(folders, workspace, "income/us/a.csv", "income/de/a.csv")
    later(folders, 61)
    tick(folders)
    assert sorted(paths(workspace)) == ["income/de", "income/us"]


def test_folder_written_in_two_halves_makes_two_runs(folders: App, workspace: LocalWorkspace) -> None:
    """With a longer pause between them; the second run sees all files."""
    put(folders, workspace, "income/us/a.csv")
    later(folders, 61)
    tick(folders)
    put(folders, workspace, "income/us/b.csv")
    tick(folders)
    assert len(paths(workspace)) == 1
    later(folders, 130)
    tick(folders)
    assert paths(workspace) == ["income/us", "income/us"]


def test_unchanged_folder_never_trains_twice(folders: App, workspace: LocalWorkspace) -> None:
    """Announced again, it settles again, and has its run."""
    put(folders, workspace, "income/us/a.csv")
    later(folders, 61)
    tick(folders)
    deliver(folders, "training", "income/us/a.csv", Source.BLOB_SCAN)
    later(folders, 200)
    tick(folders)
    assert len(paths(workspace)) == 1
    assert gathering(folders.ledger, "income-files") == []


def test_file_that_comes_while_the_folder_is_started_on_is_in_the_next_run(
    folders: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to this run or to the next, never to none."""
    put(folders, workspace, "income/us/a.csv")
    later(folders, 61)
    queued = enter.queued

    def meanwhile(app: App, request: Any) -> Outcome:
        put(folders, workspace, "income/us/late.csv")
        return queued(app, request)

    with monkeypatch.context() as patch:
        patch.setattr(enter, "queued", meanwhile)
        tick(folders)
    assert len(paths(workspace)) == 1
    assert len(gathering(folders.ledger, "income-files")) == 1
    later(folders, 200)
    tick(folders)
    assert len(paths(workspace)) == 2


def test_marker_starts_the_folder_without_the_timer(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """An empty marker is a marker; the data is what lies beside it."""
    marked = with_settle(app, marker="_SUCCESS")
    put(marked, workspace, "income/fr/a.csv")
    workspace.upload("income/fr/_SUCCESS", "")
    [outcome] = deliver(marked, "training", "income/fr/_SUCCESS", Source.BLOB_EVENT)
    assert outcome.entry is not None
    assert outcome.entry.state == State.SUBMITTED
    assert paths(workspace) == ["income/fr"]


def test_folder_that_is_given_up_says_so(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """A dead row with what was missing; an operator may redrive it."""
    marked = with_settle(app, marker="_SUCCESS", max_wait="1h", on_max_wait="give_up")
    put(marked, workspace, "income/it/a.csv")
    later(marked, 3601)
    tick(marked)
    [entry] = [entry for entry in marked.ledger.history("income-files", 9) if entry.state == State.DEAD]
    assert "the marker '_SUCCESS'" in entry.reason
    assert paths(workspace) == []
    outcome = redrive(marked, entry.key)
    assert outcome.entry is not None
    assert outcome.entry.state == State.SUBMITTED
    assert paths(workspace) == ["income/it"]


def test_folder_that_was_missed_is_found(folders: App, workspace: LocalWorkspace) -> None:
    """The search notes it, with the time of its files: it need not be quiet once more."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    later(folders, 300)
    tick(folders)
    tick(folders)
    assert paths(workspace) == ["income/us"]


def test_folder_that_was_emptied_starts_nothing(folders: App, workspace: LocalWorkspace) -> None:
    """Skipped, and forgotten."""
    put(folders, workspace, "income/us/a.csv")
    folders.datastores["training"].container.delete_blob("income/us/a.csv")
    later(folders, 61)
    tick(folders)
    assert paths(workspace) == []
    assert gathering(folders.ledger, "income-files") == []


def test_manifest_is_read_and_waited_for(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """The one blob that the app reads."""
    listed = with_settle(app, manifest="files.txt")
    put(listed, workspace, "income/es/a.csv")
    workspace.upload("income/es/files.txt", "a.csv\nb.csv\n")
    tick(listed)
    assert paths(workspace) == []
    put(listed, workspace, "income/es/b.csv")
    tick(listed)
    assert paths(workspace) == ["income/es"]


def test_list_of_the_files_is_handed_over(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """Grain `manifest`: exactly the files that were there, as JSON lines; nobody trains on the list."""
    listing = with_settle(app, quiet="1m", grain="manifest")
    put(listing, workspace, "income/us/a.csv", "income/us/b.csv")
    later(listing, 61)
    tick(listing)
    [path] = paths(workspace)
    assert path.startswith("_retrain/income-files/")
    container = listing.datastores["training"].container
    lines = [msgspec.json.decode(line) for line in container.download_blob(path).readall().splitlines()]
    assert [(line["path"], line["size"]) for line in lines] == [("income/us/a.csv", 4), ("income/us/b.csv", 4)]
    [outcome] = deliver(listing, "training", path, Source.BLOB_EVENT)
    assert outcome.skip is not None
    put(listing, workspace, "income/us/a.csv", content="a\n2\n")
    later(listing, 200)
    tick(listing)
    assert len(set(paths(workspace))) == 2


def test_redriven_folder_is_the_same_data(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """A folder that has changed since is another arrival; an unchanged one is sent again, with its list."""
    listing = with_settle(app, quiet="1m", grain="manifest")
    put(listing, workspace, "income/us/a.csv")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 400}])
    later(listing, 61)
    tick(listing)
    [entry] = listing.ledger.history("income-files", 9)
    assert entry.state == State.REFUSED
    outcome = redrive(listing, entry.key)
    assert outcome.entry is not None
    assert (outcome.entry.state, outcome.entry.data_path) == (State.SUBMITTED, entry.data_path)
    put(listing, workspace, "income/us/b.csv")
    with pytest.raises(ConflictError, match="overwritten"):
        redrive(listing, outcome.entry.key, force=True)
