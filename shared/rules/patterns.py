"""Patterns over blob names: globs whose captures become values. `income/{country}/{day:date}/*.csv`.

    *  ?                any characters, or one, within a segment; a `*` that is a segment alone takes at least one
    **                 any number of whole segments, also none; as the last one it takes everything below
    {name}             one character or more of a segment, as text
    {name:int}         digits, as a number
    {name:date}        2026-01-31, as a date; {name:date:%Y%m%d} for another form of %Y, %m and %d
    {name:us|de|fr}    one of these words
    {{  }}             a brace

A pattern takes the whole name. Where it could be read in several ways the first part takes as little as it can, then
the second, and so on. Everything else stands for itself: `[`, `#`, `%`, `+`, a space, any letter of any script.

Matching takes time linear in the name, whatever the pattern (RE2 has no backtracking). Never looks at anything but
the name.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import re2

LONGEST_NAME = 1024  # characters in a blob's name, so no pattern of more fixed ones can match
_DIGITS = {"Y": 4, "m": 2, "d": 2}  # of each directive in the form of a date

Value = str | int | date


class PatternError(ValueError):
    """What is wrong with a pattern, and in which segment."""


class CaptureError(ValueError):
    """The name has the pattern's shape, but what a capture holds is no value of its type."""


@dataclass(frozen=True)
class Capture:
    """One capture of a pattern."""

    name: str
    type: type[str | int | date]
    form: str = ""
    """Of a date: as for strptime."""

    def value(self, text: str) -> Value:
        """Return what `text` stands for. Raises CaptureError."""
        try:
            if self.type is date:
                return datetime.strptime(text, self.form).date()
            return int(text) if self.type is int else text
        except ValueError as error:
            kind = f"date ({self.form})" if self.form else "number"
            raise CaptureError(f"{self.name} is {text!r}, which is no {kind}") from error


class Pattern:
    """A compiled pattern. Made by `parse`."""

    def __init__(self, text: str, case_sensitive: bool, parts: list[str], captures: tuple[Capture, ...]) -> None:
        """Compile `parts`, the regular expression of each segment with its slash."""
        options = re2.Options()
        options.case_sensitive = case_sensitive
        options.dot_nl = True  # a name may hold a line break
        options.log_errors = False
        self.text, self.case_sensitive, self.captures = text, case_sensitive, captures
        self.literal_prefix = literal_prefix(text, case_sensitive)
        try:
            self._regex = re2.compile("".join(parts), options)
        except re2.error as error:
            raise PatternError(f"is too large: {error}") from error

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str, case_sensitive: bool = True) -> "Pattern":
        """Compile a pattern. Raises PatternError with what is wrong and where."""
        if fault := _fault(text):
            raise PatternError(fault)
        segments = text.split("/")
        parts, captures, fixed = list[str](), dict[str, Capture](), 0
        for number, segment in enumerate(segments, 1):
            last = number == len(segments)
            if segment == "**":
                parts.append(".+" if last else "(?:.+?/)??")
                continue
            try:
                expression, found, length = _segment(segment)
                for capture in found:
                    if captures.setdefault(capture.name, capture) is not capture:
                        raise PatternError(f"captures {capture.name!r} a second time; give it another name")
            except PatternError as error:
                raise PatternError(f"segment {number}, {segment!r}: {error}") from error
            parts.append(expression if last else f"{expression}/")
            fixed += length + (not last)
        if fixed > LONGEST_NAME:
            raise PatternError(f"needs {fixed:,} characters; a blob's name has at most {LONGEST_NAME:,}")
        return Pattern(text, case_sensitive, parts, tuple(captures.values()))

    def match(self, path: str) -> dict[str, Value] | None:
        """Return the captures of a blob's name, or None when the pattern does not take it.

        Raises CaptureError when a typed capture holds no value of its type, such as a thirteenth month.
        """
        found = self._found(path)
        if found is None:
            return None
        return {capture.name: capture.value(found.group(number)) for number, capture in enumerate(self.captures, 1)}

    def takes(self, path: str) -> bool:
        """Tell whether the pattern takes the name, whatever its captures hold."""
        return self._found(path) is not None

    def _found(self, path: str) -> "re2._Match | None":
        if self.case_sensitive and not path.startswith(self.literal_prefix):  # most names of a container, quickly
            return None
        try:
            return self._regex.fullmatch(path)
        except UnicodeEncodeError:  # half a surrogate pair: no blob is called so
            return None


def samples(text: str) -> list[str]:
    """Return some names that a pattern takes, as different as it lets them be."""
    return [
        "/".join(part for segment in text.split("/") for part in _sample(segment, word, depth))
        for word in ("a", "7", "Zz-9")
        for depth in (0, 1, 2)
    ]


