"""When is a folder complete? Each condition at its exact edge, and the one rule about markers."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.rules.arrival import Arrival
from shared.rules.complete import DATA_PAUSE, MARKER_QUIET, GiveUp, NotYet, Ready, earliest, readiness
from shared.rules.folder import Content
from shared.rules.rule import Rule, Settle
from tests import samples
from tests.samples import arrival

AT = samples.WRITTEN
FOLDER = "income/us"


def after(seconds: float) -> datetime:
    """Return a time so long after the folder's files were noticed."""
    return AT + timedelta(seconds=seconds)


def rule(**settle: Any) -> Rule:
    """Return a rule for folders that settle in this way."""
    case_sensitive = settle.pop("case_sensitive", True)
    data_path = msgspec.structs.replace(samples.RULE.data_path, grain="folder")
    return samples.changed(data_path=data_path, settle=Settle(**settle), case_sensitive=case_sensitive)


def content(made: Rule, *more: Arrival, files: int = 2) -> Content:
    """Return a folder with two files of 10 and 20 bytes, written at AT, and what else is in it."""
    found = Content(made, FOLDER)
    for number in range(files):
        found.add(arrival(f"{FOLDER}/{number}.csv", size=10 * (number + 1)))
    for one in more:
        found.add(one)
    return found


def marker(seconds: float = 0, etag: str = "m", name: str = "_SUCCESS") -> Arrival:
    """Return a marker that was written so long after the files."""
    return arrival(f"{FOLDER}/{name}", size=0, etag=etag, last_modified=after(seconds))


def verdict(made: Rule, found: Content, seconds: float, **more: Any) -> Ready | NotYet | GiveUp:
    """Return what is decided so long after the files came."""
    assert made.settle is not None
    return readiness(made.settle, found, first_at=AT, last_at=AT, now=after(seconds), **more)


@pytest.mark.parametrize(("seconds", "kind"), [(59.9, NotYet), (60, Ready)])
def test_quiet_exactly_over(seconds: float, kind: type) -> None:
    """Complete when nothing came for that long."""
    made = rule(quiet="1m")
    assert isinstance(verdict(made, content(made), seconds), kind)


def test_quiet_by_the_storages_clock_too() -> None:
    """A file whose announcement is still on its way is in the listing, and is new; it says when to look again."""
    made = rule(quiet="1m")
    late = content(made, arrival(f"{FOLDER}/late.csv", last_modified=after(50)))
    assert verdict(made, late, 61) == NotYet(missing="60 s of quiet", again_at=after(110))


@pytest.mark.parametrize(
    ("values", "least", "missing"),
    [
        ({"min_files": 2}, True, ""),
        ({"min_files": 3}, False, "3 files (there are 2)"),
        ({"min_bytes": 30}, True, ""),
        ({"min_bytes": 31}, False, "31 bytes (there are 30)"),
    ],
)
def test_too_little_to_train_on(values: dict[str, Any], least: bool, missing: str) -> None:
    """Exactly enough is enough; only a file can change what is missing, so no time is named."""
    made = rule(quiet="1s", **values)
    wanted = Ready() if least else NotYet(missing=missing, again_at=None)
    assert verdict(made, content(made), 60) == wanted


@pytest.mark.parametrize(("on_max_wait", "kind"), [("start", Ready), ("give_up", GiveUp)])
def test_max_wait_exactly_over(on_max_wait: str, kind: type) -> None:
    """Then it starts anyway, or gives up; what was missing is said either way, and before it when that will be."""
    made = rule(marker="_SUCCESS", max_wait="2h", on_max_wait=on_max_wait)
    missing = "the marker '_SUCCESS'"
    assert verdict(made, content(made), 7199.9) == NotYet(missing=missing, again_at=after(7200))
    assert verdict(made, content(made), 7200) == kind(missing=missing)


def test_max_wait_of_a_folder_without_data() -> None:
    """There is nothing to start on."""
    made = rule(quiet="1m", max_wait="2h")
    assert verdict(made, content(made, files=0), 7200) == GiveUp(missing="a file that is data")


# Markers


