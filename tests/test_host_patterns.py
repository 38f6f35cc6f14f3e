"""Path patterns of blob triggers."""

import pytest

from local.host import patterns


@pytest.mark.parametrize(
    ("path", "blob", "captures"),
    [
        ("box/{name}", "a/b/c.csv", {"name": "a/b/c.csv"}),
        ("box/in/{name}.csv", "in/x/y.csv", {"name": "x/y"}),
        ("box/in/{name}.csv", "in/x/y.json", None),
        ("box/in/{name}.csv", "out/in/y.csv", None),
        ("box/{base}.{ext}", "a.b.csv", {"base": "a.b", "ext": "csv"}),
        ("box/{country}/{date}/part-{n}.csv", "nl/2026/part-1.csv", {"country": "nl", "date": "2026", "n": "1"}),
        ("box/{{{name}}}", "{x}", {"name": "x"}),
        ("box/a+b ü%.csv", "a+b ü%.csv", {}),
        ("box/{name}", "two\nlines", {"name": "two\nlines"}),
        ("box", "any/thing", {}),
    ],
)
def test_names_and_patterns(path: str, blob: str, captures: dict[str, str] | None) -> None:
    """Captures span slashes, the rest is literal, doubled braces are braces, a bare container takes all."""
    assert patterns.parse(path).captures("box", blob) == captures


def test_another_container() -> None:
    """The container is part of the match."""
    assert patterns.parse("box/{name}").captures("other", "x") is None


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("box/in/{name}.csv", "in/"), ("box/{name}", ""), ("box/{{x{name}y", "{x"), ("box/exact.csv", "exact.csv")],
)
def test_what_every_match_begins_with(path: str, prefix: str) -> None:
    """The scan lists no more than it must."""
    assert patterns.parse(path).prefix == prefix


@pytest.mark.parametrize("path", ["{container}/x", "Box/x", "box/{a}/{a}", "box/{a", "box/a}", "box/{rand-guid}", ""])
def test_patterns_that_cannot_be(path: str) -> None:
    """The error shows the pattern."""
    with pytest.raises(ValueError, match=r"^.{2,}: "):
        patterns.parse(path)
