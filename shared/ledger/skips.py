"""What was skipped: how often for which reason, and the last ones. A row a day, kept for a week.

Kept in memory first, and written some seconds later by a thread of its own: a blob that starts nothing costs an arrival
no request. What a process that dies has not written is in the log only. Never decides what is skipped.
"""

import logging
import re
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared import reading
from shared.errors import RetrainError
from shared.ledger.entries import clipped
from shared.ledger.table import Ledger, etag_of, if_unchanged
from shared.log import log

PARTITION = "skips|"
KEPT = timedelta(days=7)
DELAY_S = 10.0
# As many as a property of 32,768 UTF-16 units holds, each of them at its longest.
REASONS, LAST, LONGEST_REASON, LONGEST_PATH = 40, 20, 250, 300
OTHERS = "other reasons"
TRIES = 3  # while other processes write the same row
_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|[\d.,:TZ-]+")


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """One that was skipped."""

    at: datetime
    datastore: str
    path: str
    reason: str
    rule: str = ""
    """Empty: it is about the blob, or several rules have told a reason."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of reason, and how often it was one."""

    rule: str
    reason: str
    """As it was told last: names and numbers in it are those of that one."""
    count: int
    last_at: datetime

    @property
    def kind(self) -> tuple[str, str]:
        """What is counted as the same."""
        return self.rule, _DETAILS.sub("", self.reason)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was skipped in some time."""

    reasons: list[Reason] = []
    """Most often first."""
    last: list[Skipped] = []
    """Newest first."""

    def joined(self, other: "Told") -> "Told":
        """Return both in one, within the bounds of a row."""
        found = dict[tuple[str, str], Reason]()
        for one in sorted([*self.reasons, *other.reasons], key=lambda reason: reason.last_at):
            before = found.get(one.kind)
            found[one.kind] = msgspec.structs.replace(one, count=one.count + (before.count if before else 0))
        ordered = sorted(found.values(), key=lambda reason: -reason.count)
        kept, rest = ordered[: REASONS - 1], ordered[REASONS - 1 :]
        if len(rest) > 1:
            count, last_at = sum(one.count for one in rest), max(one.last_at for one in rest)
            rest = [Reason(rule="", reason=OTHERS, count=count, last_at=last_at)]
        last = sorted([*self.last, *other.last], key=lambda skipped: skipped.at, reverse=True)
        return Told(reasons=[*kept, *rest], last=last[:LAST])


class Skips:
    """Counts what this process skips, and adds it to the ledger's row of the day."""

    def __init__(self) -> None:
        self._lock, self._told = threading.Lock(), Told()
        self._timer: threading.Timer | None = None

    def note(self, ledger: Ledger, skipped: Skipped) -> None:
        """Count one; it is written within `DELAY_S`."""
        path, reason = clipped(skipped.path, LONGEST_PATH), clipped(skipped.reason, LONGEST_REASON)
        skipped = msgspec.structs.replace(skipped, path=path, reason=reason)
        counted = Reason(rule=skipped.rule, reason=reason, count=1, last_at=skipped.at)
        with self._lock:
            self._told = self._told.joined(Told(reasons=[counted], last=[skipped]))
            if self._timer is None:
                self._timer = threading.Timer(DELAY_S, self.save, [ledger])
                self._timer.daemon = True
                self._timer.start()

    def save(self, ledger: Ledger) -> None:
        """Write what was noted since the last time. Never raises: it is tried again with the next one noted."""
        with self._lock:
            told, self._told = self._told, Told()
            if self._timer:
                self._timer.cancel()
            self._timer = None
        if not told.last or ledger.closed:
            return
        try:
            saved = any(_add(ledger, told) for _ in range(TRIES))
        except RetrainError as error:
            saved = False
            log("skips_not_written", logging.WARNING, reason=error)
        if not saved:
            with self._lock:
                self._told = self._told.joined(told)


def _add(ledger: Ledger, told: Told) -> bool:
    """Add to the row of the day; False when another process has just done the same."""
    place = {"PartitionKey": PARTITION, "RowKey": f"{ledger.now():%Y%m%d}"}
    row = ledger.find(PARTITION, place["RowKey"])
    if row is None:
        _prune(ledger)
        return ledger.insert({**place, **_columns(told)}, "skips")
    columns = {**place, **_columns(_read(row).joined(told))}
    return ledger.transact([("update", columns, if_unchanged(etag_of(row)))], "skips")


def _prune(ledger: Ledger) -> None:
    for row in list(ledger.rows(PARTITION, "", f"{ledger.now() - KEPT:%Y%m%d}", "skips")):
        ledger.remove(PARTITION, row["RowKey"], "skips")


def told_of(ledger: Ledger) -> Told:
    """Return what was skipped within the last week, as far as it was written. Raises StorageError."""
    told = Told()
    for row in ledger.rows(PARTITION, f"{ledger.now() - KEPT:%Y%m%d}", "~", "skips"):
        told = told.joined(_read(row))
    return told


def _columns(told: Told) -> dict[str, Any]:
    return {"Reasons": _text(told.reasons), "Last": _text(told.last)}


def _text(items: Iterable[Any]) -> str:
    return msgspec.json.encode(list(items)).decode()


def _read(row: Any) -> Told:
    reasons = reading.decode(row["Reasons"], list[Reason])
    return Told(reasons=reasons, last=reading.decode(row["Last"], list[Skipped]))
