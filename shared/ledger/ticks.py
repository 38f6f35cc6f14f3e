"""When the timer ran last, and how often it does: for whoever asks whether it runs at all. One row.

Never decides how late is too late.
"""

from datetime import datetime, timedelta

import msgspec

from shared.ledger.entries import plain
from shared.ledger.table import Ledger

PLACE = {"PartitionKey": "ticks|", "RowKey": "last"}


class Ticked(msgspec.Struct, frozen=True, kw_only=True):
    """The timer's last tick that came to its end."""

    begun_at: datetime
    ended_at: datetime
    every: timedelta | None = None
    """Between the last two ticks of one process; None as long as none has had two."""


def note(ledger: Ledger, begun_at: datetime, before: datetime | None) -> None:
    """Write down that a tick has ended; `before`: when this process's tick before it began. Raises StorageError."""
    every = {"EveryS": (begun_at - before).total_seconds()} if before else {}
    ledger.merge({**PLACE, "BegunAt": begun_at, "EndedAt": ledger.now(), **every}, "tick")


def last(ledger: Ledger) -> Ticked | None:
    """Return the last tick; None before the first. Raises StorageError."""
    row = ledger.find(*PLACE.values())
    if row is None:
        return None
    every = timedelta(seconds=row["EveryS"]) if row.get("EveryS") else None
    return Ticked(begun_at=plain(row["BegunAt"]), ended_at=plain(row["EndedAt"]), every=every)
