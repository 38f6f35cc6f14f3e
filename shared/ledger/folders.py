"""What gathers: folders whose files come in (or files that may still change), and what completed each before.

`s|<digest>` is a folder that gathers; `c|<digest>` says which content, and which marker, completed its last run. Never
decides whether one is complete.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from azure.core import MatchConditions
from azure.data.tables import TableEntity

from shared.ledger.entries import NEVER, clipped, plain
from shared.ledger.table import Ledger, Operation, etag_of
from shared.rules.decision import Settling


class Gathering(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that gathers."""

    rule: str
    datastore: str
    folder: str
    """Its path, without a slash at the end; of a rule for files, the file's."""
    first_at: datetime
    """When its first file was noticed, since its last run."""
    last_at: datetime
    """When its latest file was noticed."""
    due_at: datetime
    """Not to be looked at before this time."""
    looks: int = 0
    """How often it was looked at since its latest file."""
    missing: str = ""
    """What was missing at the last look."""
    source: str = ""
    """Who told of its latest file."""
    etag: str = ""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """What completed a folder's last run."""

    content: str = ""
    """Digest of the content."""
    marker: str = ""
    """ETag of the marker, if it was one."""
    covers: datetime = NEVER
    """What was written before this time is part of that content."""


def touch(ledger: Ledger, settling: Settling, at: datetime, soon: bool = True) -> bool:
    """Note that another file of a folder came, to be looked at `soon` or when it would be anyway.

    False when the folder does not gather yet.
    """
    changes: dict[str, Any] = {"LastAt": at, "Source": settling.arrival.source}
    changes |= {"DueAt": at, "Looks": 0} if soon else {}
    return ledger.change({**_place("s", settling.rule, settling.datastore, settling.folder), **changes}, "gather")


def begin(ledger: Ledger, settling: Settling, at: datetime, due_at: datetime | None = None) -> bool:
    """Note that the first file of a folder came, to be looked at from `due_at` on; False when it gathers already."""
    place = _place("s", settling.rule, settling.datastore, settling.folder)
    columns = {"Datastore": settling.datastore, "Folder": settling.folder, "Source": settling.arrival.source}
    times = {"FirstAt": at, "LastAt": at, "DueAt": due_at or at, "Looks": 0, "Missing": ""}
    return ledger.insert({**place, **columns, **times}, "gather")


def is_gathering(ledger: Ledger, rule: str, datastore: str, folder: str) -> Gathering | None:
    """Return the folder if it gathers; a point read."""
    row = ledger.find(rule, _place("s", rule, datastore, folder)["RowKey"])
    return _read(row) if row else None


def gathering(ledger: Ledger, rule: str) -> list[Gathering]:
    """Return the folders of a rule that gather."""
    return [_read(row) for row in ledger.rows(rule, "s|", "s}", "folders")]


def completed(ledger: Ledger, rule: str, datastore: str, folder: str) -> Completed:
    """Return what completed a folder's last run; nothing when it has none; a point read."""
    row = ledger.find(rule, _place("c", rule, datastore, folder)["RowKey"])
    if not row:
        return Completed()
    return Completed(content=row["Content"], marker=row["Marker"], covers=plain(row["Covers"]))


def look_again(ledger: Ledger, folder: Gathering, due_at: datetime, missing: str) -> None:
    """Keep when to look at it next, and what is missing; unless a file came meanwhile."""
    changes = {"DueAt": due_at, "Looks": folder.looks + 1, "Missing": clipped(missing, 1000)}
    ledger.transact([_update(folder, changes)], "look again")


def forget(ledger: Ledger, folder: Gathering, done: Completed | None = None) -> bool:
    """Forget a folder that is complete, and keep what it was; False when a file came since it was read.

    Then it goes on gathering, and is waited for from now on as if that file had been its first.
    """
    place = _place("s", folder.rule, folder.datastore, folder.folder)
    kept: list[Operation] = []
    if done:
        columns = {"Content": done.content, "Marker": done.marker, "Covers": done.covers, "Folder": folder.folder}
        kept = [("upsert", {**_place("c", folder.rule, folder.datastore, folder.folder), **columns})]
    if ledger.transact([("delete", place, _only(folder)), *kept], "forget"):
        return True
    begins_anew: list[Operation] = [("update", {**place, "FirstAt": ledger.now()}), *kept]
    return not ledger.transact(begins_anew, "forget")  # it is gone: somebody else forgot it


def _update(folder: Gathering, changes: dict[str, Any]) -> Operation:
    return "update", {**_place("s", folder.rule, folder.datastore, folder.folder), **changes}, _only(folder)


def _only(folder: Gathering) -> dict[str, Any]:
    return {"etag": folder.etag, "match_condition": MatchConditions.IfNotModified}


def _place(letter: str, rule: str, datastore: str, folder: str) -> dict[str, Any]:
    """Return the place of a folder's row: a digest, since a path has characters that a key must not have."""
    digest = hashlib.sha256(f"{datastore}\n{folder}".encode()).hexdigest()[:32]
    return {"PartitionKey": rule, "RowKey": f"{letter}|{digest}"}


def _read(row: TableEntity) -> Gathering:
    return Gathering(
        rule=row["PartitionKey"],
        datastore=row["Datastore"],
        folder=row["Folder"],
        first_at=plain(row["FirstAt"]),
        last_at=plain(row["LastAt"]),
        due_at=plain(row.get("DueAt", row["LastAt"])),  # layout 1 has none
        looks=row.get("Looks", 0),
        missing=row.get("Missing", ""),
        source=row.get("Source", ""),
        etag=etag_of(row),
    )
