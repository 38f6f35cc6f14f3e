"""Texts from outside as a line of a log shows them: nothing in them ends the line, hides it or turns its direction.

Never changes what is stored or sent.
"""

import json
import logging


class Lines(str):
    """A text of several lines that the log is to show as it is, such as a traceback."""

    __slots__ = ()


def printable(text: str) -> str:
    """Return a text as it is when all of it can be printed in a line, else as JSON in ASCII."""
    return text if text.isprintable() else json.dumps(text)


def in_one_line(record: logging.LogRecord) -> bool:
    """Make the arguments of a record printable; a filter for handlers, which lets everything pass."""
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(value) for value in record.args)
    return True


def _shown(value: object) -> object:
    if isinstance(value, Lines) or not isinstance(value, str | Exception):
        return value
    return printable(str(value))
