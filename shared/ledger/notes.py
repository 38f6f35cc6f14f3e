"""What somebody is still to be told of: a row for each state that is to be told, until it was.

`n|<key>|<state>` in the rule's partition, made in the transaction that brings the entry to that state: nothing is told
that is not so, and nothing is forgotten when a process dies. Which states an entry had a note for stands in the entry,
so that none is told twice. Endpoints that take nothing have rows of their own in partition `notes|`. Never tells
anybody anything.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.ledger.entries import plain
from shared.ledger.table import Ledger

BLOCKED = "notes|"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is to be told."""

    partition: str
    row: str
    made_at: datetime
    due_at: datetime
    tries: int = 0
    told: bool = False
    """Of an endpoint: its row stays until it takes something again."""

    @property
    def key(self) -> str:
        """The entry's key."""
        return self.row.split("|")[1]

    @property
    def state(self) -> str:
        """The state that is to be told."""
        return self.row.split("|")[2]


def of_rule(ledger: Ledger, rule: str) -> list[Note]:
    """Return what is to be told of a rule's entries. Raises StorageError."""
    return [_note(row) for row in ledger.rows(rule, "n|", "n}", "notes")]


def of_endpoints(ledger: Ledger) -> dict[str, Note]:
    """Return the endpoints that were blocked the last time, by `endpoint_row`. Raises StorageError."""
    return {row["RowKey"]: _note(row) for row in ledger.rows(BLOCKED, "", "~", "notes")}


def endpoint_row(place: str, version: str) -> str:
    """Return the row key of an endpoint and version."""
    return hashlib.sha256(f"{place}\n{version}".encode()).hexdigest()[:32]


def begin(ledger: Ledger, row: str, since: datetime, now: datetime) -> Note:
    """Note that an endpoint is blocked, since when."""
    made = Note(partition=BLOCKED, row=row, made_at=since, due_at=now)
    ledger.put(_columns(made), "notes")
    return made


def put_off(ledger: Ledger, note: Note, pause: timedelta) -> None:
    """Note that it could not be told, and when to try again."""
    ledger.change(_columns(note, DueAt=ledger.now() + pause, Tries=note.tries + 1), "notes")


def done(ledger: Ledger, note: Note) -> None:
    """Note that it was told, or need not be told any more."""
    if note.partition == BLOCKED:
        ledger.change(_columns(note, Told=True), "notes")
    else:
        forget(ledger, note)


def forget(ledger: Ledger, note: Note) -> None:
    """Take a note away."""
    ledger.remove(note.partition, note.row, "notes")


def _columns(note: Note, **changes: Any) -> dict[str, Any]:
    columns = {"MadeAt": note.made_at, "DueAt": note.due_at, "Tries": note.tries, "Told": note.told, **changes}
    return {"PartitionKey": note.partition, "RowKey": note.row, **columns}


def _note(row: Any) -> Note:
    made_at, due_at = plain(row["MadeAt"]), plain(row["DueAt"])
    place = {"partition": row["PartitionKey"], "row": row["RowKey"]}
    return Note(**place, made_at=made_at, due_at=due_at, tries=row["Tries"], told=row["Told"])
