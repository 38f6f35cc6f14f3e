"""Which arrivals start what: conditions, decisions, folders, keys; and what is wrong with a rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.arrival import Arrival
from shared.rulecheck import example_faults, faults
from shared.rules import (
    DataPath,
    DataPathParameter,
    Decision,
    Example,
    FurtherDataPath,
    RetrainRequest,
    Rule,
    Settle,
    Settling,
    Skip,
    again,
    literal_prefix,
    match,
    members,
    settled,
)
from tests.samples import PINS, RULE, WRITTEN, arrival, retrain_request


def decide(rule: Rule, path: str = "income/us/a.csv", **changes: Any) -> Decision:
    """Return the one decision of `rule` about an arrival."""
    [decision] = match([rule], PINS, arrival(path, **changes), {})
    return decision


def changed(**changes: Any) -> Rule:
    """Return RULE with changes."""
    return msgspec.structs.replace(RULE, **changes)


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
    assert decision.version == "1"


@pytest.mark.parametrize("path", ["incomes/a.csv", "income.csv", "x/income/a.csv", "income/a.csv.tmp", "income/a.CSV"])
def test_other_paths_are_skipped_with_the_pattern_as_reason(path: str) -> None:
    """A pattern takes the whole name, and case counts as it does for blobs."""
    assert decide(RULE, path) == Skip(rule=RULE.name, reason=f"path does not match {RULE.path!r}")


@pytest.mark.parametrize(("changes", "reason"), [({"size": 0}, "empty blob"), ({"is_folder": True}, "directory stub")])
def test_blobs_that_hold_no_data_are_skipped(changes: dict[str, Any], reason: str) -> None:
    """Neither a stub nor an empty blob trains anything, whatever the rules say."""
    assert match([RULE], PINS, arrival(**changes), {}) == [Skip(reason=reason)]


def test_datastore_without_a_rule() -> None:
    """The skip says that there is no rule, rather than nothing."""
    [decision] = match([RULE], PINS, arrival(datastore="other"), {})
    assert isinstance(decision, Skip)
    assert "no rule for datastore 'other'" in decision.reason


@pytest.mark.parametrize(("seconds", "starts"), [(-1, False), (0, True), (1, True)])
def test_blobs_older_than_since_start_nothing(seconds: int, starts: bool) -> None:
    """Whole seconds are compared: a blob written in the second that the rule was first seen in counts as new."""
    since = {RULE.name: WRITTEN + timedelta(milliseconds=900)}
    [decision] = match([RULE], PINS, arrival(last_modified=WRITTEN + timedelta(seconds=seconds)), since)
    assert isinstance(decision, RetrainRequest) is starts


def test_each_matching_rule_makes_a_request_of_its_own() -> None:
    """Two rules, two keys; a third that does not match is a skip among them."""
    second = msgspec.structs.replace(RULE, name="second")
    third = msgspec.structs.replace(RULE, name="third", path="other/*")
    one, two, three = match([RULE, second, third], PINS, arrival(), {})
    assert isinstance(one, RetrainRequest)
    assert isinstance(two, RetrainRequest)
    assert isinstance(three, Skip)
    assert one.key != two.key


def test_callers_parameters_win_over_the_rules() -> None:
    """What the caller does not name stays as the rule has it."""
    rule = msgspec.structs.replace(RULE, parameters={"a": "1", "b": "1"})
    [decision] = match([rule], PINS, arrival(), {}, {"b": "2"})
    assert isinstance(decision, RetrainRequest)
    assert decision.parameters == {"a": "1", "b": "2"}


def test_same_arrival_same_key() -> None:
    """The source, the parameters and the pinned version are no part of the identity."""
    one = arrival(etag="e")
    [first] = match([RULE], {"income": "1"}, one, {})
    [second] = match([RULE], {"income": "2"}, msgspec.structs.replace(one, source="webhook"), {}, {"x": "y"})
    assert isinstance(first, RetrainRequest)
    assert isinstance(second, RetrainRequest)
    assert first.key == second.key


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
    one, two = match([dated, RULE], PINS, arrival("income/2026-02-31.csv"), {})
    assert one == Skip(
        rule="dated", reason="a capture does not convert: day is '2026-02-31', which is no date (%Y-%m-%d)"
    )
    assert isinstance(two, RetrainRequest)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parameters": {"x": "{x}"}}, "parameters.x: 'a\\nb' has several lines"),
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


FOLDERS = changed(
    name="folders",
    path="in/{country}/{day:date}/part-{n:int}.csv",
    data_path=DataPathParameter(parameter="input_data", grain="folder"),
    parameters={"country": "{country}", "day": "{day:%Y%m%d}", "files": "{files}", "size": "{size}", "of": "{name}"},
    settle=Settle(marker="_SUCCESS", manifest="files.json"),
    ignore=["**/_*"],
)
DAY = "in/us/2026-01-31"


def settling(rule: Rule, path: str, **changes: Any) -> Settling:
    """Return the decision to wait."""
    decision = decide(rule, path, **changes)
    assert isinstance(decision, Settling), decision
    return decision


def test_file_of_a_folder_settles_first() -> None:
    """The decision names the folder; the file's own captures are no part of it."""
    found = settling(FOLDERS, f"{DAY}/part-1.csv")
    assert (found.rule, found.datastore, found.folder) == ("folders", "training", DAY)
    assert found.captures == {"country": "us", "day": "2026-01-31"}
    assert (found.is_marker, found.is_manifest) == (False, False)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Settling) == found


