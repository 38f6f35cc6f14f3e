"""Which arrivals start what: conditions, decisions, keys, and that no blob's name stops a rule."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules.arrival import Source
from shared.rules.check import faults
from shared.rules.decision import DataPath, Decision, RetrainRequest, Settling, Skip, again, key_of, once_of
from shared.rules.fill import file_values, text_fault
from shared.rules.folder import Content, folder_request
from shared.rules.match import file_request, match
from shared.rules.rule import DataPathParameter, FurtherDataPath, Rule, Settle
from tests.samples import DAY, FOLDERS, RULE, WRITTEN, arrival, changed, retrain_request


def decide(rule: Rule, path: str = "income/us/a.csv", **changes: Any) -> Decision:
    """Return the one decision of `rule` about an arrival."""
    [decision] = match([rule], arrival(path, **changes), {})
    return decision


def request(rule: Rule, path: str = "income/us/a.csv", **changes: Any) -> RetrainRequest:
    """Return the request that `rule` makes of an arrival."""
    decision = decide(rule, path, **changes)
    assert isinstance(decision, RetrainRequest), decision
    return decision


def reason(rule: Rule, path: str = "income/us/a.csv", **changes: Any) -> str:
    """Return why `rule` skips an arrival."""
    decision = decide(rule, path, **changes)
    assert isinstance(decision, Skip), decision
    assert decision.rule == rule.name
    return decision.reason


@pytest.mark.parametrize("path", ["income/a.csv", "income/us/a.csv", "income/a/b/c/d.csv", "income/.x/ü [1].csv"])
def test_shipped_pattern_takes_csv_files_at_any_depth(path: str) -> None:
    """`**/` spans no segment, one or many; hidden and Unicode names are names like any other."""
    decision = decide(RULE, path)
    assert isinstance(decision, RetrainRequest)
    assert decision.data_path.path == path


@pytest.mark.parametrize("path", ["incomes/a.csv", "income.csv", "x/income/a.csv", "income/a.csv.tmp", "income/a.CSV"])
def test_other_paths_are_skipped_with_the_pattern_as_reason(path: str) -> None:
    """A pattern takes the whole name, and case counts as it does for blobs."""
    assert decide(RULE, path) == Skip(rule=RULE.name, reason=f"path does not match {RULE.path!r}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": 0}, "empty blob"),
        ({"is_folder": True}, "directory stub"),
        ({"pending": True}, "no data yet: a copy into it is under way"),
        ({"pending": True, "size": 0}, "no data yet: a copy into it is under way"),
        ({"archived": True}, "no data yet: it is in the archive tier, where nothing can read it"),
    ],
)
def test_blobs_that_hold_no_data_are_skipped(changes: dict[str, Any], reason: str) -> None:
    """Neither a stub nor an empty blob trains anything, nor one that is still being copied, whatever the rules say."""
    assert match([RULE], arrival(**changes), {}) == [Skip(reason=reason)]


@pytest.mark.parametrize("datastore", ["other", "zzz"])
def test_datastore_without_a_rule(datastore: str) -> None:
    """The skip says that there is no rule, rather than nothing."""
    [decision] = match([RULE], arrival(datastore=datastore), {})
    assert isinstance(decision, Skip)
    assert f"no rule for datastore {datastore!r}" in decision.reason


@pytest.mark.parametrize(("marker", "manifest"), [("b", "a"), ("a", "b")])
def test_marker_and_manifest_are_told_apart(marker: str, manifest: str) -> None:
    """By their names, whichever comes first in the alphabet."""
    made = msgspec.structs.replace(
        RULE,
        path="in/*/*.csv",
        data_path=DataPathParameter(parameter="input_data", grain="folder"),
        settle=Settle(marker=marker, manifest=manifest),
    )
    for name in (marker, manifest):
        [found] = match([made], arrival(f"in/us/{name}"), {})
        assert isinstance(found, Settling)
        assert (found.is_marker, found.is_manifest) == (name == marker, name == manifest)


@pytest.mark.parametrize(("seconds", "starts"), [(-1, False), (0, True), (1, True)])
def test_blobs_older_than_since_start_nothing(seconds: int, starts: bool) -> None:
    """Whole seconds are compared: a blob written in the second that the rule was first seen in counts as new."""
    since = {RULE.name: WRITTEN + timedelta(milliseconds=900)}
    [decision] = match([RULE], arrival(last_modified=WRITTEN + timedelta(seconds=seconds)), since)
    assert isinstance(decision, RetrainRequest) is starts


def test_each_matching_rule_makes_a_request_of_its_own() -> None:
    """Two rules, two keys; a third that does not match is a skip among them."""
    second = msgspec.structs.replace(RULE, name="second")
    third = msgspec.structs.replace(RULE, name="third", path="other/*")
    one, two, three = match([RULE, second, third], arrival(), {})
    assert isinstance(one, RetrainRequest)
    assert isinstance(two, RetrainRequest)
    assert isinstance(three, Skip)
    assert one.key != two.key


def test_callers_parameters_win_over_the_rules() -> None:
    """What the caller does not name stays as the rule has it."""
    rule = msgspec.structs.replace(RULE, parameters={"a": "1", "b": "1"})
    [decision] = match([rule], arrival(), {}, {"b": "2"})
    assert isinstance(decision, RetrainRequest)
    assert decision.parameters == {"a": "1", "b": "2"}


def test_same_arrival_same_key() -> None:
    """The source and the parameters are no part of the identity, nor is what is pinned."""
    one = arrival(etag="e")
    [first] = match([RULE], one, {})
    [second] = match([RULE], msgspec.structs.replace(one, source=Source.WEBHOOK), {}, {"x": "y"})
    assert isinstance(first, RetrainRequest)
    assert isinstance(second, RetrainRequest)
    assert first.key == second.key


def test_keys_are_those_of_the_version_before() -> None:
    """Another key would train on everything once more."""
    first = retrain_request(path="income/ü/a #1.csv", etag="0x8D")
    assert first.key == "20261101T120000Z-b7c6a334ab79631196854a9e310cfe18"
    assert again(first, 2).key == "20261101T120000Z-fcd6d618da86557d58ebec11bc4c3320"
    assert key_of(first.rule, first.arrival) == first.key


def test_another_version_of_the_blob_or_another_attempt_has_another_key() -> None:
    """An overwritten blob is a new arrival; an attempt that a person asks for is a request of its own."""
    first = retrain_request(etag="1")
    assert retrain_request(etag="2").key != first.key
    assert again(first, 2).key != first.key
    assert again(first, 1).key == first.key


@given(st.text(), st.text())
def test_keys_are_safe_in_a_filter_whatever_the_names(etag: str, rule: str) -> None:
    """The service's filters do not escape: only letters, digits and dashes, and the time in front."""
    key = retrain_request(etag=etag, rule=rule or "r").key
    assert key.startswith("20261101T120000Z-")
    assert set(key) <= set("0123456789abcdefTZ-")