@pytest.mark.parametrize("seconds", [0, 1])
def test_marker_that_is_as_new_as_the_data_completes_at_once(seconds: float) -> None:
    """The same second counts: dates have whole ones."""
    made = rule(marker="_SUCCESS")
    assert verdict(made, content(made), 0) == NotYet(missing="the marker '_SUCCESS'", again_at=None)
    assert verdict(made, content(made, marker(seconds)), 1) == Ready()


@pytest.mark.parametrize("quiet", [None, "1m"])
def test_marker_that_is_older_than_the_data_completes_after_a_quiet_time(quiet: str | None) -> None:
    """The files were copied in any order; nobody else says that they are all there."""
    made = rule(marker="_SUCCESS", quiet=quiet)
    pause = timedelta(minutes=1) if quiet else MARKER_QUIET
    found = content(made, marker(-10))
    early = verdict(made, found, pause.total_seconds() - 0.1)
    assert isinstance(early, NotYet)
    assert early.again_at == AT + pause
    assert "older than the newest data" in early.missing
    assert verdict(made, found, pause.total_seconds()) == Ready()


@pytest.mark.parametrize(
    ("data_at", "marker_at", "last_at", "ready_at"), [(10, 5, 0, 310), (10, 5, 20, 320), (10, 5, 10, 310)]
)
def test_quiet_time_of_an_older_marker_begins_with_the_latest_news(
    data_at: float, marker_at: float, last_at: float, ready_at: float
) -> None:
    """The newest data, or a file that was noticed later, whichever is last; exactly five minutes from there."""
    made = rule(marker="_SUCCESS")
    assert made.settle is not None
    found = content(made, arrival(f"{FOLDER}/late.csv", last_modified=after(data_at)), marker(marker_at))
    last = after(last_at)
    early = readiness(made.settle, found, first_at=AT, last_at=last, now=after(ready_at - 1))
    assert isinstance(early, NotYet)
    assert early.again_at == after(ready_at)
    assert readiness(made.settle, found, first_at=AT, last_at=last, now=after(ready_at)) == Ready()


def test_marker_completes_one_content() -> None:
    """The one that has completed the run before says nothing of what came since; a newer one does."""
    made = rule(marker="_SUCCESS")
    used = content(made, marker(-10, "used"))
    waits = verdict(made, used, 86_400, completed_by="used")
    assert isinstance(waits, NotYet)
    assert waits.missing.startswith("a newer marker '_SUCCESS'")
    assert waits.again_at is None
    assert verdict(made, content(made, marker(10, "new")), 10, completed_by="used") == Ready()


def test_marker_and_quiet_are_both_waited_for() -> None:
    """Each is named while it is missing."""
    made = rule(marker="_SUCCESS", quiet="1m")
    assert verdict(made, content(made), 0) == NotYet(missing="the marker '_SUCCESS', 60 s of quiet", again_at=None)
    found = content(made, marker(1))
    assert verdict(made, found, 59.9) == NotYet(missing="60 s of quiet", again_at=after(60))
    assert verdict(made, found, 60) == Ready()


@pytest.mark.parametrize(("case_sensitive", "kind"), [(True, NotYet), (False, Ready)])
def test_case_of_a_marker(case_sensitive: bool, kind: type) -> None:
    """It counts where the rule says so, when it is noticed and when it is waited for."""
    made = rule(marker="_SUCCESS", case_sensitive=case_sensitive)
    assert isinstance(verdict(made, content(made, marker(1, name="_success")), 5), kind)


def test_marker_alone() -> None:
    """Copied first: the data is waited for."""
    made = rule(marker="_SUCCESS")
    assert verdict(made, content(made, marker(), files=0), 0) == NotYet(missing="a file that is data", again_at=None)


def test_marker_in_a_folder_below() -> None:
    """It says nothing of this one."""
    made = rule(marker="_SUCCESS")
    below = arrival(f"{FOLDER}/below/_SUCCESS", size=0, last_modified=after(1))
    assert isinstance(verdict(made, content(made, below), 5), NotYet)


# Manifests


