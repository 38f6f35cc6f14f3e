"""The types of answers that only the HTTP API has; the others are where they are made. Never more than data."""

from typing import Literal

import msgspec

from shared.ledger.entries import State
from shared.operate.plan import Planned
from shared.operate.redrive import Redriven
from shared.operate.views import View


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    type: str
    """Which kind of problem; these texts stay as they are."""
    title: str
    status: int
    detail: str
    """What, where, why, and what to do."""
    faults: list[str] = []
    """All faults of a configuration, one sentence each."""


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that starts nothing, and why."""

    rule: str | None
    """Null: it is no data to any rule."""
    reason: str


class Gathers(msgspec.Struct, frozen=True, kw_only=True):
    """A folder, or file, that is not complete yet."""

    rule: str
    folder: str


class Started(View, frozen=True, kw_only=True):
    """A request that has its row."""

    duplicate: bool
    """It was there before: this call has started nothing."""


class Accepted(Started, frozen=True, kw_only=True):
    """A request that has its row; what further rules made of the blob stands beside it."""

    others: list[Started]
    settling: list[Gathers]
    skipped: list[Passed]


class NotStarted(msgspec.Struct, frozen=True, kw_only=True):
    """No request was made: a folder is not complete yet (`settling`), or no rule takes the blob (`skipped`)."""

    state: Literal["settling", "skipped"]
    settling: list[Gathers]
    skipped: list[Passed]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What each rule would do."""

    planned: list[Planned]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A request in short."""

    key: str
    state: State
    run_id: str | None


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event."""

    started: list[Run]
    duplicates: list[str]
    """Keys of requests that were there before."""
    settling: list[Gathers]
    skipped: list[Passed]


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each event, in their order."""

    events: list[Acted]


class Handshake(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The answer to the validation of an Event Grid subscription."""

    validation_response: str = ""


class Retrains(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the history."""

    retrains: list[View]
    next: str | None
    """What to give as `after` for those behind them; null at the end."""


class RedrivenMany(msgspec.Struct, frozen=True, kw_only=True):
    """What was redriven, or would be."""

    redriven: list[Redriven]
    would: list[str] = []
    """Keys, of a dry run."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on."""

    rule: str
    """`*`: all rules."""
    paused: Literal[False] = False