def test_captures_and_fields_become_parameters_tags_experiment_and_description() -> None:
    """Each template over the captures and the arrival; what has no template stays as the pipeline has it."""
    rule = changed(
        path="income/{country}/{day:date}/part-{n:int}.csv",
        parameters={"country": "{country:upper}", "day": "{day:%Y%m%d}", "n": "{n:03}", "plain": "1", "brace": "{{}}"},
        experiment="income-{country}",
        tags={"file": "{name}", "of": "{folder}"},
        description="{stem} {size} {etag} {last_modified:%H:%M} {datastore} {path}",
    )
    made = request(rule, "income/us/2026-01-31/part-7.csv", etag="E", size=5)
    assert made.parameters == {"country": "US", "day": "20260131", "n": "007", "plain": "1", "brace": "{}"}
    assert made.experiment == "income-us"
    assert made.tags == {"file": "part-7.csv", "of": "income/us/2026-01-31"}
    assert made.description == "part-7 5 E 12:00 training income/us/2026-01-31/part-7.csv"
    plain = request(RULE)
    assert (plain.experiment, plain.tags, plain.description, plain.data_paths) == ("", {}, "", ())


def test_capture_hides_the_field_of_its_name() -> None:
    """Who captures `{name}` means that."""
    assert request(changed(path="{name}/**", parameters={"x": "{name}"})).parameters == {"x": "income"}