def _sample(segment: str, word: str, depth: int) -> list[str]:
    """Return segments that a pattern's segment takes."""
    if segment == "**":
        return [word] * depth
    made = ""
    for literal, name, form in _fields(segment):
        made += literal.replace("*", word).replace("?", word[0])
        if name is not None:
            kind, _, rest = form.partition(":")
            words = form.split("|")
            date_text = date(2024, len(word), 20 + len(word)).strftime(rest or "%Y-%m-%d")
            made += {"": word, "int": str(ord(word[0])), "date": date_text}.get(kind, words[len(word) % len(words)])
    return [made]


def literal_prefix(text: str, case_sensitive: bool = True) -> str:
    """Return what every name that the pattern takes begins with: where a listing may start."""
    prefix = list[str]()
    rest = iter(text)
    for character in rest:
        if character in "*?":
            break
        if character in "{}" and next(rest, "") != character:  # a doubled brace is a brace
            break
        if not case_sensitive and not character.upper() == character.lower() == character.casefold() == character:
            break
        prefix.append(character)
    return "".join(prefix)


def escaped(text: str) -> str:
    """Return a text without `*` and `?` as a pattern of itself."""
    return text.replace("{", "{{").replace("}", "}}")


def _fault(text: str) -> str | None:
    """Say why no blob's name could ever match, as far as the slashes and characters tell."""
    segments = text.split("/")
    if not text:
        return "is empty"
    if text.startswith("/"):
        return "starts with a slash; it is relative to the container's root"
    if "" in segments[:-1]:
        return "has an empty segment ('//')"
    if text.endswith("/"):
        return "ends with a slash, which no file's name does; did you mean a final '**'?"
    if {".", ".."} & set(segments):
        return "has a '.' or '..' segment, which no blob's name has"
    if "\\" in text:
        return "has a backslash; segments are separated by '/'"
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text):
        return "has a control character or half a surrogate pair, which no blob's name has"
    return None


def _segment(text: str) -> tuple[str, list[Capture], int]:
    """Return the regular expression of a segment, its captures, and how many characters it takes at least."""
    expression, captures, length = "", list[Capture](), 0
    for literal, name, form in _fields(text):
        if "**" in literal:
            raise PatternError("'**' has other characters beside it; it stands alone between slashes")
        # Lazy throughout: where there is a choice, the first part takes the least.
        expression += re2.escape(literal).replace(r"\*", "[^/]*?").replace(r"\?", "[^/]")
        length += len(literal.replace("*", ""))
        if name is not None:
            capture, inner = _capture(name, form)
            expression += f"({inner})"
            captures.append(capture)
            length += 1
    return ("[^/]+?" if text == "*" else expression), captures, length


def _fields(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield (text before, name, what follows the colon) for each capture; the last name may be None."""
    try:
        for literal, name, form, conversion in string.Formatter().parse(text):
            if conversion:
                raise PatternError(f"'!{conversion}' has no meaning in a pattern")
            yield literal, name, form or ""
    except PatternError:
        raise
    except ValueError as error:
        hint = "captures stay within a segment; for a brace that is part of the name write it twice"
        raise PatternError(f"{error} ({hint})") from error


def _capture(name: str, form: str) -> tuple[Capture, str]:
    """Return a capture and the regular expression of its text."""
    if not (name.isascii() and name.isidentifier()):
        raise PatternError(f"{name!r} is no name for a capture; use letters, digits and underscores")
    kind, _, rest = form.partition(":")
    if not form:
        return Capture(name, str), "[^/]+?"
    if form == "int":
        return Capture(name, int), "[0-9]+?"
    if kind == "date":
        dated = _form(rest) if rest else "%Y-%m-%d"
        digits = (f"[0-9]{{{_DIGITS[text]}}}" if directive else re2.escape(text) for directive, text in _parts(dated))
        return Capture(name, date, dated), "".join(digits)
    words = form.split("|")
    if len(words) < 2:
        raise PatternError(f"{form!r} is no type of capture; there are int, date and words such as us|de")
    if "" in words or len(set(words)) < len(words):
        raise PatternError(f"{form!r} has an empty word, or one twice")
    return Capture(name, str), "|".join(re2.escape(word) for word in words)


def _form(text: str) -> str:
    """Return the form of a date if it can be read back. Raises PatternError."""
    directives = [part for directive, part in _parts(text) if directive]
    if unknown := [part for part in directives if part not in _DIGITS]:
        raise PatternError(f"the date's form {text!r} has '%{unknown[0]}'; it may have %Y, %m and %d")
    if "Y" not in directives or len(set(directives)) < len(directives):
        raise PatternError(f"the date's form {text!r} needs %Y, and each part once")
    return text


def _parts(form: str) -> Iterator[tuple[bool, str]]:
    """Yield each character of a date's form: (True, the letter of a directive) or (False, a character as it is)."""
    characters = iter(form)
    for character in characters:
        yield (True, next(characters, "")) if character == "%" else (False, character)
