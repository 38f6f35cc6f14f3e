"""When is a folder complete? Pure: decides from what is in the folder and when it came; no clock, no network inside.

Never guesses: what is not there yet is named.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import msgspec

from shared.arrival import Arrival
from shared.ledger import Folder
from shared.rules import Settle


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Train on it now. `missing` is what the rule asks for and did not come within `max_wait`."""

    missing: str = ""


class NotYet(msgspec.Struct, frozen=True, kw_only=True):
    """Wait; `missing` says for what."""

    missing: str


class GiveUp(msgspec.Struct, frozen=True, kw_only=True):
    """`max_wait` is over, and the rule says not to start then."""

    missing: str


def too_early(settle: Settle, folder: Folder, now: datetime) -> bool:
    """Tell, without a look into the folder, that it cannot be complete: something came within the quiet period."""
    quiet = settle.quiet_for
    return quiet is not None and now - folder.last_at < quiet and not overdue(settle, folder, now)


def overdue(settle: Settle, folder: Folder, now: datetime) -> bool:
    """Tell whether the folder has been waited for as long as the rule allows."""
    wait = settle.longest_wait
    return wait is not None and now - folder.first_at >= wait


def readiness(
    settle: Settle,
    folder: Folder,
    names: set[str],
    files: Sequence[Arrival],
    listed: Sequence[str] | None,
    now: datetime,
) -> Ready | NotYet | GiveUp:
    """Decide about a folder that holds the blobs `names`, of which `files` are data.

    `listed` is what the folder's manifest names, when the rule has one and it is there.
    """
    missing = list[str]()
    if settle.marker and f"{folder.folder}/{settle.marker}" not in names:
        missing.append(f"the marker {settle.marker!r}")
    if settle.manifest and listed is None:
        missing.append(f"the manifest {settle.manifest!r}")
    if absent := sorted({f"{folder.folder}/{name}" for name in listed or ()} - names):
        missing.append(f"{len(absent)} files of the manifest, such as {absent[0]!r}")
    newest = max([folder.last_at, *(file.last_modified for file in files)])
    if settle.quiet_for and now - newest < settle.quiet_for:
        missing.append(f"{settle.quiet_for.total_seconds():.0f} s of quiet")
    if len(files) < (settle.min_files or 0):
        missing.append(f"{settle.min_files} files (there are {len(files)})")
    size = sum(file.size for file in files)
    if size < (settle.min_bytes or 0):
        missing.append(f"{settle.min_bytes:,} bytes (there are {size:,})")
    text = ", ".join(missing)
    if not missing:
        return Ready()
    if not overdue(settle, folder, now):
        return NotYet(missing=text)
    return Ready(missing=text) if settle.on_max_wait == "start" else GiveUp(missing=text)


def manifest_names(content: bytes) -> list[str]:
    """Read a manifest: a name relative to the folder on each line, or a JSON object with `path` on each line.

    Raises ValueError naming the line.
    """
    names = list[str]()
    for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
        if not (text := line.strip()):
            continue
        try:
            names.append(json.loads(text)["path"] if text.startswith("{") else text)
        except (json.JSONDecodeError, KeyError) as error:
            raise ValueError(f"line {number}: expected a name, or a JSON object with 'path'") from error
    return names