def test_further_data_paths_go_with_the_arrived_one() -> None:
    """Fixed or made from captures, on any datastore and parameter."""
    rule = changed(
        path="income/{country}/*.csv",
        data_paths=[
            FurtherDataPath(parameter="rates", path="reference/rates #1%20+.csv"),
            FurtherDataPath(parameter="old", path="old/{country}", datastore="lake", assignment="dataset"),
        ],
    )
    assert request(rule).data_paths == (
        DataPath(datastore="training", path="reference/rates #1%20+.csv", parameter="rates"),
        DataPath(datastore="lake", path="old/us", parameter="old", assignment="dataset"),
    )


@pytest.mark.parametrize(
    "path", ["income/ü ß 𝄞.csv", "income/#%20%2F+&=?.csv", f"income/{'x' * 1013}.csv", "income/e\u0301.csv"]
)
def test_names_come_through_unharmed(path: str) -> None:
    """Unicode, spaces, `#`, `%`, `+`, 1,024 characters, composed or not: the data path is the name."""
    rule = changed(path="income/{x}.csv", parameters={"x": "{x}"})
    assert request(rule, path).data_path.path == path
    assert request(rule, path).parameters["x"] == path.removeprefix("income/").removesuffix(".csv")


def test_capture_that_does_not_convert_skips_that_rule_alone() -> None:
    """With its reason; the others go on."""
    dated = changed(name="dated", path="income/{day:date}.csv", parameters={"day": "{day}"})
    one, two = match([dated, RULE], arrival("income/2026-02-31.csv"), {})
    assert one == Skip(
        rule="dated", reason="a capture does not convert: day is '2026-02-31', which is no date (%Y-%m-%d)"
    )
    assert isinstance(two, RetrainRequest)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parameters": {"x": "{x}"}}, "parameters.x: 'a\\nb' has several lines"),
        (
            {"data_path": DataPathParameter(parameter="p", assignment="string")},
            "data_path: 'income/a\\nb.csv' has several",
        ),
        ({"experiment": "income-{x}"}, "experiment: 'income-a\\nb' is no name for an experiment"),
        ({"tags": {"t": "{x}" * 400}}, "tags.t: "),
        ({"description": "{x}" * 2000}, "description: "),
        ({"data_paths": [FurtherDataPath(parameter="p", path="{x}/../y")]}, "data_paths.p: "),
    ],
)
def test_what_the_service_would_not_take_is_a_skip_with_its_reason(changes: dict[str, Any], told: str) -> None:
    """When it comes from the name; what is fixed was refused when the file was read."""
    assert told in reason(changed(path="income/{x}.csv", **changes), "income/a\nb.csv")


@pytest.mark.parametrize(
    ("changes", "path", "arrived", "told"),
    [
        ({"ignore": ["**/_*/**", "**/*.tmp.csv"]}, "income/_t/0/a.csv", {}, "is ignored by '**/_*/**'"),
        ({"ignore": ["**/_*/**", "**/*.tmp.csv"]}, "income/a.tmp.csv", {}, "is ignored by '**/*.tmp.csv'"),
        ({"ignore": ["income/X/*"], "case_sensitive": False}, "income/x/a.csv", {}, "is ignored"),
        ({"path": "{d:date}/*", "ignore": ["2026-02-31/*"]}, "2026-02-31/a", {}, "is ignored"),
        ({"min_bytes": 10}, "income/a.csv", {"size": 9}, "has 9 bytes, less than the rule's min_bytes 10"),
        ({"max_bytes": 10}, "income/a.csv", {"size": 11}, "has 11 bytes, more than the rule's max_bytes 10"),
        ({"metadata": {"Stage": "x"}}, "income/a.csv", {}, "no metadata 'Stage'"),
        (
            {"metadata": {"Stage": "x"}},
            "income/a.csv",
            {"metadata": {"stage": "X"}},
            "metadata 'Stage' is 'X', not 'x'",
        ),
    ],
)
def test_conditions_that_do_not_hold(changes: dict[str, Any], path: str, arrived: dict[str, Any], told: str) -> None:
    """Each is a reason of its own."""
    assert told in reason(changed(**changes), path, **{"metadata": {}, **arrived})


