"""Patterns over blob names: what they take, what they capture, what is wrong with them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules.patterns import CaptureError, Pattern, PatternError, literal_prefix, samples

# What the storage service allows in a name, and more: any code point, surrogates and line breaks included.
NAMES = st.text(st.characters(), max_size=1024)
PARTS = ["*", "**", "?", "a", "{x}", "{y:int}", "{z:date}", "{w:us|de}", "b*", "*{v}-{u}", "ü #1%20+[x]", "{{}}"]
PATTERNS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6, unique=True).map("/".join)


@pytest.mark.parametrize(
    ("pattern", "taken", "other"),
    [
        ("*.csv", ["a.csv", ".csv", "a b.csv"], ["a/b.csv", "a.csvx", "a.CSV"]),
        ("a/*", ["a/b", "a/\n"], ["a/", "a", "a/b/c"]),
        ("a/**", ["a/b", "a/b/c", "a/b//c/"], ["a/", "a", "ab/c"]),
        ("**", ["a", "a/b"], []),
        ("**/a", ["a", "b/a", "b/c/a"], ["ba", "b/ba"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "a/b/c"]),
        ("a/**/**/b", ["a/b", "a/x/y/b"], ["a/x"]),
        ("a?c", ["abc", "aüc", "a𝄞c"], ["ac", "a/c", "abbc"]),
        ("a[1]/*.csv", ["a[1]/x.csv"], ["a1/x.csv"]),
        ("a.b+c(d)|e^$", ["a.b+c(d)|e^$"], ["aXb+c(d)|e^$"]),
        ("{{a}}/{b}", ["{a}/x"], ["a/x", "{a}/"]),
        ("{w:us|de}/*", ["us/x", "de/x"], ["uss/x", "US/x", "us|de/x"]),
        ("{w:a.c|*}", ["a.c", "*"], ["abc", "x"]),
        ("{w:us|de|fr}", ["us", "de", "fr"], ["us|de", "it"]),
        ("#", ["#"], ["a", "*"]),
        ("a/ /!", ["a/ /!"], ["a/b/!", "a/ /b"]),
        ("{d:date:%Y #%m}", ["2026 #01"], ["2026#01", "2026 %01"]),
        ("a/*", ["a/b"], ["a/\ud800", "\udfff"]),
    ],
)
def test_what_a_pattern_takes(pattern: str, taken: list[str], other: list[str]) -> None:
    """The whole name, `*` and `?` within a segment, `**` over segments, everything else literally."""
    compiled = Pattern.parse(pattern)
    assert [name for name in taken if not compiled.takes(name)] == []
    assert [name for name in other if compiled.takes(name)] == []


def test_captures_are_values_of_their_types() -> None:
    """Text as it stands, numbers, dates of any form; leading zeros are the template's business."""
    pattern = Pattern.parse("{c:us|de}/{y:int}/{d:date}/{e:date:%d.%m.%Y}/{name}.csv")
    assert pattern.match("us/007/2026-01-31/28.02.2026/ä b#%20+.csv") == {
        "c": "us",
        "y": 7,
        "d": date(2026, 1, 31),
        "e": date(2026, 2, 28),
        "name": "ä b#%20+",
    }


@pytest.mark.parametrize(
    ("pattern", "name", "captured"),
    [
        ("{a}-{b}", "x-y-z", {"a": "x", "b": "y-z"}),
        ("{a}{b}", "xyz", {"a": "x", "b": "yz"}),
        ("*{n:int}.csv", "part007.csv", {"n": 7}),
        ("{rest}{n:int}", "a12", {"rest": "a", "n": 12}),
        ("**/{a}/**/{b}", "1/2/3/4", {"a": "1", "b": "4"}),
        ("{a:us|usa}{b}", "usax", {"a": "us", "b": "ax"}),
    ],
)
def test_each_part_takes_as_little_as_it_can_the_first_one_first(
    pattern: str, name: str, captured: dict[str, object]
) -> None:
    """One rule decides wherever a name could be read in several ways."""
    assert Pattern.parse(pattern).match(name) == captured


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{d:date}", "2026-02-31"),
        ("{d:date}", "0000-01-01"),
        ("{d:date:%Y%m}", "202613"),
    ],
)
def test_capture_of_the_right_shape_without_a_value(pattern: str, name: str) -> None:
    """It is said, rather than taken for another name."""
    with pytest.raises(CaptureError, match=f"d is '{name}', which is no date"):
        Pattern.parse(pattern).match(name)


def test_digits_are_ascii_digits() -> None:
    """Other scripts' digits are text: a number that looks different to everyone is none."""
    assert Pattern.parse("{n:int}").match("١٢") is None