def test_marker_and_manifest_are_known_by_their_names() -> None:
    """Also empty, also when `ignore` would take them, and in the folder itself only."""
    marker, manifest = settling(FOLDERS, f"{DAY}/_SUCCESS", size=0), settling(FOLDERS, f"{DAY}/files.json")
    assert (marker.folder, marker.is_marker, marker.is_manifest) == (DAY, True, False)
    assert (manifest.folder, manifest.is_marker, manifest.is_manifest) == (DAY, False, True)
    assert reason(FOLDERS, "in/us/_SUCCESS", size=1).startswith("path does not match")
    assert "no date" in reason(FOLDERS, "in/us/2026-02-31/_SUCCESS", size=0)
    assert match([FOLDERS, RULE], PINS, arrival("income/_SUCCESS", size=0), {}) == [Skip(reason="empty blob")]
    both = match([FOLDERS, changed(path="**")], PINS, arrival(f"{DAY}/_SUCCESS", size=0), {})
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


def test_settled_folder_is_requested_by_its_content() -> None:
    """Only what the rule takes counts; the key has the time of the newest file."""
    assert [item.path for item in members(FOLDERS, DAY, LISTING)] == [f"{DAY}/part-1.csv", f"{DAY}/part-2.csv"]
    waiting = settling(FOLDERS, f"{DAY}/_SUCCESS", size=0)
    made = settled(FOLDERS, PINS, waiting, LISTING)
    assert isinstance(made, RetrainRequest)
    assert made.data_path == DataPath(datastore="training", path=DAY, parameter="input_data")
    assert made.parameters == {"country": "us", "day": "20260131", "files": "2", "size": "20", "of": "2026-01-31"}
    assert made.key.startswith("20261101T120005Z-")
    assert made.version == "1"
    assert made.arrival.path == DAY
    assert made.arrival.size == 20
    assert again(made, 1) == made
    assert settled(FOLDERS, PINS, settling(FOLDERS, f"{DAY}/part-1.csv"), LISTING[::-1]) == made
    assert settled(FOLDERS, PINS, waiting, LISTING[2:]) == Skip(
        rule="folders", reason=f"nothing in {DAY!r} is data to the rule"
    )


@pytest.mark.parametrize("change", [part(2, etag="new"), part(3)])
def test_other_content_is_another_request(change: Arrival) -> None:
    """A file that was replaced or added later; the marker's own version does not count."""
    waiting = settling(FOLDERS, f"{DAY}/part-1.csv")
    before, after = (settled(FOLDERS, PINS, waiting, listing) for listing in (LISTING[:2], [change, LISTING[1]]))
    assert isinstance(before, RetrainRequest)
    assert isinstance(after, RetrainRequest)
    assert before.key != after.key


def test_callers_parameters_wait_with_the_folder() -> None:
    """They win when it has settled, as they do for a file."""
    [waiting] = match([FOLDERS], PINS, arrival(f"{DAY}/part-1.csv"), {}, {"country": "x"})
    assert isinstance(waiting, Settling)
    made = settled(FOLDERS, PINS, waiting, LISTING)
    assert isinstance(made, RetrainRequest)
    assert made.parameters["country"] == "x"


def test_old_file_of_a_folder_starts_nothing() -> None:
    """`since` counts for what arrives into a folder, too."""
    since = {"folders": WRITTEN + timedelta(seconds=1)}
    [decision] = match([FOLDERS], PINS, arrival(f"{DAY}/part-1.csv"), since)
    assert isinstance(decision, Skip)


