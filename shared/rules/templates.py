"""Text with fields: `"{country:upper}-{day:%Y%m%d}"`. What a rule says in terms of an arrival and its captures.

    {name}                       as it is; a date as 2026-01-31, a time as 2026-01-31T12:00:00Z, a number in digits
    {name:upper} lower title     of text
    {name:04}                    of a number: at least so many digits
    {name:%Y/%m/%d}              of a date or a time: %Y %m %d %j, %G %V (ISO year and week); of a time also %H %M %S
    {{  }}                       a brace

Times are UTC. Never evaluates anything: a field is a plain name, and what follows the colon is one of the forms above.
A field that has no value is an error, never an empty text.
"""

import re
import string
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache

Value = str | int | date  # a datetime is a date too

_TEXT: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "title": str.title}
# By hand, since strftime follows the machine's locale and does not fill up years everywhere.
_DATE: dict[str, Callable[[date], str]] = {
    "Y": lambda value: f"{value.year:04}",
    "m": lambda value: f"{value.month:02}",
    "d": lambda value: f"{value.day:02}",
    "j": lambda value: f"{value.timetuple().tm_yday:03}",
    "G": lambda value: f"{value.isocalendar().year:04}",
    "V": lambda value: f"{value.isocalendar().week:02}",
    "%": lambda _: "%",
}
_TIME: dict[str, Callable[[datetime], str]] = {
    "H": lambda value: f"{value.hour:02}",
    "M": lambda value: f"{value.minute:02}",
    "S": lambda value: f"{value.second:02}",
}


class TemplateError(ValueError):
    """What is wrong with a template, or with one of its fields."""


class Template:
    """A parsed template. Made by `parse`."""

    def __init__(self, text: str, parts: tuple[tuple[str, str | None, str], ...]) -> None:
        """Keep the parts: text before, the field's name, its form."""
        self.text, self._parts = text, parts

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> "Template":
        """Take a template apart. Raises TemplateError."""
        parts = list[tuple[str, str | None, str]]()
        try:
            for literal, name, form, conversion in string.Formatter().parse(text):
                if conversion:
                    raise TemplateError(f"'!{conversion}' has no meaning here")
                if name is not None and not name.isidentifier():
                    raise TemplateError(
                        f"{{{name}}} is no field; a field is a plain name, and a brace is written twice"
                    )
                parts.append((literal, name, form or ""))
        except TemplateError:
            raise
        except ValueError as error:
            raise TemplateError(f"{error}; a brace that is no field is written twice") from error
        return Template(text, tuple(parts))

    def check(self, fields: Mapping[str, type]) -> None:
        """Raise TemplateError when a field is not among `fields`, or its form does not fit its type."""
        for _, name, form in self._parts:
            if name is None:
                continue
            if name not in fields:
                raise TemplateError(f"there is no field {name!r} here; there are {', '.join(sorted(fields))}")
            _check_form(name, form, fields[name])

    def render(self, values: Mapping[str, Value]) -> str:
        """Fill in the fields. Raises TemplateError when one has no value or its form does not fit."""
        text = ""
        for literal, name, form in self._parts:
            text += literal
            if name is not None:
                if name not in values:
                    raise TemplateError(f"there is no value for {{{name}}}")
                text += _formatted(name, form, values[name])
        return text


def _check_form(name: str, form: str, kind: type) -> None:
    """Raise TemplateError when `form` is not one for values of `kind`."""
    if not form:
        return
    if issubclass(kind, date):
        known = {**_DATE, **(_TIME if issubclass(kind, datetime) else {})}
        wrong = [letter for letter in re.findall("%(.?)", form, re.DOTALL) if letter not in known]
        wanted = "made of " + " ".join(f"%{letter}" for letter in known)
        sound = "%" in form and not wrong and "{" not in form
    elif issubclass(kind, int):
        wanted, sound = "a number of digits such as 04", re.fullmatch("0[1-9][0-9]?", form, re.ASCII) is not None
    else:
        wanted, sound = f"one of {', '.join(_TEXT)}", form in _TEXT
    if not sound:
        what = {str: "text", int: "a number", date: "a date", datetime: "a time"}[kind]
        raise TemplateError(f"{form!r} is no form for {{{name}}}, which is {what}; expected {wanted}")


def _formatted(name: str, form: str, value: Value) -> str:
    kind = next(kind for kind in (datetime, date, int, str) if isinstance(value, kind))
    _check_form(name, form, kind)
    if isinstance(value, str):
        return _TEXT[form](value) if form else value
    if isinstance(value, int):
        return f"{value:{form}d}"
    if not isinstance(value, datetime):
        return re.sub("%(.)", lambda found: _DATE[found[1]](value), form or "%Y-%m-%d")
    time = value.astimezone(UTC)
    return re.sub(
        "%(.)",
        lambda found: _TIME[found[1]](time) if found[1] in _TIME else _DATE[found[1]](time),
        form or "%Y-%m-%dT%H:%M:%SZ",
    )
