"""Texts from outside as a log shows them: nothing in them ends a line, hides it, turns its direction or looks like one.

Never changes what is stored or sent.
"""

import copy
import json
import logging
from types import TracebackType
from typing import Any

type _Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Lines(str):
    """A text of several lines that the log is to show as such, like a traceback."""

    __slots__ = ()


def printable(text: str) -> str:
    """Return a text as it is when all of it can be printed in a line, else as JSON in ASCII."""
    return text if text.isprintable() else json.dumps(text)


def in_one_line(record: logging.LogRecord) -> bool:
    """Make the arguments of a record printable; a filter for handlers, which lets everything pass."""
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(value) for value in record.args)
    return True


def handler(form: str, clock: str | None = None) -> logging.Handler:
    """Return what writes records to stderr in this form, whoever made them."""
    made = logging.StreamHandler()
    made.setFormatter(_Formatter(form, clock))
    return made


class _Formatter(logging.Formatter):
    """Shows each argument in a line; what has lines of its own, tracebacks too, is set in, as no record begins so."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)  # other handlers have the arguments as they are
        in_one_line(record)
        record.exc_text = None  # what another handler made of it
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = _set_in(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the library's name
        return _MARGIN + _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the library's name
        return _MARGIN + _set_in(super().formatStack(stack_info))


_MARGIN = "    "


def _set_in(text: str) -> str:
    """Return a text with a margin before each line but the first, and what cannot be printed in a line escaped."""
    first, *others = ("".join(map(_escaped, line)) for line in text.split("\n"))
    return "\n".join([first, *(_MARGIN + line for line in others)])


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _shown(value: Any) -> Any:
    if isinstance(value, Lines) or not isinstance(value, str | Exception):
        return value
    return printable(str(value))
