"""What a rule says: what it looks at, what is wrong with it, and whether its examples hold."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.rules.check import decide, example_faults, faults
from shared.rules.decision import RetrainRequest
from shared.rules.fill import parameter_faults, text_fault
from shared.rules.patterns import literal_prefix
from shared.rules.rule import DataPathParameter, Example, FurtherDataPath, Settle
from tests.samples import DAY, FOLDERS, changed


def test_prefix_has_everything_that_the_rule_looks_at() -> None:
    """Also the marker, which the path does not take; and names in another case."""
    folder = DataPathParameter(parameter="p", grain="folder")
    assert changed(path="in/us/part-*", data_path=folder, settle=Settle(marker="_SUCCESS")).prefix() == "in/us/"
    assert changed(path="in/{c}/x").prefix() == literal_prefix("in/{c}/x") == "in/"
    assert changed(path="2026/in/*", case_sensitive=False).prefix() == "2026/"


@pytest.mark.parametrize(
    ("changes", "limited"),
    [({}, False), ({"max_active": 1}, True), ({"daily_cap": 1}, True), ({"when_busy": "skip"}, False)],
)
def test_limited_rule(changes: dict[str, Any], limited: bool) -> None:
    """By runs at a time or a day."""
    assert changed(**changes).limited is limited


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
        ({"when_busy": "skip"}, "when_busy", "max_active, which is not given"),
        ({"tags": {"": "x"}}, "tags.", "has 0 characters"),
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
        ({"parameters": {"x": "a\0b"}}, "parameters.x", "control character U+0000"),
        ({"parameters": {"": "x"}}, "parameters", "empty name"),
        ({"parameters": {"a\nb": "x"}}, "parameters", "several lines"),
        ({"settle": Settle(marker="_SUCCESS")}, "settle.marker", 'grain = "folder"'),
        ({"settle": Settle(manifest="files.txt", quiet="5m")}, "settle.manifest", 'grain = "folder"'),
        ({"settle": Settle(min_files=2, quiet="5m")}, "settle.min_files", 'grain = "folder"'),
        ({"settle": Settle(min_bytes=2, quiet="5m")}, "settle.min_bytes", "the rule's own min_bytes"),
        ({"settle": Settle()}, "settle", "needs quiet"),
        ({"settle": Settle(max_wait="1h")}, "settle", "needs quiet"),
        ({"settle": Settle(quiet="5m", max_wait="299s")}, "settle.max_wait", "shorter than quiet '5m'"),
        (
            {"settle": Settle(quiet="5m", max_wait="1h", on_max_wait="give_up")},
            "settle.on_max_wait",
            "it can only be started on",
        ),
        ({"settle": Settle(quiet="5m", on_max_wait="give_up")}, "settle.on_max_wait", "max_wait, which is not given"),
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
    "changes",
    [
        {"max_bytes": 1},
        {"min_bytes": 5, "max_bytes": 5},
        {"min_bytes": 5, "max_bytes": 6},
        {"min_bytes": 0, "max_bytes": 1},
        {"metadata": {"a": "1", "b": "2"}},
        {"tags": {"k" * 100: "x" * 1000}},
        {"tags": {str(number): "x" for number in range(47)}},
        {"description": "x" * 5000},
    ],
)
def test_rule_at_the_edge_has_no_fault(changes: dict[str, Any]) -> None:
    """The largest and the smallest that is allowed."""
    assert faults(changed(**changes)) == []


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("income/*.csv", None),
        ("income/{c}/*.csv", None),
        ("income/{c}/**/*.csv", "income/{c}"),
        ("**/{b}/*.csv", "**/{b}"),
    ],
)
def test_folder_that_is_one(path: str, folder: str | None) -> None:
    """One segment is enough; '**' in the folder or after it, but not both."""
    parameter = DataPathParameter(parameter="p", grain="folder", folder=folder)
    assert faults(changed(path=path, data_path=parameter, settle=Settle(quiet="5m"))) == []


def test_fault_hides_no_other_of_its_kind() -> None:
    """Of patterns to ignore, of tags, of examples: each is told."""
    made = changed(
        ignore=["/x", "a//b"],
        tags={"retrain.a": "x", "retrain.b": "x"},
        examples=[Example(path="/x"), Example(path="y//z/")],
    )
    told = {where for where, _ in faults(made)}
    assert {"ignore[0]", "ignore[1]", "tags.retrain.a", "tags.retrain.b", "examples[0].path"} <= told


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


@pytest.mark.parametrize("settle", [Settle(quiet="5m"), Settle(quiet="5m", max_wait="5m")])
def test_file_may_have_to_be_quiet(settle: Settle) -> None:
    """Also with an end of waiting, as long as the quiet or longer; its examples count it as quiet."""
    rule = changed(settle=settle, examples=[Example(path="income/us/a.csv", data_path="income/us/a.csv")])
    assert faults(rule) == []
    assert example_faults(rule) == []
    assert isinstance(decide(rule, rule.examples[0]), RetrainRequest)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", None),
        ("ü 日本 🎈 'x' {}\u00a0", None),
        ("x" * 100_000, None),
        ("a\n", "several lines"),
        ("a\r\nb", "several lines"),
        ("\u2028", "several lines"),
        ("a\u2029b", "several lines"),
        ("a\x85b", "several lines"),
        ("a\tb", "control character U+0009"),
        ("\0", "control character U+0000"),
        ("a\x7f", "control character U+007F"),
        ("a\x9f", "control character U+009F"),
        ("a\ud800", "control character U+D800"),
    ],
)
def test_what_a_parameter_takes(text: str, told: str | None) -> None:
    """One line of anything that can be seen, from a rule and from a caller alike; names, too."""
    fault, of_caller = text_fault("parameters.x", text), parameter_faults({"x": text})
    assert (fault is None) == (told is None) == (of_caller == [])
    if told:
        assert told in (fault or "")
        assert of_caller == [f"parameters.x: {fault}"]
        assert len(parameter_faults({text: "x", "ok": "y"})) == 1


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


@pytest.mark.parametrize("wanted", ["a", "z"])
def test_example_whose_data_path_is_another_one(wanted: str) -> None:
    """Before or behind it in the alphabet."""
    made = changed(examples=[Example(path="income/us/a.csv", data_path=wanted)])
    [told] = example_faults(made)
    assert f"data_path is 'income/us/a.csv', not {wanted!r}" in told


@pytest.mark.parametrize("wanted", ["a", "z"])
def test_example_whose_parameter_is_another_one(wanted: str) -> None:
    """Before or behind it in the alphabet."""
    example = Example(path="income/us/a.csv", parameters={"country": wanted})
    made = changed(path="income/{c}/*.csv", parameters={"country": "{c}"}, examples=[example])
    [told] = example_faults(made)
    assert f"parameter 'country' is 'us', not {wanted!r}" in told
