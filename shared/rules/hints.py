"""What a person may have meant who writes an address where a path below the container's root belongs.

Never changes what is asked for: it is said beside the error.
"""

import re
from urllib.parse import unquote

_ADDRESS = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://([^/]*)/+(.*)", re.DOTALL)
_ON_DATASTORE = re.compile(r"(?:.*/)?datastores/([^/]+)/paths/(.+)", re.DOTALL)
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?")


def hint(text: str, container: str, datastore: str) -> str:
    """Return which path below the root of `container`, registered as `datastore`, may be meant; empty: as it is."""
    place, path = _read(text.strip(), (container, datastore))
    if path in ("", text):
        return ""
    if place not in ("", container, datastore):
        return f"It names {place!r}; datastore {datastore!r} is container {container!r}."
    return f"A path is relative to the container's root: did you mean {path!r}?"


def _read(text: str, names: tuple[str, str]) -> tuple[str, str]:
    """Return the container or datastore that a text names, if it does, and the path that is left."""
    if found := _ADDRESS.fullmatch(text):
        scheme, host, rest = found[1].lower(), found[2], found[3]
        if scheme == "azureml":
            on = _ON_DATASTORE.fullmatch(rest if rest.startswith("datastores") else f"{host}/{rest}")
            return (on[1], on[2]) if on else ("", "")
        if scheme in ("http", "https"):
            rest = unquote(rest.partition("?")[0])  # what follows may be a signature
            if _LOOPBACK.fullmatch(host):
                rest = rest.partition("/")[2]  # the emulator has the account in the path
            place, _, path = rest.partition("/")
            return place, path
        return host.partition("@")[0], rest  # abfss://container@account.dfs.core.windows.net/path
    first, _, rest = text.lstrip("/").partition("/")
    if first in names and rest:
        return first, rest
    decoded = unquote(text.lstrip("/"))
    return "", decoded if "\ufffd" not in decoded else ""
