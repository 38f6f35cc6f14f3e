"""Folders: when one is complete, what its run is started on, and what comes in between. The clock is moved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared import flow
from shared.arrival import Source
from shared.errors import ConflictError
from shared.ledger import Folder, State
from shared.outcome import Outcome
from shared.rules import Settle
from shared.settling import GiveUp, NotYet, Ready, manifest_names, readiness
from shared.wiring import App
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import arrival

AT = samples.WRITTEN
FOLDER = Folder(datastore="training", folder="income/us", first_at=AT, last_at=AT)
FILES = [arrival("income/us/a.csv", size=10), arrival("income/us/b.csv", size=20)]
NAMES = {file.path for file in FILES}


def settle(**values: Any) -> Settle:
    """Return a settle table as retrain.toml would have it."""
    return Settle(**values)


def after(seconds: float) -> datetime:
    """Return a time so long after the folder's last file."""
    return AT + timedelta(seconds=seconds)


@pytest.mark.parametrize(("seconds", "kind"), [(59, NotYet), (60, Ready)])
def test_quiet_period(seconds: int, kind: type) -> None:
    """Complete when nothing came for that long."""
    assert isinstance(readiness(settle(quiet="1m"), FOLDER, NAMES, FILES, None, after(seconds)), kind)


def test_quiet_period_by_the_storages_clock_too() -> None:
    """A file whose announcement is still on its way is in the listing, and is new."""
    late = [*FILES, arrival("income/us/c.csv", last_modified=after(50))]
    verdict = readiness(settle(quiet="1m"), FOLDER, NAMES, late, None, after(61))
    assert verdict == NotYet(missing="60 s of quiet")


def test_marker_completes_at_once() -> None:
    """Without a quiet period nothing is waited for."""
    rule = settle(marker="_SUCCESS")
    assert isinstance(readiness(rule, FOLDER, NAMES, FILES, None, after(0)), NotYet)
    assert readiness(rule, FOLDER, NAMES | {"income/us/_SUCCESS"}, FILES, None, after(0)) == Ready()


def test_marker_and_quiet_period_are_both_waited_for() -> None:
    """Each is named while it is missing."""
    rule = settle(marker="_SUCCESS", quiet="1m")
    assert readiness(rule, FOLDER, NAMES, FILES, None, after(0)) == NotYet(
        missing="the marker '_SUCCESS', 60 s of quiet"
    )
    names = NAMES | {"income/us/_SUCCESS"}
    assert isinstance(readiness(rule, FOLDER, names, FILES, None, after(1)), NotYet)
    assert readiness(rule, FOLDER, names, FILES, None, after(60)) == Ready()


@pytest.mark.parametrize(
    ("values", "missing"),
    [({"min_files": 3}, "3 files (there are 2)"), ({"min_bytes": 31}, "31 bytes (there are 30)")],
)
def test_too_little_to_train_on(values: dict[str, Any], missing: str) -> None:
    """Quiet alone is not enough then."""
    verdict = readiness(settle(quiet="1s", **values), FOLDER, NAMES, FILES, None, after(60))
    assert verdict == NotYet(missing=missing)


def test_manifest_lists_what_must_be_there() -> None:
    """Not there, not all of it there, all of it there."""
    rule = settle(manifest="files.txt")
    assert readiness(rule, FOLDER, NAMES, FILES, None, after(0)) == NotYet(missing="the manifest 'files.txt'")
    assert readiness(rule, FOLDER, NAMES, FILES, ["a.csv", "z.csv"], after(0)) == NotYet(
        missing="1 files of the manifest, such as 'income/us/z.csv'"
    )
    assert readiness(rule, FOLDER, NAMES, FILES, ["a.csv", "b.csv"], after(0)) == Ready()


@pytest.mark.parametrize("content", [b"a.csv\n\nb c.csv\n", b'{"path": "a.csv", "size": 3}\n{"path": "b c.csv"}'])
def test_manifest_as_lines_or_as_json_lines(content: bytes) -> None:
    """One name a line."""
    assert manifest_names(content) == ["a.csv", "b c.csv"]


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff"])
def test_manifest_that_makes_no_sense(content: bytes) -> None:
    """The line is named."""
    with pytest.raises(ValueError, match=r"line 1|utf-8"):
        manifest_names(content)


