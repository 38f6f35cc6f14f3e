"""What is in a folder, and the request that it makes."""

import hashlib
import itertools
import tracemalloc
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules.arrival import Arrival, Source
from shared.rules.decision import DataPath, RetrainRequest, Skip, again
from shared.rules.folder import Content, folder_request
from shared.rules.rule import DataPathParameter, Rule, Settle
from shared.rules.take import announced, folder_of, member, taken
from tests.samples import DAY, FOLDERS, WRITTEN, arrival, changed


def part(number: int, **changes: Any) -> Arrival:
    """Return a part of the folder, of a fixed version."""
    return arrival(f"{DAY}/part-{number}.csv", **{"etag": f"e{number}", "size": 10, "metadata": {}, **changes})


LISTING = [
    part(2, last_modified=WRITTEN + timedelta(seconds=5)),
    part(1),
    arrival(f"{DAY}/_SUCCESS", size=0, last_modified=WRITTEN + timedelta(hours=1)),
    arrival(f"{DAY}/files.json", last_modified=WRITTEN + timedelta(hours=1)),
    arrival(f"{DAY}/_part-3.csv"),
    arrival(f"{DAY}/part-x.csv"),
    arrival(f"{DAY}/part-9.csv", size=0),
    arrival(f"{DAY}/part-8.csv", is_folder=True),
    arrival(f"{DAY}0/part-1.csv"),
    arrival(f"{DAY}/part-4.csv", datastore="other"),
]


def content(listing: list[Arrival], rule: Rule = FOLDERS, folder: str = DAY) -> Content:
    """Return the folder's content, fed with a listing."""
    made = Content(rule, folder)
    for item in listing:
        made.add(item)
    return made


def made_of(listing: list[Arrival], rule: Rule = FOLDERS, folder: str = DAY) -> RetrainRequest:
    """Return the request that the folder makes."""
    made = folder_request(rule, folder, "training", Source.BLOB_EVENT, content(listing, rule, folder))
    assert isinstance(made, RetrainRequest), made
    return made


def test_only_what_the_rule_takes_is_data() -> None:
    """No marker, nothing ignored, no empty blob, no stub, nothing of another folder or datastore."""
    assert [item.path for item in LISTING if member(FOLDERS, DAY, item) is not None] == [
        f"{DAY}/part-2.csv",
        f"{DAY}/part-1.csv",
    ]
    found = content(LISTING)
    assert (found.files, found.size, found.newest) == (2, 20, WRITTEN + timedelta(seconds=5))
    assert (found.marker, found.manifest, found.not_yet) == (LISTING[2], LISTING[3], None)
    empty = content([])
    assert (empty.files, empty.size, empty.newest, empty.marker, empty.manifest) == (0, 0, None, None, None)


def test_complete_folder_is_requested_by_its_content() -> None:
    """The key has the time of the newest file; the marker's own version, and the order of the listing, do not count."""
    made = made_of(LISTING)
    assert made.data_path == DataPath(datastore="training", path=DAY, parameter="input_data")
    assert made.parameters == {"country": "us", "day": "20260131", "files": "2", "size": "20", "of": "2026-01-31"}
    assert made.key.startswith("20261101T120005Z-")
    assert (made.arrival.path, made.arrival.size, made.arrival.is_folder) == (DAY, 20, True)
    assert made.arrival.source == Source.BLOB_EVENT
    assert again(made, 1) == made
    assert made_of(LISTING[::-1]) == made == made_of(LISTING[:2])


@pytest.mark.parametrize("listing", [[], LISTING[2:]])
def test_folder_without_data_makes_no_request(listing: list[Arrival]) -> None:
    """Emptied, or with nothing but its marker."""
    skip = folder_request(FOLDERS, DAY, "training", Source.SEARCH, content(listing))
    assert skip == Skip(rule="folders", reason=f"nothing in {DAY!r} is data to the rule")


@pytest.mark.parametrize("change", [part(2, etag="new"), part(3)])
def test_other_content_is_another_request(change: Arrival) -> None:
    """A file that was replaced or added later."""
    assert made_of(LISTING[:2]).key != made_of([change, LISTING[1]]).key


