"""Does a rule take a blob: as data, as the marker or manifest of a folder, and of which folder?

Judges one blob by its name and its properties. Never asks what else is there, nor how old the blob is.
"""

from shared.rules.arrival import Arrival
from shared.rules.patterns import CaptureError, Pattern, Value
from shared.rules.rule import Rule

Captures = dict[str, Value]


def taken(rule: Rule, arrival: Arrival) -> Captures | str:
    """Return what the rule's captures hold when it takes a blob as data; else the reason why it does not.

    Only the name counts where the blob's properties could not be read (`metadata` is None), and while it is no data
    yet: during a copy its size is none.
    """
    path = arrival.path
    try:
        captures = Pattern.parse(rule.path, rule.case_sensitive).match(path)
    except CaptureError as error:
        return _ignored(rule, path) or f"a capture does not convert: {error}"
    if captures is None:
        return f"path does not match {rule.path!r}"
    if reason := _ignored(rule, path):
        return reason
    if arrival.not_yet:
        return captures
    if arrival.size == 0:
        return "empty blob"
    if arrival.metadata is None:
        return captures
    return _unmet(rule, arrival.size, arrival.metadata) or captures


def _ignored(rule: Rule, path: str) -> str | None:
    """Return which of the rule's `ignore` takes a path, in words."""
    found = (pattern for pattern in rule.ignore if Pattern.parse(pattern, rule.case_sensitive).takes(path))
    pattern = next(found, None)
    return f"is ignored by {pattern!r}" if pattern is not None else None


def _unmet(rule: Rule, size: int, metadata: dict[str, str]) -> str | None:
    """Return which of the rule's conditions on a blob's properties does not hold, in words."""
    if rule.min_bytes is not None and size < rule.min_bytes:
        return f"has {size:,} bytes, less than the rule's min_bytes {rule.min_bytes:,}"
    if rule.max_bytes is not None and size > rule.max_bytes:
        return f"has {size:,} bytes, more than the rule's max_bytes {rule.max_bytes:,}"
    present = {name.lower(): value for name, value in metadata.items()} if rule.metadata else {}
    for name, wanted in rule.metadata.items():
        if (found := present.get(name.lower())) != wanted:
            return f"metadata {name!r} is {found!r}, not {wanted!r}" if found is not None else f"no metadata {name!r}"
    return None


def announced(rule: Rule, path: str) -> tuple[str, Captures | str] | None:
    """Return the name of the marker or manifest that `path` is one of, as the rule writes it; None when it is neither.

    With it come the captures of its folder, or the reason why they do not convert.
    """
    if rule.settle is None:
        return None
    last = path.rpartition("/")[2]
    for name in (rule.settle.marker, rule.settle.manifest):
        if not name or (last != name and (rule.case_sensitive or last.casefold() != name.casefold())):
            continue
        try:
            captures = Pattern.parse(rule.announcing(name), rule.case_sensitive).match(path)
        except CaptureError as error:
            return name, f"a capture does not convert: {error}"
        if captures is not None:
            return name, captures
    return None


def folder_of(rule: Rule, path: str) -> str:
    """Return the folder that a blob which the rule takes belongs to; empty at the container's root."""
    segments, folder = path.split("/"), rule.data_path.folder
    if folder is None:
        return "/".join(segments[:-1])
    depth = folder.count("/") + 1
    if "**" in folder.split("/"):  # counted from the end, where the rule's check sees to it that the depth is fixed
        depth -= rule.path.count("/") + 1
    return "/".join(segments[:depth])


def member(rule: Rule, folder: str, arrival: Arrival) -> Captures | None:
    """Return the captures of a blob that is the folder's data to the rule; None: a marker, ignored, of another folder.

    A blob that is no data yet is the folder's, too, as far as its name tells: see `Arrival.not_yet`.
    """
    if (
        arrival.is_folder
        or arrival.datastore != rule.datastore
        or not arrival.path.startswith(f"{folder}/")
        or announced(rule, arrival.path)
    ):
        return None
    captures = taken(rule, arrival)
    return captures if not isinstance(captures, str) and folder_of(rule, arrival.path) == folder else None
