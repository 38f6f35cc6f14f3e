"""JSON and values as types: what everybody in this house reads them with, since threads read them, too.

msgspec finds out how a struct is read when one is read first. A second thread that reads the same meanwhile meets what
is half found out, and the whole process crashes (msgspec 0.22, SIGSEGV): with a burst of arrivals right after a start.
So the first reading of each type is prepared by one thread at a time. Never judges what it reads.
"""

import threading
from typing import Any

import msgspec

_lock = threading.Lock()
_known = set[object]()


def decode[T](content: bytes | str, kind: type[T]) -> T:
    """Return JSON as `kind`. Raises msgspec.DecodeError, UnicodeDecodeError."""
    _prepare(kind)
    return msgspec.json.decode(content, type=kind)


def convert[T](values: Any, kind: type[T], *, strict: bool = True) -> T:
    """Return values as `kind`; not `strict`: texts are taken for numbers and the like. Raises ValidationError."""
    _prepare(kind)
    return msgspec.convert(values, kind, strict=strict)


def _prepare(kind: object) -> None:
    if kind not in _known:
        with _lock:
            msgspec.json.Decoder(kind)  # finds out how it is read, and all that it consists of
            _known.add(kind)