def test_prefix_has_everything_that_the_rule_looks_at() -> None:
    """Also the marker, which the path does not take; and names in another case."""
    folder = DataPathParameter(parameter="p", grain="folder")
    assert changed(path="in/us/part-*", data_path=folder, settle=Settle(marker="_SUCCESS")).prefix() == "in/us/"
    assert changed(path="in/{c}/x").prefix() == literal_prefix("in/{c}/x") == "in/"
    assert changed(path="2026/in/*", case_sensitive=False).prefix() == "2026/"


def test_requests_written_by_the_version_before_can_be_read() -> None:
    """The new columns have defaults."""
    old = msgspec.to_builtins(retrain_request())
    for key in ("data_paths", "experiment", "tags", "description"):
        del old[key]
    del old["arrival"]["metadata"]
    assert msgspec.convert(old, RetrainRequest, strict=False).data_paths == ()


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
    for decision in match([rule], PINS, one, {}):
        if isinstance(decision, Settling):
            assert settled(rule, PINS, decision, [one])


@pytest.mark.parametrize(
    ("changes", "where", "told"),
    [
        ({"path": "{a}/{a}"}, "path", "segment 2, '{a}': captures 'a' a second time"),
        ({"path": "a//b"}, "path", "empty segment"),
        ({"ignore": ["a/**", "/x"]}, "ignore[1]", "starts with a slash"),
        ({"ignore": ["{a}/x"]}, "ignore[0]", "captures have no use here"),
        ({"ignore": ["income/**/*.csv"]}, "ignore[0]", "nothing would ever start"),
        ({"ignore": ["**"]}, "ignore[0]", "nothing would ever start"),
        ({"min_bytes": 5, "max_bytes": 4}, "max_bytes", "4 is less than min_bytes 5"),
        ({"max_bytes": 0}, "max_bytes", "empty blobs never start anything"),
        ({"metadata": {"a": "1", "A": "2"}}, "metadata", "one name twice"),
        ({"when_busy": "latest"}, "when_busy", "max_active, which is not given"),
        ({"parameters": {"x": "{county}"}}, "parameters.x", "there is no field 'county' here"),
        ({"parameters": {"x": "{name:uper}"}}, "parameters.x", "'uper' is no form for {name}"),
        ({"parameters": {"x": '{"a": 1}'}}, "parameters.x", "written twice"),
        ({"parameters": {"x": "a\nb"}}, "parameters.x", "several lines"),
        ({"parameters": {"input_data": "x"}}, "parameters.input_data", "takes the path of data_path"),
        ({"data_paths": [FurtherDataPath(parameter="input_data", path="x")]}, "data_paths[0].parameter", "already"),
        ({"data_paths": [FurtherDataPath(parameter="p", path="/x")]}, "data_paths[0].path", "starts with a slash"),
        ({"experiment": "no such name"}, "experiment", "is no name for an experiment"),
        ({"experiment": "income {stem}"}, "experiment", "'income x' is no name for an experiment"),
        ({"data_paths": [FurtherDataPath(parameter="p", path="../{stem}")]}, "data_paths[0].path", "'..' segment"),
        ({"tags": {"retrain.key": "x"}}, "tags.retrain.key", "are taken"),
        ({"tags": {"k" * 101: "x"}}, f"tags.{'k' * 40}", "101 characters"),
        ({"tags": {"k": "x" * 1001}}, "tags.k", "1,001 characters"),
        ({"tags": {str(n): "x" for n in range(48)}}, "tags", "takes 47"),
        ({"description": "x" * 5001}, "description", "5,001 characters"),
        ({"settle": Settle(marker="_SUCCESS")}, "settle.marker", 'grain = "folder"'),
        ({"examples": [Example(path="/x")]}, "examples[0].path", "starts with a slash"),
        ({"examples": [Example(path="x", skip=True, data_path="x")]}, "examples[0].skip", "neither"),
        ({"data_path": DataPathParameter(parameter="p", folder="income")}, "data_path.folder", "did you mean grain"),
    ],
)
def test_faults_of_a_rule_are_named_with_their_place(changes: dict[str, Any], where: str, told: str) -> None:
    """One each, and in words that say what to do."""
    [(place, text)] = faults(changed(**changes))
    assert place == where
    assert told in text


