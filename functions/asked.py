"""The types of what the HTTP API is asked: queries and bodies. Never more than data."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.ledger.entries import State
from shared.rules.arrival import LONGEST_PATH
from shared.rules.rule import Duration

MOST = 100  # redriven by one call: it has to be answered in time
Path = Annotated[str, Meta(max_length=LONGEST_PATH)]
Redrivable = Literal["refused", "held", "dead", "failed", "canceled", "lost_sight", "deferred"]
KEY = r"^([0-9]{8}T[0-9]{6}Z-[0-9a-f-]{1,60})?$"
Reason = Annotated[str, Meta(max_length=1000)]


class Nothing(msgspec.Struct):
    """The query of a route that takes none."""


class Dry(msgspec.Struct):
    """The query of a call."""

    dry_run: Literal["true", "false"] = "false"
    """Only say what would be done."""


class Page(msgspec.Struct):
    """The query of the history."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    rule: str | None = None
    state: State | UnsetType = UNSET  # of None the word "null" would be one
    since: Duration | None = None
    """Only of data written within this time."""
    prefix: Path = ""
    """Only of files and folders whose path begins so."""
    after: Annotated[str, Meta(pattern=KEY)] = ""
    """What the answer before named as `next`."""


class Blob(msgspec.Struct):
    """The query about one blob."""

    path: str
    datastore: str | None = None
    """May be left out when there is one only."""


class ToRedrive(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a redrive; it may be left out."""

    force: bool = False
    """Also what could double a live run."""


class ToRedriveMany(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a redrive by rule and state."""

    rule: str
    state: Redrivable
    since: Duration | None = None
    """Only what came to that state within this time."""
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST
    dry_run: bool = False
    """Only say what it would be about."""


class ToResume(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a resume; it may be left out: what was paused for all rules."""

    rule: str | None = None


class ToPause(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a pause; it may be left out: all rules."""

    rule: str | None = None
    reason: Reason = ""


class ToClose(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a close; it may be left out."""

    reason: Reason = ""