def test_manifest_lists_what_must_be_there() -> None:
    """Not there, not readable, not all of it there, all of it there."""
    made = rule(manifest="files.txt")
    listing = arrival(f"{FOLDER}/files.txt")
    assert verdict(made, content(made), 0) == NotYet(missing="the manifest 'files.txt'", again_at=None)
    found = content(made, listing)
    unreadable = verdict(made, found, 0, unreadable="line 3: null is no name")
    assert unreadable == NotYet(missing="the manifest 'files.txt' (line 3: null is no name)", again_at=None)
    absent = verdict(made, found, 0, listed=[f"{FOLDER}/0.csv", f"{FOLDER}/z.csv"])
    assert absent == NotYet(missing=f"1 file of the manifest, '{FOLDER}/z.csv'", again_at=None)
    assert verdict(made, found, 0, listed=[f"{FOLDER}/0.csv", f"{FOLDER}/1.csv"]) == Ready()


def test_copy_that_is_under_way() -> None:
    """A file that is no data yet is waited for by its name, and looked at again even if nobody tells."""
    made = rule(quiet="1s")
    found = content(made, arrival(f"{FOLDER}/c.csv", pending=True))
    waits = verdict(made, found, 60)
    assert isinstance(waits, NotYet)
    assert waits.missing == f"'{FOLDER}/c.csv' as data (a copy into it is under way)"
    assert waits.again_at == after(60) + DATA_PAUSE


def test_time_to_look_again_is_when_all_that_is_missing_may_be_over() -> None:
    """The latest of several; the end of waiting where that comes first, or where only a file could help."""
    copied = arrival(f"{FOLDER}/c.csv", pending=True)
    quiet, waited = rule(quiet="10m"), rule(quiet="10m", max_wait="11m")
    for made, pending, seconds, again_at in (
        (quiet, True, 0, 600),
        (quiet, True, 400, 700),
        (waited, True, 400, 660),
        (rule(quiet="10m", min_files=3), False, 0, None),
        (rule(quiet="10m", min_files=3, max_wait="11m"), False, 0, 660),
    ):
        found = verdict(made, content(made, *([copied] if pending else [])), seconds)
        assert isinstance(found, NotYet)
        assert found.again_at == (after(again_at) if again_at else None)


# Without a look


@pytest.mark.parametrize(
    ("settle", "seconds", "look_at"),
    [
        ({"marker": "_SUCCESS"}, 0, None),
        ({"quiet": "1m"}, 59.9, 60),
        ({"quiet": "1m"}, 60, None),
        ({"quiet": "1m"}, 3600, None),
        ({"quiet": "1m", "max_wait": "1m"}, 59.9, 60),
        ({"quiet": "1h", "max_wait": "2h"}, 0, 3600),
    ],
)
def test_when_to_look_first(settle: dict[str, Any], seconds: float, look_at: float | None) -> None:
    """Not while it surely is not quiet; but when it has been waited for as long as the rule allows."""
    made = Settle(**settle)
    assert earliest(made, AT, AT, after(seconds)) == (after(look_at) if look_at else None)


def test_steady_writing_is_looked_at_when_max_wait_is_over() -> None:
    """However new the latest file is."""
    made = Settle(quiet="1h", max_wait="2h")
    assert earliest(made, AT, after(7100), after(7199)) == after(7200)
    assert earliest(made, AT, after(7199), after(7200)) is None


def test_max_wait_long_over_with_one_file() -> None:
    """What is looked at late starts as well; one file is enough."""
    made = rule(marker="_SUCCESS", max_wait="2h")
    assert isinstance(verdict(made, content(made, files=1), 9000), Ready)


def test_several_files_of_the_manifest_are_absent() -> None:
    """How many, and the first by name."""
    made = rule(manifest="files.txt")
    found = content(made, arrival(f"{FOLDER}/files.txt"))
    absent = verdict(made, found, 0, listed=[f"{FOLDER}/z.csv", f"{FOLDER}/y.csv", f"{FOLDER}/0.csv"])
    assert absent == NotYet(missing=f"2 files of the manifest, such as '{FOLDER}/y.csv'", again_at=None)
