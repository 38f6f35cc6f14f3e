"""Which arrivals start what: patterns, decisions, keys."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules import RetrainRequest, Rule, Skip, again, match, matcher
from tests.samples import PINS, RULE, WRITTEN, arrival, retrain_request


def decide(rule: Rule, path: str = "income/us/a.csv") -> RetrainRequest | Skip:
    """Return the one decision of `rule` about an arrival."""
    [decision] = match([rule], PINS, arrival(path), {})
    return decision


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


def test_brackets_in_a_pattern_are_themselves() -> None:
    """Character sets are not offered, so that a folder `[1]` can be written as it is called."""
    assert matcher("a[1]/*.csv").match("a[1]/x.csv")
    assert not matcher("a[1]/*.csv").match("a1/x.csv")


@pytest.mark.parametrize(
    "pattern", ["", "/a", "a//b", "a/", "a/../b", "a\\b", "a/{name}.csv", "a/**b/c"], ids=lambda text: text or "empty"
)
def test_patterns_that_can_never_match_are_faults(pattern: str) -> None:
    """Each is refused when the configuration is read."""
    with pytest.raises(ValueError, match=r"is|has|starts|ends"):
        matcher(pattern)


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


@given(st.text(), st.text(), st.text())
def test_keys_are_safe_in_a_filter_whatever_the_names(path: str, etag: str, rule: str) -> None:
    """The service's filters do not escape: only letters, digits and dashes, and the time in front."""
    key = retrain_request(etag=etag, rule=rule or "r").key
    assert key.startswith("20261101T120000Z-")
    assert set(key) <= set("0123456789abcdefTZ-")
    assert matcher("**").match(path)