@pytest.mark.parametrize(("on_max_wait", "kind"), [("start", Ready), ("give_up", GiveUp)])
def test_end_of_waiting(on_max_wait: str, kind: type) -> None:
    """Then it starts anyway, or gives up; what was missing is said either way."""
    rule = settle(marker="_SUCCESS", max_wait="2h", on_max_wait=on_max_wait)
    assert isinstance(readiness(rule, FOLDER, NAMES, FILES, None, after(7199)), NotYet)
    assert readiness(rule, FOLDER, NAMES, FILES, None, after(7200)) == kind(missing="the marker '_SUCCESS'")


# Over Azurite and the local workspace.


@pytest.fixture
def folders(app: App, empty_container: None) -> App:
    """The app with a rule that takes folders after a minute of quiet."""
    return with_settle(app, quiet="1m")


def with_settle(app: App, **values: Any) -> App:
    """Return the app with a rule for folders that settle in this way."""
    data_path = msgspec.structs.replace(samples.RULE.data_path, grain=values.pop("grain", "folder"))
    rule = msgspec.structs.replace(samples.RULE, data_path=data_path, settle=settle(**values))
    made = App(msgspec.structs.replace(app.settings, rules=(rule,)), app.ledger, app.datastores, app.pipelines)
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
        outcomes = flow.arrive(app, "training", name, Source.BLOB_EVENT)
    return outcomes


def paths(workspace: LocalWorkspace) -> list[str]:
    """Return the data paths of the runs that were accepted."""
    runs = workspace.control("GET", "runs")
    return [run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] for run in runs]


def test_folder_becomes_one_run_when_it_is_quiet(folders: App, workspace: LocalWorkspace) -> None:
    """However many files; its path is the data path, and nothing is settling then."""
    put(folders, workspace, *(f"income/us/{number}.csv" for number in range(20)))
    flow.tick(folders)
    assert paths(workspace) == []
    later(folders, 61)
    flow.tick(folders)
    flow.tick(folders)
    assert paths(workspace) == ["income/us"]
    assert folders.ledger.folders("income-files") == []


def test_each_folder_is_a_run_of_its_own(folders: App, workspace: LocalWorkspace) -> None:
    """They settle independently of each other."""
    put(folders, workspace, "income/us/a.csv", "income/de/a.csv")
    later(folders, 61)
    flow.tick(folders)
    assert sorted(paths(workspace)) == ["income/de", "income/us"]


def test_folder_written_in_two_halves_makes_two_runs(folders: App, workspace: LocalWorkspace) -> None:
    """With a longer pause between them; the second run sees all files."""
    put(folders, workspace, "income/us/a.csv")
    later(folders, 61)
    flow.tick(folders)
    put(folders, workspace, "income/us/b.csv")
    flow.tick(folders)
    assert len(paths(workspace)) == 1
    later(folders, 130)
    flow.tick(folders)
    assert paths(workspace) == ["income/us", "income/us"]


def test_unchanged_folder_never_trains_twice(folders: App, workspace: LocalWorkspace) -> None:
    """Announced again, it settles again, and has its run."""
    put(folders, workspace, "income/us/a.csv")
    later(folders, 61)
    flow.tick(folders)
    flow.arrive(folders, "training", "income/us/a.csv", Source.BLOB_SCAN)
    later(folders, 200)
    flow.tick(folders)
    assert len(paths(workspace)) == 1
    assert folders.ledger.folders("income-files") == []