@pytest.mark.parametrize(
    ("changes", "arrived"),
    [
        ({"ignore": ["**/_*/**"]}, {}),
        ({"case_sensitive": False, "path": "INCOME/**"}, {}),
        ({"min_bytes": 10, "max_bytes": 10}, {"size": 10}),
        ({"metadata": {"Stage": "x"}}, {"metadata": {"stage": "x", "other": "y"}}),
    ],
)
def test_conditions_that_hold(changes: dict[str, Any], arrived: dict[str, Any]) -> None:
    """The request does not carry the metadata on: it decided already."""
    assert request(changed(**changes), **{"metadata": {}, **arrived}).arrival.metadata is None


def test_blob_whose_properties_could_not_be_read_is_judged_by_its_name() -> None:
    """Else an arrival that the platform gave up on would be lost without a row."""
    rule = changed(min_bytes=10, metadata={"a": "b"})
    assert request(rule, size=1, metadata=None)


def settling(rule: Rule, path: str, **changes: Any) -> Settling:
    """Return the decision to wait."""
    decision = decide(rule, path, **changes)
    assert isinstance(decision, Settling), decision
    return decision


def test_file_of_a_folder_settles_first() -> None:
    """The decision names the folder; the file's own captures are no part of it."""
    found = settling(FOLDERS, f"{DAY}/part-1.csv")
    assert (found.rule, found.datastore, found.folder) == ("folders", "training", DAY)
    assert (found.is_marker, found.is_manifest) == (False, False)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Settling) == found


def test_marker_and_manifest_are_known_by_their_names() -> None:
    """Also empty, also when `ignore` would take them, and in the folder itself only."""
    marker, manifest = settling(FOLDERS, f"{DAY}/_SUCCESS", size=0), settling(FOLDERS, f"{DAY}/files.json")
    assert (marker.folder, marker.is_marker, marker.is_manifest) == (DAY, True, False)
    assert (manifest.folder, manifest.is_marker, manifest.is_manifest) == (DAY, False, True)
    assert reason(FOLDERS, "in/us/_SUCCESS", size=1).startswith("path does not match")
    assert "no date" in reason(FOLDERS, "in/us/2026-02-31/_SUCCESS", size=0)
    assert match([FOLDERS, RULE], arrival("income/_SUCCESS", size=0), {}) == [Skip(reason="empty blob")]
    both = match([FOLDERS, changed(path="**")], arrival(f"{DAY}/_SUCCESS", size=0), {})
    assert isinstance(both[0], Settling)
    assert both[1] == Skip(rule=RULE.name, reason="empty blob")


@pytest.mark.parametrize(
    ("path", "folder", "blob", "settles"),
    [
        ("in/{c}/**/*.csv", None, "in/us/a/b/f.csv", "in/us/a/b"),
        ("in/{c}/**", "in/{c}", "in/us/a/b/f.csv", "in/us"),
        ("in/{c:us|de}/{d:date}/*", "in/{c}", "in/us/2026-01-31/f", "in/us"),
        ("**/{run}/*.csv", "**/{run}", "a/b/r1/f.csv", "a/b/r1"),
        ("**/{run}/parts/*.csv", "**/{run}", "a/b/r1/parts/f.csv", "a/b/r1"),
        ("in/**", None, "in/a/f", "in/a"),
    ],
)
def test_which_folder_a_file_belongs_to(path: str, folder: str | None, blob: str, settles: str) -> None:
    """Its own, or the ancestor that `folder` names, also where `**` stands before or after; the marker agrees."""
    parameter = DataPathParameter(parameter="p", grain="folder", folder=folder)
    rule = changed(path=path, data_path=parameter, settle=Settle(marker="_OK{}"))
    assert faults(rule) == []
    assert settling(rule, blob).folder == settles
    assert settling(rule, f"{settles}/_OK{{}}", size=0).folder == settles