def test_text_that_the_service_does_not_take_is_a_skip() -> None:
    """As it is for a file, with its reason."""
    rule = msgspec.structs.replace(FOLDERS, experiment="no {country}")
    skip = folder_request(rule, DAY, "training", Source.SEARCH, content(LISTING, rule))
    assert isinstance(skip, Skip)
    assert "experiment: 'no us' is no name for an experiment" in skip.reason


# What the version before made of `in/us` with these three blobs.
OLD = [
    arrival('in/us/b"\\.csv', etag="e2", size=20, last_modified=WRITTEN + timedelta(seconds=5)),
    arrival("in/us/ü.csv", etag="e1", size=10),
    arrival("in/us/_SUCCESS", size=0),
]
OLD_KEY = "20261101T120005Z-e85320f32d069944a77c47082b1610da"


@pytest.mark.parametrize(("grain", "data_path"), [("folder", "in/us"), ("manifest", f"_retrain/days/{OLD_KEY}.jsonl")])
def test_keys_of_folders_are_those_of_the_version_before(grain: Any, data_path: str) -> None:
    """However the folder is handed over, also when it is started on once more."""
    rule = changed(
        name="days",
        path="in/{c}/*.csv",
        data_path=DataPathParameter(parameter="p", grain=grain),
        settle=Settle(marker="_SUCCESS"),
    )
    made = made_of(OLD, rule, "in/us")
    assert made.arrival.etag == "b71f7d8bd87efaff39195a7e70bb22b0ec25bf38becd209747c8c6ed01322acf"
    assert (made.key, made.data_path.path) == (OLD_KEY, data_path)
    assert again(made, 2).key == "20261101T120005Z-72451c7cdc24397bbb3ab6c65970d33b"
    assert again(made, 2).data_path == made.data_path


def test_list_that_is_handed_over() -> None:
    """The data by name, one JSON object on each line."""
    rule = changed(path="in/{c}/*.csv", data_path=DataPathParameter(parameter="p", grain="manifest"))
    assert content(OLD, rule, "in/us").lines().decode() == (
        '{"path":"in/us/b\\"\\\\.csv","size":20,"etag":"e2"}\n{"path":"in/us/ü.csv","size":10,"etag":"e1"}\n'
    )
    assert content([], rule, "in/us").lines() == b""


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1), unique=True)


@given(NAMES)
def test_compact_content_is_that_of_the_blobs_themselves(names: list[str]) -> None:
    """Names of any script, sorted by code point; the digest is that of the list of names and ETags."""
    rule = changed(path="in/{c}/*", data_path=DataPathParameter(parameter="p", grain="folder"))
    blobs = [arrival(f"in/us/{name}") for name in names]
    found = content(blobs, rule, "in/us")
    lines = [msgspec.json.decode(line) for line in found.lines().split(b"\n")[:-1]]
    assert [line["path"] for line in lines] == sorted(blob.path for blob in blobs)
    if blobs:
        expected = msgspec.json.encode(sorted((blob.path, blob.etag) for blob in blobs))
        assert found.digest() == hashlib.sha256(expected).hexdigest()


def test_captures_are_those_of_the_folder_whatever_comes_first() -> None:
    """The same blobs in any order make the same request, also where the case of names does not count."""
    rule = changed(
        path="In/{c}/*.csv",
        case_sensitive=False,
        data_path=DataPathParameter(parameter="p", grain="folder"),
        parameters={"c": "{c}"},
        settle=Settle(marker="_SUCCESS"),
    )
    blobs = [arrival("in/us/a.csv"), arrival("in/us/B.CSV"), arrival("in/us/_success", size=0)]
    requests = [made_of(list(order), rule, "in/us") for order in itertools.permutations(blobs)]
    assert all(one == requests[0] for one in requests)
    assert requests[0].parameters == {"c": "us"}


def test_marker_in_another_case() -> None:
    """Known as such where the case does not count; of several the newest."""
    rule = changed(
        path="in/{c}/*",
        case_sensitive=False,
        data_path=DataPathParameter(parameter="p", grain="folder"),
        settle=Settle(marker="_SUCCESS", manifest="files.txt"),
    )
    marker, newer = (arrival(f"in/us/{name}", size=0) for name in ("_success", "_Success"))
    newer = msgspec.structs.replace(newer, last_modified=WRITTEN + timedelta(seconds=1))
    for order in ([marker, newer], [newer, marker]):
        found = content([*order, arrival("in/us/FILES.TXT")], rule, "in/us")
        assert found.marker == newer
        assert found.manifest is not None
        assert found.files == 0


