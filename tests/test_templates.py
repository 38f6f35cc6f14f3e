"""Text with fields: forms, faults, and that nothing is ever evaluated."""

import contextlib
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules.templates import Template, TemplateError, Value

VALUES: dict[str, Value] = {
    "country": "uS",
    "day": date(2026, 1, 5),
    "old": date(7, 1, 1),
    "n": 7,
    "at": datetime(2026, 1, 5, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
}
FIELDS: dict[str, type] = {"country": str, "day": date, "old": date, "n": int, "at": datetime}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain %Y", "plain %Y"),
        ("{country}", "uS"),
        ("{country:upper}-{country:lower}-{country:title}", "US-us-Us"),
        ("{n}/{n:04}", "7/0007"),
        ("{day}", "2026-01-05"),
        ("{day:%Y%m%d}|{day:%j}|{day:%G-W%V}|{day:%%}", "20260105|005|2026-W02|%"),
        ("{old}|{old:%Y}", "0007-01-01|0007"),
        ("{at}|{at:%Y-%m-%d %H:%M:%S}", "2026-01-04T23:02:03Z|2026-01-04 23:02:03"),
        ("{{country}}", "{country}"),
    ],
)
def test_forms(text: str, filled: str) -> None:
    """Of text, numbers, dates and times; times are UTC, whatever zone they came in."""
    template = Template.parse(text)
    template.check(FIELDS)
    assert template.render(VALUES) == filled


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{county}", "there is no field 'county' here; there are at, country, day, n, old"),
        ("{country:uper}", "'uper' is no form for {country}, which is text; expected one of upper, lower, title"),
        ("{day:%H}", "which is a date"),
        ("{day:%Y%}", "which is a date"),
        ("{day:long}", "which is a date"),
        ("{n:x}", "which is a number"),
        ("{n:upper}", "which is a number"),
        ("{at:%f}", "which is a time"),
        ("{n:{country}}", "which is a number"),
        ("{country.__class__}", "is no field"),
        ("{country[0]}", "is no field"),
        ("{}", "is no field"),
        ("{0}", "is no field"),
        ("{country!r}", "no meaning"),
        ("{country", "written twice"),
        ('{"a": 1}', "written twice|is no field"),
    ],
)
def test_faults_are_found_before_anything_arrives(text: str, fault: str) -> None:
    """An unknown field or form, and whatever `str.format` would evaluate."""
    with pytest.raises(TemplateError, match=fault):
        Template.parse(text).check(FIELDS)


def test_field_without_a_value_is_an_error() -> None:
    """Never an empty text."""
    with pytest.raises(TemplateError, match=r"no value for \{country\}"):
        Template.parse("{country}").render({})


@given(st.text())
def test_any_text_parses_or_says_what_is_wrong(text: str) -> None:
    """And with its braces doubled it means itself."""
    with contextlib.suppress(TemplateError):
        Template.parse(text)
    assert Template.parse(text.replace("{", "{{").replace("}", "}}")).render({}) == text


@given(st.text(), st.dates(), st.datetimes(timezones=st.just(UTC)), st.integers(min_value=0))
def test_no_value_fails(text: str, day: date, at: datetime, number: int) -> None:
    """Captures hold anything; braces in them are no fields."""
    values: dict[str, Value] = {"a": text, "b": day, "c": at, "d": number}
    form = "{a}{a:upper}{b}{b:%Y%m%d%j%G%V}{c}{c:%Y%H%M%S}{d}{d:09}"
    assert Template.parse(form).render(values).startswith(text)


def test_unknown_field_behind_a_brace_that_is_text() -> None:
    """All parts are looked at."""
    with pytest.raises(TemplateError, match="nofield"):
        Template.parse("{{a}} {nofield}").check({"country": str})