def test_file_that_comes_while_the_folder_is_started_on_is_in_the_next_run(
    folders: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to this run or to the next, never to none."""
    put(folders, workspace, "income/us/a.csv")
    later(folders, 61)
    start = flow.start

    def meanwhile(app: App, request: Any) -> Outcome:
        put(folders, workspace, "income/us/late.csv")
        return start(app, request)

    with monkeypatch.context() as patch:
        patch.setattr(flow, "start", meanwhile)
        flow.tick(folders)
    assert len(paths(workspace)) == 1
    assert len(folders.ledger.folders("income-files")) == 1
    later(folders, 200)
    flow.tick(folders)
    assert len(paths(workspace)) == 2


def test_marker_starts_the_folder_without_the_timer(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """An empty marker is a marker; the data is what lies beside it."""
    marked = with_settle(app, marker="_SUCCESS")
    put(marked, workspace, "income/fr/a.csv")
    workspace.upload("income/fr/_SUCCESS", "")
    [outcome] = flow.arrive(marked, "training", "income/fr/_SUCCESS", Source.BLOB_EVENT)
    assert outcome.entry is not None
    assert outcome.entry.state == State.SUBMITTED
    assert paths(workspace) == ["income/fr"]


def test_folder_that_is_given_up_says_so(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """A dead row with what was missing; an operator may redrive it."""
    marked = with_settle(app, marker="_SUCCESS", max_wait="1h", on_max_wait="give_up")
    put(marked, workspace, "income/it/a.csv")
    later(marked, 3601)
    flow.tick(marked)
    [entry] = [entry for entry in marked.ledger.history("income-files", 9) if entry.state == State.DEAD]
    assert "the marker '_SUCCESS'" in entry.reason
    assert paths(workspace) == []
    outcome = flow.redrive(marked, entry.key)
    assert outcome.entry is not None
    assert outcome.entry.state == State.SUBMITTED
    assert paths(workspace) == ["income/it"]


def test_folder_that_was_missed_is_found(folders: App, workspace: LocalWorkspace) -> None:
    """The search notes it, with the time of its files: it need not be quiet once more."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    later(folders, 300)
    flow.tick(folders)
    flow.tick(folders)
    assert paths(workspace) == ["income/us"]


def test_folder_that_was_emptied_starts_nothing(folders: App, workspace: LocalWorkspace) -> None:
    """Skipped, and forgotten."""
    put(folders, workspace, "income/us/a.csv")
    folders.datastores["training"].container.delete_blob("income/us/a.csv")
    later(folders, 61)
    flow.tick(folders)
    assert paths(workspace) == []
    assert folders.ledger.folders("income-files") == []


def test_manifest_is_read_and_waited_for(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """The one blob that the app reads."""
    listed = with_settle(app, manifest="files.txt")
    put(listed, workspace, "income/es/a.csv")
    workspace.upload("income/es/files.txt", "a.csv\nb.csv\n")
    flow.tick(listed)
    assert paths(workspace) == []
    put(listed, workspace, "income/es/b.csv")
    flow.tick(listed)
    assert paths(workspace) == ["income/es"]


def test_list_of_the_files_is_handed_over(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """Grain `manifest`: exactly the files that were there, as JSON lines; nobody trains on the list."""
    listing = with_settle(app, quiet="1m", grain="manifest")
    put(listing, workspace, "income/us/a.csv", "income/us/b.csv")
    later(listing, 61)
    flow.tick(listing)
    [path] = paths(workspace)
    assert path.startswith("_retrain/income-files/")
    container = listing.datastores["training"].container
    lines = [msgspec.json.decode(line) for line in container.download_blob(path).readall().splitlines()]
    assert [(line["path"], line["size"]) for line in lines] == [("income/us/a.csv", 4), ("income/us/b.csv", 4)]
    [outcome] = flow.arrive(listing, "training", path, Source.BLOB_EVENT)
    assert outcome.skip is not None
    put(listing, workspace, "income/us/a.csv", content="a\n2\n")
    later(listing, 200)
    flow.tick(listing)
    assert len(set(paths(workspace))) == 2


def test_redriven_folder_is_the_same_data(app: App, empty_container: None, workspace: LocalWorkspace) -> None:
    """A folder that has changed since is another arrival; an unchanged one is sent again, with its list."""
    listing = with_settle(app, quiet="1m", grain="manifest")
    put(listing, workspace, "income/us/a.csv")
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 403}])
    later(listing, 61)
    flow.tick(listing)
    [entry] = listing.ledger.history("income-files", 9)
    assert entry.state == State.REFUSED
    outcome = flow.redrive(listing, entry.key)
    assert outcome.entry is not None
    assert (outcome.entry.state, outcome.entry.data_path) == (State.SUBMITTED, entry.data_path)
    put(listing, workspace, "income/us/b.csv")
    with pytest.raises(ConflictError, match="overwritten"):
        flow.redrive(listing, outcome.entry.key, force=True)
