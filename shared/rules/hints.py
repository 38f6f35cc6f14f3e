"""What a person may have meant who writes an address where a path below the container's root belongs.

Never changes what is asked for: it is said beside the error.
"""

import re
from urllib.parse import unquote

from shared.rules.locations import located

_ADDRESS = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://([^/]*)/+(.*)", re.DOTALL)
_ON_DATASTORE = re.compile(r"(?:.*/)?datastores/([^/]+)/paths/(.+)", re.DOTALL)


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
    if at := located(text):
        return at.container, at.path
    if found := _ADDRESS.fullmatch(text):
        scheme, host, rest = found[1].lower(), found[2], found[3]
        if scheme == "azureml":
            on = _ON_DATASTORE.fullmatch(rest if rest.startswith("datastores") else f"{host}/{rest}")
            return (on[1], on[2]) if on else ("", "")
        return host.partition("@")[0], rest  # abfss://container@account.dfs.core.windows.net/path
    first, _, rest = text.lstrip("/").partition("/")
    if first in names and rest:
        return first, rest
    decoded = unquote(text.lstrip("/"))
    return "", decoded if "\ufffd" not in decoded else ""