def test_case_rule() -> None:
    """Without case, captures still hold what stands in the name."""
    pattern = Pattern.parse("Income/{c:us|de}/É*.csv", case_sensitive=False)
    assert pattern.match("INCOME/US/éa.CSV") == {"c": "US"}
    assert Pattern.parse("Income/{c:us|de}/*.csv").match("INCOME/us/a.csv") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("/a", "starts with a slash"),
        ("a//b", "empty segment"),
        ("a/", "ends with a slash"),
        ("a/../b", r"'\.\.' segment"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("a\ud800", "half a surrogate"),
        ("a/**b/c", r"segment 2, '\*\*b': '\*\*' has other characters"),
        ("{a}/x/{a:int}", "segment 3, '{a:int}': captures 'a' a second time"),
        ("{a}{a}", "segment 1, '{a}{a}': captures 'a' a second time"),
        ("a/{b", "segment 2, '{b': expected '}'"),
        ("a/b}", "segment 2"),
        ("{a:x/y}", "captures stay within a segment"),
        ("{}", "is no name for a capture"),
        ("{0}", "is no name for a capture"),
        ("{a.b}", "is no name for a capture"),
        ("{a[0]}", "is no name for a capture"),
        ("{a!r}", "no meaning"),
        ("{a:str}", "'str' is no type of capture; there are int, date"),
        ("{a:us|}", "empty word"),
        ("{a:us|us}", "one twice"),
        ("{a:date:%H}", "it may have %Y, %m and %d"),
        ("{a:date:%m%d}", "needs %Y"),
        ("{a:date:%Y%Y}", "each part once"),
        ("{a:date:%Y%}", "has '%'"),
        ("{a:date:%Y%j}", "has '%j'"),
        ("x" * 1025, "needs 1,025 characters; a blob's name has at most 1,024"),
        ("x" * 1024 + "{a}", "needs 1,025 characters"),
        ("/".join(["x" * 100] * 11), "needs 1,110 characters"),
    ],
)
def test_patterns_that_can_never_match_are_faults_with_their_place(text: str, fault: str) -> None:
    """Each is refused when the configuration is read, in words that say what to write instead."""
    with pytest.raises(PatternError, match=fault):
        Pattern.parse(text)


@pytest.mark.parametrize(
    ("pattern", "case_sensitive", "prefix"),
    [
        ("income/us/*.csv", True, "income/us/"),
        ("income/{c}/a", True, "income/"),
        ("in{{c}}/{d}", True, "in{c}/"),
        ("a/b?", True, "a/b"),
        ("a.csv", True, "a.csv"),
        ("2026/_x/*", False, "2026/_"),
        ("**", True, ""),
    ],
)
def test_literal_prefix(pattern: str, case_sensitive: bool, prefix: str) -> None:
    """Where a listing may start; without case it ends before the first letter."""
    assert literal_prefix(pattern, case_sensitive) == prefix
    assert Pattern.parse(pattern, case_sensitive).literal_prefix == prefix


@given(PATTERNS, NAMES, st.booleans())
def test_no_name_raises(pattern: str, name: str, case_sensitive: bool) -> None:
    """Whatever the name, it is taken or not; only a typed capture may say that it holds no value."""
    compiled = Pattern.parse(pattern, case_sensitive)
    try:
        captures = compiled.match(name)
    except CaptureError:
        captures = {}
    assert (captures is not None) == compiled.takes(name)
    if captures is not None:
        assert name.startswith(compiled.literal_prefix)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=1000))
def test_captured_text_is_the_names_own(text: str) -> None:
    """Unicode, spaces, `#`, `%` and `+` come through unharmed, at any length."""
    assert Pattern.parse("income/{x}/a.csv").match(f"income/{text}/a.csv") == {"x": text}


def test_name_made_to_be_slow_is_not() -> None:
    """With a backtracking engine this test would not end; here it takes a millisecond."""
    pattern = Pattern.parse(
        "/".join(["**", *(f"*{{x{number}}}a*/**" for number in range(8)), "b"]).replace("**/b", "b")
    )
    assert pattern.match("aaaaaaa/" * 127 + "c") is None
    assert pattern.match("aaaaaaa/" * 127 + "b") is not None


@pytest.mark.parametrize("code", [0, 0x1F, 0xD800, 0xDFFF])
def test_character_that_no_name_has(code: int) -> None:
    """The first and the last of each kind; their neighbours are letters like others."""
    with pytest.raises(PatternError, match="control character or half a surrogate"):
        Pattern.parse(f"a{chr(code)}b")
    for neighbour in (" ", "\ud7ff", "\ue000", "\ue001", "\uffff", "😀"):
        assert Pattern.parse(f"a{neighbour}b").takes(f"a{neighbour}b")


@pytest.mark.parametrize(
    "text", ["*", "**/x", "a/**/b", "a/**", "{c}/{day:date}/{n:int}-{w:us|de}.csv", "{m:date:%Y%m}/??.csv", "{{a}}/*"]
)
def test_samples_are_names_that_the_pattern_takes(text: str) -> None:
    """All but those of a final '**' that is empty, and as different as it lets them be."""
    made, found = Pattern.parse(text), samples(text)
    assert len(found) == 9
    taken = [name for name in found if made.takes(name)]
    assert len(taken) == (6 if text.endswith("**") else 9)
    assert len(set(taken)) > 1


def test_pattern_as_long_as_a_name_can_be() -> None:
    """A capture holds a character at least."""
    assert Pattern.parse("x" * 1023 + "{a}").match("x" * 1023 + "y") == {"a": "y"}


def test_line_break_in_a_name() -> None:
    """It is a character like others, also for what spans segments."""
    assert Pattern.parse("a/**").takes("a/b\nc/d")
    assert Pattern.parse("a/**/d").takes("a/b\nc/d")