def test_file_at_the_root_is_in_no_folder() -> None:
    """The whole container is never a data path by accident."""
    rule = changed(
        path="**/*.csv", data_path=DataPathParameter(parameter="p", grain="folder"), settle=Settle(quiet="5m")
    )
    assert "root" in reason(rule, "a.csv")


def test_old_file_of_a_folder_starts_nothing() -> None:
    """`since` counts for what arrives into a folder, too."""
    since = {"folders": WRITTEN + timedelta(seconds=1)}
    [decision] = match([FOLDERS], arrival(f"{DAY}/part-1.csv"), since)
    assert isinstance(decision, Skip)


def test_requests_written_by_the_versions_before_can_be_read() -> None:
    """What they lack has defaults; the version that they name is no part of a request any more."""
    old = msgspec.to_builtins(retrain_request())
    for key in ("data_paths", "experiment", "tags", "description"):
        del old[key]
    del old["arrival"]["metadata"], old["arrival"]["pending"]
    read = msgspec.json.decode(msgspec.json.encode({**old, "version": "3"}), type=RetrainRequest)
    assert read.data_paths == ()
    assert not read.arrival.pending
    assert not hasattr(read, "version")


QUIET = changed(settle=Settle(quiet="5m"), min_bytes=10)


def test_file_that_must_be_quiet_settles_first() -> None:
    """Under its own path; conditions and age decide before that, and what a caller gave does not wait with it."""
    one = arrival(size=10, metadata={"a": "b"}, etag="e")
    [waiting] = match([QUIET], one, {}, {"x": "y"})
    assert waiting == Settling(
        rule=RULE.name, datastore="training", folder=one.path, arrival=msgspec.structs.replace(one, metadata=None)
    )
    assert "less than the rule's min_bytes" in reason(QUIET, size=9, metadata={})
    [old] = match([QUIET], one, {RULE.name: WRITTEN + timedelta(seconds=1)})
    assert isinstance(old, Skip)
    assert isinstance(decide(QUIET, "income/a.csv", size=10), Settling)


def test_quiet_file_is_requested_as_it_is_then() -> None:
    """With the key that it would have had at once, of the version that is there; the conditions are asked anew."""
    one = arrival(size=10, metadata={}, etag="e")
    made = file_request(QUIET, one)
    assert isinstance(made, RetrainRequest)
    assert made.key == request(changed(), size=10, etag="e").key
    assert made.data_path.path == one.path
    for changes, told in (
        ({"size": 9}, "less than the rule's min_bytes"),
        ({"size": 0}, "empty blob"),
        ({"pending": True}, "a copy into it is under way"),
        ({"is_folder": True}, "directory stub"),
        ({"path": "other.csv"}, "path does not match"),
    ):
        skip = file_request(QUIET, msgspec.structs.replace(one, **changes))
        assert isinstance(skip, Skip)
        assert told in skip.reason


def test_thousand_rules_are_asked_one_by_one() -> None:
    """Far more than one keeps compiled patterns of: each has its decision, the one that takes the blob its request."""
    rules = [changed(name=f"r{number}", path=f"in{number}/{{c}}/*.csv") for number in range(1000)]
    decisions = match(rules, arrival("in777/us/a.csv"), {})
    assert [number for number, found in enumerate(decisions) if isinstance(found, RetrainRequest)] == [777]


NAMES = st.text(st.characters(), max_size=1024)
SHAPES = ["**", "{a}/**", "**/{d:date}/{n:int}*", "{a:x|y}*", "*{a}-{b}*", "**/*"]


