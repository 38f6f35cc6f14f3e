"""Addresses of blobs, as storage, Event Grid and people write them. Never asks whether anything is there."""

import re
from typing import NamedTuple
from urllib.parse import unquote

_ADDRESS = re.compile(r"(?i)(https?)://([^/]*)/+(.*)", re.DOTALL)
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?")


class Location(NamedTuple):
    """Where a blob is."""

    account: str
    container: str
    path: str


def located(url: str) -> Location | None:
    """Return what an https address of a blob names; None when it is none. A signature in it is left out."""
    found = _ADDRESS.fullmatch(url)
    if found is None:
        return None
    host, rest = found[2], unquote(found[3].partition("?")[0])  # a bare '#' may be part of a name
    account = host.partition(".")[0]
    if _LOOPBACK.fullmatch(host):  # the emulator has the account in the path
        account, _, rest = rest.partition("/")
    container, _, path = rest.partition("/")
    return Location(account, container, path)