@pytest.mark.parametrize(
    ("path", "folder", "settle", "where", "told"),
    [
        ("a/{b}/*", None, None, "settle", "a folder is never complete by itself"),
        ("a/{b}/*", None, Settle(min_files=1), "settle", "at least one of quiet, marker and manifest"),
        ("a/{b}/*", None, Settle(quiet="5m", max_wait="299s"), "settle.max_wait", "shorter than quiet '5m'"),
        ("a/{b}/*", None, Settle(quiet="5m", on_max_wait="give_up"), "settle.on_max_wait", "not given"),
        ("a/{b}/*", None, Settle(marker="x/y"), "settle.marker", "has a slash"),
        ("a/{b}/*", None, Settle(marker="*.done"), "settle.marker", "no pattern"),
        ("a/{b}/*", None, Settle(marker=".."), "settle.marker", "no file's name"),
        ("a/{b}/*", None, Settle(marker="x", manifest="x"), "settle.manifest", "the marker already"),
        ("*.csv", None, Settle(quiet="5m"), "data_path.grain", "at the container's root"),
        ("a/{b}/*", "b", Settle(quiet="5m"), "data_path.folder", "first segments"),
        ("a/{b}/*", "a/{b:int}", Settle(quiet="5m"), "data_path.folder", "first segments"),
        ("a/{b}/*", "a/{b}/*", Settle(quiet="5m"), "data_path.folder", "without its last"),
        ("**/{b}/**", "**/{b}", Settle(quiet="5m"), "data_path.folder", "open where the folder ends"),
    ],
)
def test_faults_of_a_rule_for_folders(path: str, folder: str | None, settle: Any, where: str, told: str) -> None:
    """What would never be complete, or is no folder."""
    parameter = DataPathParameter(parameter="p", grain="folder", folder=folder)
    [(place, text)] = faults(changed(path=path, data_path=parameter, settle=settle))
    assert place == where
    assert told in text


def test_captures_below_the_folder_cannot_stand_in_its_templates() -> None:
    """They differ from file to file."""
    [(place, text)] = faults(msgspec.structs.replace(FOLDERS, parameters={"n": "{n}"}))
    assert place == "parameters.n"
    assert "there is no field 'n' here; there are country, datastore, day, files" in text


def test_settle_durations() -> None:
    """As lengths of time, for those who wait."""
    settle = Settle(quiet="5m", max_wait="2h")
    assert (settle.quiet_for, settle.longest_wait) == (timedelta(minutes=5), timedelta(hours=2))
    assert (Settle(marker="x").quiet_for, Settle(marker="x").longest_wait) == (None, None)


def test_examples_that_do_not_hold_are_told_one_by_one() -> None:
    """With what the rule does instead; one that holds is silent."""
    rule = changed(
        path="income/{c}/*.csv",
        parameters={"c": "{c}", "seen": "{last_modified:%Y}"},
        min_bytes=10,
        metadata={"stage": "x"},
        examples=[
            Example(path="income/us/a.csv", data_path="income/us/a.csv", parameters={"c": "us", "seen": "2026"}),
            Example(
                path="income/us/a.csv",
                last_modified=datetime(2025, 1, 1, tzinfo=UTC),
                parameters={"c": "us", "seen": "2025"},
            ),
            Example(path="income/us/a.csv", skip=True),
            Example(path="other/us/a.csv"),
            Example(path="other/us/a.csv", skip=True),
            Example(path="income/us/a.csv", data_path="income/us", parameters={"c": "US", "d": "1"}),
            Example(path="income/us/a.csv", size=9, skip=True),
            Example(path="income/us/a.csv", size=10),
            Example(path="income/us/a.csv", metadata={"stage": "y"}, skip=True),
            Example(path="income/us/a.csv", metadata={"Stage": "x"}),
        ],
    )
    assert example_faults(rule) == [
        "examples[2] ('income/us/a.csv'): is to be skipped, but starts a run on 'income/us/a.csv'",
        "examples[3] ('other/us/a.csv'): is to start a run, but is skipped: path does not match 'income/{c}/*.csv'",
        "examples[5] ('income/us/a.csv'): data_path is 'income/us/a.csv', not 'income/us'",
        "examples[5] ('income/us/a.csv'): parameter 'c' is 'us', not 'US'",
        "examples[5] ('income/us/a.csv'): there is no parameter 'd'; the example says '1'",
        "examples[5] ('income/us/a.csv'): parameter 'seen' is '2026'; the example does not have it",
    ]


def test_examples_of_folders_count_them_as_complete() -> None:
    """A file of the folder, or its marker."""
    parameters = {"country": "us", "day": "20260131", "files": "1", "size": "1", "of": "2026-01-31"}
    examples = [
        Example(path=f"{DAY}/part-1.csv", data_path=DAY, parameters=parameters),
        Example(path=f"{DAY}/_SUCCESS", data_path=DAY, parameters=parameters),
        Example(path=f"{DAY}/_other", skip=True),
    ]
    assert example_faults(msgspec.structs.replace(FOLDERS, examples=examples)) == []