@given(NAMES, st.sampled_from(SHAPES), st.sampled_from(["file", "folder"]), st.booleans(), st.integers(0, 2))
def test_no_name_makes_match_raise(name: str, shape: str, grain: Any, case_sensitive: bool, size: int) -> None:
    """Any Unicode, half surrogate pairs and control characters included, of any length."""
    rule = changed(
        path=shape,
        case_sensitive=case_sensitive,
        ignore=["**/_*"],
        data_path=DataPathParameter(parameter="p", grain=grain, folder="{a}" if shape == "{a}/**" else None),
        parameters={"x": "{name:upper}"},
        tags={"t": "{folder}"},
        experiment="e-{name}",
        settle=Settle(marker="m") if grain == "folder" else None,
    )
    if shape in ("{a:x|y}*", "*{a}-{b}*") and grain == "folder":
        return  # no such rule: its files would be in no folder
    one = arrival(name, size=size, metadata={})
    for decision in match([rule], one, {}):
        if isinstance(decision, Settling):
            content = Content(rule, decision.folder)
            content.add(one)
            assert folder_request(rule, decision.folder, rule.datastore, one.source, content)


# Exact edges of what a request is made of


@pytest.mark.parametrize(
    ("name", "stem"), [("a.csv", "a"), (".hidden", ".hidden"), ("plain", "plain"), ("a.", "a"), (".a.b", ".a")]
)
def test_stem_of_a_name(name: str, stem: str) -> None:
    """What is in front of the last dot; a name without one, or with nothing in front, whole."""
    assert file_values(arrival(f"income/{name}"))["stem"] == stem


@pytest.mark.parametrize(("where", "longest"), [("tags.a", 1000), ("description", 5000)], ids=["tag", "description"])
def test_longest_text_that_the_service_takes(where: str, longest: int) -> None:
    """Exactly so long is taken."""
    assert text_fault(where, "x" * longest) is None
    assert text_fault(where, "x" * (longest + 1)) is not None
    assert text_fault("data_paths.x", "../x") is not None
    assert text_fault("data_paths.x", "a/x") is None


@pytest.mark.parametrize(
    ("identity", "md5", "known"), [("etag", "ab", False), ("content", "", False), ("content", "ab", True)]
)
def test_content_by_which_a_request_is_known(identity: Any, md5: str, known: bool) -> None:
    """Where the rule goes by content and the blob has a hash: for each attempt another, whatever the ETag is."""
    made = msgspec.structs.replace(RULE, identity=identity)
    first, second = (
        decision
        for etag in ("1", "2")
        for decision in match([made], arrival(etag=etag, content_md5=md5), {})
        if isinstance(decision, RetrainRequest)
    )
    assert (first.content != "", first.content == second.content) == (known, True)
    assert first.key != second.key
    assert first.attempt == 1
    assert (again(first, 2).content != "") is known
    assert again(first, 2).content != first.content or not known
    assert len(first.content) in (0, 32)
    assert len(once_of("r", "k")) == 32


@pytest.mark.parametrize(
    ("grain", "path"), [("file", "income/us/a.csv"), ("folder", "income/us"), ("manifest", "_retrain/income-files/")]
)
def test_what_each_grain_hands_over(grain: Any, path: str) -> None:
    """The file, the folder, or a list that the app writes."""
    settle = None if grain == "file" else Settle(marker="_SUCCESS")
    data_path = DataPathParameter(parameter="input_data", grain=grain, assignment="dataset")
    made = msgspec.structs.replace(RULE, data_path=data_path, settle=settle)
    if grain == "file":
        [decision] = match([made], arrival(), {})
    else:
        content = Content(made, "income/us")
        content.add(arrival())
        decision = folder_request(made, "income/us", "training", Source.SEARCH, content)
    assert isinstance(decision, RetrainRequest)
    assert decision.data_path.path.startswith(path)
    assert decision.data_path.path.endswith(".jsonl") is (grain == "manifest")


@pytest.mark.parametrize(("assignment", "starts"), [("data_path", True), ("dataset", True), ("string", False)])
def test_path_that_no_plain_parameter_takes(assignment: Any, starts: bool) -> None:
    """A line separator in a name is no matter to a data path."""
    data_path = DataPathParameter(parameter="input_data", assignment=assignment)
    [decision] = match([msgspec.structs.replace(RULE, data_path=data_path)], arrival("income/a\u2028b.csv"), {})
    assert isinstance(decision, RetrainRequest) is starts