@pytest.mark.parametrize("name", ["sub/_SUCCESS", "_SUCCESS/a"])
def test_marker_lies_in_the_folder_itself(name: str) -> None:
    """One of a folder below is not this folder's."""
    rule = changed(
        path="in/**", data_path=DataPathParameter(parameter="p", grain="folder"), settle=Settle(marker="_SUCCESS")
    )
    assert content([arrival(f"in/us/{name}", size=0)], rule, "in/us").marker is None


def test_directory_called_like_the_marker_is_none() -> None:
    """Hierarchical accounts list directories, too."""
    assert content([arrival(f"{DAY}/_SUCCESS", size=0, is_folder=True)]).marker is None


def test_file_that_is_being_copied_is_no_data_yet() -> None:
    """Its name says that it will be: a copy's target is empty until it ends. Others' copies do not matter."""
    found = content([*LISTING, part(7, pending=True, size=0), part(6, pending=True), part(5, pending=True)])
    assert (found.files, found.size, found.not_yet) == (2, 20, (f"{DAY}/part-5.csv", "a copy into it is under way"))
    assert found.digest() == content(LISTING).digest()
    others = [arrival(f"{DAY}/_x", pending=True), arrival(f"{DAY}/_SUCCESS", pending=True, size=0)]
    assert (content(others).not_yet, content(others).marker) == (None, None)
    assert content([part(7, pending=True)]).absent([f"{DAY}/part-7.csv"]) == []


def test_what_is_absent() -> None:
    """By full name; whatever lies in the folder is there, also what is no data; each once and sorted."""
    names = [f"{DAY}/{name}" for name in ("z", "part-1.csv", "_part-3.csv", "_SUCCESS", "part-9.csv", "a", "z")]
    assert content(LISTING).absent(names) == [f"{DAY}/a", f"{DAY}/z"]
    assert content(LISTING).absent([f"{DAY}0/part-1.csv"]) == [f"{DAY}0/part-1.csv"]
    assert content(LISTING).absent([]) == []


def test_large_folder_takes_little_memory() -> None:
    """A hundred thousand files, as long as names are in practice."""
    found = Content(FOLDERS, DAY)
    item, number = part(1, size=10**9), 100_000
    tracemalloc.start()
    for count in range(number):
        found.count(msgspec.structs.replace(item, path=f"{DAY}/part-{count:05}-{'x' * 40}.snappy.csv"), {})
    found.digest()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.files == number
    assert taken < 20 * 2**20


@pytest.mark.parametrize("datastore", ["a", "zzz"])
def test_blob_of_another_datastore_is_no_member(datastore: str) -> None:
    """Whatever it is called."""
    there = arrival(f"{DAY}/part-1.csv", datastore=datastore)
    assert member(FOLDERS, DAY, there) is None


@pytest.mark.parametrize(
    ("path", "folder", "asked", "name"),
    [
        ("in/**/*.csv", None, "in/us", "in/us/2026/x.csv"),
        ("in/{c}/**/*.csv", "in/{c}", "in/us/2026", "in/us/2026/x.csv"),
    ],
)
def test_blob_of_a_folder_below_or_above_is_no_member(path: str, folder: str | None, asked: str, name: str) -> None:
    """Only the folder that the rule's words name is its own."""
    data_path = DataPathParameter(parameter="input_data", grain="folder", folder=folder)
    made = changed(path=path, data_path=data_path, settle=Settle(quiet="1m"))
    assert member(made, asked, arrival(name)) is None
    assert member(made, folder_of(made, name), arrival(name)) is not None


@pytest.mark.parametrize("case_sensitive", [True, False])
@pytest.mark.parametrize("last", ["AAA", "zzz", "_SUCCES", "_SUCCESS2"])
def test_name_near_the_markers_is_none(last: str, case_sensitive: bool) -> None:
    """Before and behind it in the alphabet."""
    made = changed(
        path="in/*/*",
        data_path=DataPathParameter(parameter="input_data", grain="folder"),
        settle=Settle(marker="_SUCCESS"),
        case_sensitive=case_sensitive,
    )
    assert announced(made, f"in/us/{last}") is None
    assert announced(made, "in/us/_SUCCESS") == ("_SUCCESS", {})


