"""Outputs that would start a rule again: by names alone, before anything runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules.loops import starts_again
from shared.rules.patterns import Pattern
from tests import samples


@pytest.mark.parametrize(
    ("pattern", "ignore", "folder", "name"),
    [
        ("income/**/*.csv", [], "income/out", "income/out/a.csv"),
        ("income/**/*.csv", [], "income", "income/a.csv"),
        ("income/**/*.csv", [], "", "income/a.csv"),
        ("income/**/*.csv", [], "models", None),
        ("income/**/*.csv", ["income/out/**"], "income/out", None),
        ("income/**/*.csv", ["income/out/*.json"], "income/out", "income/out/a.csv"),
        ("income/**/*.csv", ["**/a.csv"], "income/out", "income/out/a/a.csv"),
        ("income/*.csv", [], "income/out", None),
        ("income/*/*.csv", [], "income/out", "income/out/a.csv"),
        ("income/*/*.csv", [], "income/out/run", None),
        ("income/{country}/{day:date}/*.csv", [], "income/us", "income/us/2024-01-21/a.csv"),
        ("income/{country}/{day:date}/*.csv", [], "income/us/2026-11-01", "income/us/2026-11-01/a.csv"),
        ("income/{country}/{day:date}/*.csv", [], "income/us/out", None),
        ("income/{country:us|de}/*.csv", [], "income/models", None),
        ("**", [], "models/income", "models/income/a"),
        ("**/out/**/x/*.csv", [], "a/out/b", "a/out/b/x/a.csv"),
        ("income/us", [], "income/us", None),
        ("*.csv", [], "out", None),
        ("income/**/*.csv", [], "income/20260101T000000Z-0/", "income/20260101T000000Z-0/a.csv"),
    ],
)
def test_what_lies_in_what_a_rule_watches(pattern: str, ignore: list[str], folder: str, name: str | None) -> None:
    """A name below the folder that it would take, for people to see."""
    found = starts_again(samples.changed(path=pattern, ignore=ignore), folder)
    assert (found is None) == (name is None), found
    assert found is None or found.startswith(folder)
    if name is not None and not ignore:
        assert found == name


def test_letters_of_either_case() -> None:
    """As the rule reads them."""
    assert starts_again(samples.changed(path="Income/*.csv"), "income") is None
    assert starts_again(samples.changed(path="Income/*.csv", case_sensitive=False), "income") == "income/a.csv"


SEGMENTS = st.lists(st.sampled_from(["**", "*", "a", "b", "{x}", "a*"]), min_size=1, max_size=5)
NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5)


@given(SEGMENTS, NAMES, st.integers(0, 4))
def test_no_loop_is_overlooked(segments: list[str], name: list[str], depth: int) -> None:
    """Whatever a pattern takes below a folder, that the folder has some is said of it."""
    text = "/".join("{x}" if part == "{x}" and segments.index(part) == at else part for at, part in enumerate(segments))
    if text.count("{x}") > 1:
        return
    folder, rest = name[:depth], name[depth:]
    if rest and Pattern.parse(text).takes("/".join(name)):
        found = starts_again(samples.changed(path=text), "/".join(folder))
        assert found is not None
        assert Pattern.parse(text).takes(found)
