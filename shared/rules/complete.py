"""When is a folder complete? Decides from what is in it, when that came, and what the time is.

Never guesses: what is not there yet is named. Whatever the rule asks for must hold; and a marker completes one content:

    it is the one that completed the run before      nothing: a newer marker is waited for
    at least as new as the newest data               complete at once
    older than the newest data                       the files were copied in any order: complete after a quiet time
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from shared.rules.folder import Content
from shared.rules.rule import Settle

MARKER_QUIET = timedelta(minutes=5)
"""How long nothing must come after a marker that is older than the data, where the rule has no `quiet`."""
DATA_PAUSE = timedelta(minutes=5)
"""How soon to look again whether a file is data now: that should be told, but nothing must wait for ever."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Train on it now. `missing` is what the rule asks for and did not come within `max_wait`."""

    missing: str = ""


class NotYet(msgspec.Struct, frozen=True, kw_only=True):
    """Wait; `missing` says for what."""

    missing: str
    again_at: datetime | None
    """The earliest time at which it may be complete by the clock alone; None when only a new file can change it."""


class GiveUp(msgspec.Struct, frozen=True, kw_only=True):
    """`max_wait` is over, and the rule says not to start then; or there is nothing to start on."""

    missing: str


class _Missing(msgspec.Struct, frozen=True):
    what: str
    until: datetime | None = None
    """When it is over by itself."""


def earliest(settle: Settle, first_at: datetime, last_at: datetime, now: datetime) -> datetime | None:
    """Return when to look into a folder (or at a file) for the first time; None: now.

    `first_at` and `last_at` are when its first and its latest file were noticed. While it is not quiet there is no use
    in looking, unless it has been waited for as long as the rule allows.
    """
    if settle.quiet_for is None:
        return None
    quiet_at, end_at = last_at + settle.quiet_for, _end(settle, first_at)
    look_at = min(quiet_at, end_at) if end_at else quiet_at
    return look_at if look_at > now else None


def readiness(
    settle: Settle,
    content: Content,
    *,
    first_at: datetime,
    last_at: datetime,
    now: datetime,
    listed: Sequence[str] | None = None,
    unreadable: str = "",
    completed_by: str = "",
) -> Ready | NotYet | GiveUp:
    """Decide about a folder that holds `content`.

    `first_at` and `last_at` are when its first and its latest file were noticed, since its last run. `listed` has the
    full names of the blobs that its manifest lists (see `manifest.names`); None when none was read, and then
    `unreadable` may say why. `completed_by` is the ETag of the marker that completed the folder's last run.
    """
    missing = [
        *_announced(settle, content, last_at, now, completed_by),
        *_listed(settle, content, listed, unreadable),
        *_amounts(settle, content),
    ]
    text = ", ".join(item.what for item in missing)
    if not missing:
        return Ready()
    end_at = _end(settle, first_at)
    if end_at and now >= end_at:
        start = settle.on_max_wait == "start" and content.files > 0
        return Ready(missing=text) if start else GiveUp(missing=text)
    ends = [item.until for item in missing if item.until]
    by_clock = [max(ends)] if len(ends) == len(missing) else []
    return NotYet(missing=text, again_at=min([*by_clock, *([end_at] if end_at else [])], default=None))


def _end(settle: Settle, first_at: datetime) -> datetime | None:
    """Return when it has been waited for as long as the rule allows."""
    return first_at + settle.longest_wait if settle.longest_wait else None


def _announced(
    settle: Settle, content: Content, last_at: datetime, now: datetime, completed_by: str
) -> Iterator[_Missing]:
    """Yield what is missing of marker and quiet."""
    quiet, marker, newest = settle.quiet_for, content.marker, content.newest
    quiet_since, after = max(last_at, newest or last_at), ""
    if settle.marker and marker is None:
        yield _Missing(f"the marker {settle.marker!r}")
    elif settle.marker and marker and marker.etag == completed_by:
        yield _Missing(f"a newer marker {settle.marker!r} (the one that is there has completed the run before)")
    elif settle.marker and marker and newest and marker.last_modified < newest:
        quiet = quiet or MARKER_QUIET
        quiet_since = max(quiet_since, marker.last_modified)
        after = f" (the marker {settle.marker!r} is older than the newest data)"
    if quiet and now < quiet_since + quiet:
        yield _Missing(f"{quiet.total_seconds():.0f} s of quiet{after}", until=quiet_since + quiet)
    if content.not_yet:
        path, why = content.not_yet
        yield _Missing(f"{path!r} as data ({why})", until=now + DATA_PAUSE)


def _listed(settle: Settle, content: Content, listed: Sequence[str] | None, unreadable: str) -> Iterator[_Missing]:
    """Yield what is missing of the manifest and of what it lists."""
    if not settle.manifest:
        return
    if content.manifest is None or listed is None:
        yield _Missing(f"the manifest {settle.manifest!r}" + (f" ({unreadable})" if unreadable else ""))
    elif absent := content.absent(listed):
        files = "1 file of the manifest," if len(absent) == 1 else f"{len(absent):,} files of the manifest, such as"
        yield _Missing(f"{files} {absent[0]!r}")


def _amounts(settle: Settle, content: Content) -> Iterator[_Missing]:
    """Yield what is missing of the data itself."""
    if content.files < (least := settle.min_files or 1):
        yield _Missing(f"{least:,} files (there are {content.files:,})" if least > 1 else "a file that is data")
    if content.size < (settle.min_bytes or 0):
        yield _Missing(f"{settle.min_bytes:,} bytes (there are {content.size:,})")