@pytest.mark.parametrize(("size", "takes"), [(99, False), (100, True), (150, True), (200, True), (201, False)])
def test_size_between_its_bounds(size: int, takes: bool) -> None:
    """Both bounds count as within."""
    made = changed(min_bytes=100, max_bytes=200)
    assert isinstance(taken(made, arrival(size=size, metadata={})), dict) is takes


# Exact edges


def by(identity: Any, **changes: Any) -> Rule:
    """Return a rule for folders that knows content by ETag or by hash."""
    data_path = DataPathParameter(parameter="input_data", grain="folder")
    values = {"path": "in/*/*.csv", "data_path": data_path, "settle": Settle(marker="m", manifest="l"), **changes}
    return changed(identity=identity, **values)


def request_of(made: Rule, *blobs: Arrival) -> RetrainRequest:
    """Return what a folder of these blobs starts."""
    found = Content(made, "in/us")
    for blob in blobs:
        found.add(blob)
    decision = folder_request(made, "in/us", "training", Source.SEARCH, found)
    assert isinstance(decision, RetrainRequest)
    return decision


@pytest.mark.parametrize(("identity", "same"), [("etag", False), ("content", True)])
def test_folder_whose_files_have_other_etags_and_the_same_hashes(identity: Any, same: bool) -> None:
    """By content it is the same folder; by ETag it has no identity beside its key, which is another one."""
    made = by(identity)
    one, two = (
        request_of(
            made, *(arrival(f"in/us/{name}.csv", etag=f"{name}{turn}", content_md5=f"aa{name}") for name in "ab")
        )
        for turn in "12"
    )
    assert one.arrival.etag != two.arrival.etag
    assert (one.content != "", one.content == two.content) == (same, True)
    other = request_of(made, arrival("in/us/a.csv", content_md5="bb"), arrival("in/us/b.csv", content_md5="aab"))
    assert other.content != one.content or not same


@pytest.mark.parametrize("identity", ["etag", "content"])
def test_list_of_files_tells_their_etags_whatever_they_are_known_by(identity: Any) -> None:
    """The list is about versions."""
    found = Content(by(identity), "in/us")
    found.add(arrival("in/us/a.csv", etag="e1", size=7, content_md5="aa"))
    assert found.lines() == b'{"path":"in/us/a.csv","size":7,"etag":"e1"}\n'
    assert found.digest() == found.digest()


@pytest.mark.parametrize("datastore", ["a", "zzz"])
@pytest.mark.parametrize("path", ["in/us/a.csv", "in/us/m"])
def test_blob_of_another_datastore_is_not_in_the_folder(datastore: str, path: str) -> None:
    """Neither data nor a marker, whatever it is called."""
    found = Content(by("etag"), "in/us")
    found.add(arrival(path, datastore=datastore))
    found.add(arrival("elsewhere/a.csv"))
    assert (found.files, found.marker, found.absent([path])) == (0, None, [path])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_captures_are_of_the_first_file_by_name(order: list[int]) -> None:
    """In whatever order the files come."""
    made = by("etag", path="in/us/{n:int}.csv")
    found = Content(made, "in/us")
    for number in order:
        found.add(arrival(f"in/us/{number}.csv"))
    assert (found.first, found.captures) == ("in/us/0.csv", {"n": 0})


def test_newest_marker_counts_and_the_first_of_two_as_new() -> None:
    """Where the case of its name does not count there may be two; a manifest is none."""
    made = by("etag", case_sensitive=False, settle=Settle(marker="m", manifest="a"))
    found = Content(made, "in/us")
    for name, second in (("m", 1), ("M", 1), ("A", 9), ("a", 3)):
        found.add(arrival(f"in/us/{name}", last_modified=WRITTEN + timedelta(seconds=second)))
    assert found.marker is not None
    assert found.manifest is not None
    assert (found.marker.path, found.manifest.path) == ("in/us/m", "in/us/A")


@pytest.mark.parametrize(
    ("path", "folder"), [("in/{c}/*", "in/{c}"), ("in/{c}/*.csv", "in/{c}"), ("in/**", "in/**"), ("in/**/a", "in/**")]
)
def test_folder_of_a_rule_is_what_is_in_front_of_its_last_segment(path: str, folder: str) -> None:
    """Unless that is open."""
    assert changed(path=path, data_path=DataPathParameter(parameter="p", grain="folder")).folder_path() == folder
