"""The table: claims and changes of entries, each one conditional transaction, and reads by prefix.

A partition is a rule. A claim is one transaction of two inserts; whoever comes second gets a conflict. Every later
step changes both rows in one transaction, on the condition that nobody else has (the ETag of the history row); an end
deletes the open row. So a claim is one round trip, and open work and history are prefix reads, however long the
history.

Never talks to the pipeline's endpoint, and never decides what to do next: `flow/` does.
"""

import contextlib
import itertools
import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import msgspec
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, TableEntity, TableErrorCode, TableTransactionError, UpdateMode

from shared.errors import ConflictError, RowError
from shared.ledger.entries import (
    LAYOUT,
    LONGEST_TEXT,
    OPEN,
    PLACES,
    Entry,
    Row,
    State,
    Work,
    clipped,
    content_row,
    entry_of,
    history_columns,
    history_key,
    note_columns,
    open_columns,
    read_entry,
    read_work,
)
from shared.ledger.gate import Gate
from shared.log import log
from shared.rules.arrival import CONTROL, LONGEST_PATH
from shared.rules.decision import RetrainRequest, written_text
from shared.storage.accounts import storage_errors

Operation = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], dict[str, Any]]


LONGEST_FILTER = 256  # characters of a path in a query's address
RULES = "rules|"  # partition of the names of all rules that ever were, and of what is paused


class Entered(msgspec.Struct, frozen=True):
    """This worker has made the row, and no other acts for the key."""

    row: Row
    gate: Gate | None = None
    """The gate as it is now, where one was given."""


class Taken(msgspec.Struct, frozen=True):
    """The key has a row already, or the same content has."""

    key: str
    """Of the row that is there."""


class OpenWork(msgspec.Struct, frozen=True, kw_only=True):
    """The open entries of a rule, oldest data first."""

    active: list[Work]
    """The timer's turn."""
    held: list[Work]
    """A person's turn."""
    queued: list[Work]
    """Waiting in the queue; so many as were asked for."""


class Only(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of the history are meant; all of them, as far as nothing is given."""

    state: State | None = None
    path: str = ""
    """Of the file or folder."""
    prefix: str = ""
    """What the path begins with."""
    written_since: datetime | None = None
    """Their data was written then or later."""
    after: str = ""
    """Key of the entry behind which they come, in the order of the history."""

    def columns(self) -> Iterator[tuple[str, str, str]]:
        """Yield what their columns must be."""
        if self.state:
            yield "State", "eq", str(self.state)
        if self.path:
            yield "Path", "eq", self.path
        if self.prefix:  # its beginning is enough for the filter, which is part of an address
            yield "Path", "ge", self.prefix[:LONGEST_FILTER]
            yield "Path", "lt", f"{self.prefix[:LONGEST_FILTER]}\uffff"  # no name has it

    @property
    def possible(self) -> bool:
        """Whether a blob may have such a path; storage refuses a filter that asks for another one."""
        path = self.path or self.prefix
        return len(path) <= LONGEST_PATH and not CONTROL.search(path)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has its row."""

    key: str
    path: str
    """Of the file or folder."""
    datastore: str


class Ledger:
    """The table. All methods raise StorageError when the account does not do as asked."""

    def __init__(
        self,
        table: TableClient,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        told: Collection[str] = (),
    ) -> None:
        """Keep the ledger in `table`; `now` is the clock for the times written into rows.

        Of entries that come to a state of `told` somebody is to be told: see `notes.py`.
        """
        self.table, self.now, self.told, self.closed = table, now, told, False

    def close(self) -> None:
        """Give back the connections; nothing can be read or written any more."""
        self.closed = True
        self.table.close()

    def enter(self, request: RetrainRequest, state: State, gate: Gate | None = None, **columns: Any) -> Entered | Taken:
        """Make the rows of `request` in a state, in one round trip; Taken when it has some already.

        With `gate`, only as long as that is as it was read: then it counts one more. Raises ConflictError when it is
        not, BadRequestError when the request is larger than a row.
        """
        entry = self._noted(entry_of(request, state, uuid.uuid4().hex, self.now(), **_fitting(columns)))
        operations: list[Operation] = [("create", history_columns(entry, whole=True)), *self._note(None, entry)]
        if state in OPEN:
            operations.append(("create", open_columns(entry)))
        if request.content:
            row = {"PartitionKey": request.rule, "RowKey": content_row(request), "Key": request.key}
            operations.append(("create", row))
        if gate:
            operations.append(gate.counted(request.rule))
        sendings = list[object]()
        with self._errors("claim"):
            try:
                etags = self._transact(operations, sendings)
            except AzureError as error:
                code = _code(error)
                if code == TableErrorCode.ENTITY_ALREADY_EXISTS and len(sendings) == 1:
                    return self._taken(request)
                if isinstance(error, HttpResponseError) and error.status_code not in (409, 412):
                    raise
                # An answer may have been lost on the way: then the row that is there may be ours.
                found = self.get(request.key, [request.rule])
                if found and found.entry.change == entry.change:
                    return Entered(found)
                if found or (request.content and code == TableErrorCode.ENTITY_ALREADY_EXISTS):
                    return self._taken(request)
                if code == TableErrorCode.UPDATE_CONDITION_NOT_SATISFIED:
                    raise ConflictError(f"Somebody else was let in by rule {request.rule!r} meanwhile.") from error
                raise
        return Entered(Row(entry=entry, etag=etags[0]["etag"]), gate and gate.after(etags[-1]["etag"]))

    def _taken(self, request: RetrainRequest) -> Taken:
        """Tell which request has the row of this one: of the same key, or for the same content."""
        same = self.find(request.rule, content_row(request)) if request.content else None
        return Taken(same["Key"] if same else request.key)

    def of(self, request: RetrainRequest) -> Row | None:
        """Return the row that a request has already, its own or that of the same content. Raises RowError."""
        return self.get(self._taken(request).key, [request.rule])

    def move(self, row: Row, state: State, **changes: Any) -> Row:
        """Bring an open entry to `state` with `changes` to its columns.

        Raises ConflictError when somebody else has changed it since it was read, or it has come to its end.
        """
        return self._move(row, state, None, changes)[0]

    def admit(self, row: Row, gate: Gate, state: State, **changes: Any) -> tuple[Row, Gate]:
        """Let an entry in: `move`, and the gate counts it, in one transaction.

        Raises ConflictError when somebody else let one in, or changed this one, since gate and row were read.
        """
        moved, etags = self._move(row, state, gate, changes)
        return moved, gate.after(etags[-1]["etag"]) if etags else gate

    def _move(
        self, row: Row, state: State, gate: Gate | None, changes: dict[str, Any]
    ) -> tuple[Row, list[Mapping[str, Any]]]:
        before = row.entry
        if not before.is_open:
            raise ConflictError(f"{before.key} came to its end already: it is {before.state}.")
        told = {"state": state, "changed_at": self.now(), "change": uuid.uuid4().hex}
        layout = max(before.layout, LAYOUT)
        entry = self._noted(msgspec.structs.replace(before, **told, layout=layout, **_fitting(changes)))
        operations: list[Operation] = [("update", history_columns(entry, whole=False), if_unchanged(row.etag))]
        operations += self._note(before, entry)
        # Of layout 1 all open rows, also those of the queue, are in the timer's place.
        was, is_ = "o" if before.layout < LAYOUT else PLACES[before.state], PLACES.get(state)
        if is_:
            operations.append(("upsert", open_columns(entry), {"mode": UpdateMode.REPLACE}))
        if is_ != was:
            operations.append(("delete", {"PartitionKey": before.rule, "RowKey": f"{was}|{before.key}"}))
        operations += [gate.counted(before.rule)] if gate else []
        with self._errors(f"change to {state}"):
            try:
                etags = self.table.submit_transaction(operations)
            except AzureError as error:
                if isinstance(error, HttpResponseError) and error.status_code not in (404, 409, 412):
                    raise
                current = self.get(before.key, [before.rule])
                if current is not None and current.entry.change == entry.change:  # ours: an answer was lost
                    return current, []
                if not isinstance(error, HttpResponseError) and current == row:  # it broke before anything was written
                    raise
                found = f"{current.entry.state} since {current.entry.changed_at:%H:%M:%S}" if current else "gone"
                was_to = f"{before.key} was to become {state} from {before.state}"
                raise ConflictError(f"{was_to}, but another worker was first: it is {found}.") from error
        return Row(entry=entry, etag=etags[0]["etag"]), etags

    def _noted(self, entry: Entry) -> Entry:
        """Return the entry with its state among those that are told of, where that is to be."""
        if entry.state not in self.told or entry.state in entry.told.split():
            return entry
        return msgspec.structs.replace(entry, told=f"{entry.told} {entry.state}".strip())

    def _note(self, before: Entry | None, entry: Entry) -> list[Operation]:
        """Return what makes the note of a state that the entry has come to for the first time."""
        is_new = entry.told != (before.told if before else "")
        return [("upsert", note_columns(entry), {"mode": UpdateMode.REPLACE})] if is_new else []

    def gate(self, rule: str, day: str) -> Gate:
        """Return the gate of a rule on a day; the first reader makes it."""
        row = self.find(rule, "gate")
        if row is None:
            self.insert({"PartitionKey": rule, "RowKey": "gate", "Day": day, "Begun": 0}, "gate")
            row = self.find(rule, "gate")
        assert row is not None  # nobody removes it
        return Gate(day=day, begun=row["Begun"] if row["Day"] == day else 0, etag=etag_of(row))

    def bury(self, request: RetrainRequest, reason: str) -> Entry:
        """Make a `dead` row for an arrival that never got one. One that is buried already stays as it is."""
        now = self.now()
        made = entry_of(request, State.DEAD, uuid.uuid4().hex, now, **_fitting({"reason": reason, "ended_at": now}))
        entry = self._noted(made)
        with self._errors("bury"):
            try:
                self._transact([("create", history_columns(entry, whole=True)), *self._note(None, entry)])
            except TableTransactionError as error:
                if _code(error) != TableErrorCode.ENTITY_ALREADY_EXISTS:
                    raise
        return entry

    def note_redriven(self, entry: Entry, key: str) -> None:
        """Write into an entry which attempt took its place."""
        row = {"PartitionKey": entry.rule, "RowKey": history_key(entry.key), "Redriven": key}
        with self._errors("note"):
            self.table.update_entity(row, mode=UpdateMode.MERGE)

    def get(self, key: str, rules: Iterable[str]) -> Row | None:
        """Return the row of `key`, looking in the partitions of `rules`; a point read each. Raises RowError."""
        try:
            row_key = history_key(key)
        except ValueError:  # no key ever looked like this
            return None
        with self._errors("read"):
            for rule in rules:
                if found := self.find(rule, row_key):
                    return Row(entry=read_entry(found), etag=etag_of(found))
        return None

    def open(self, rule: str, queued: int | None = None) -> OpenWork:
        """Return the open work of a rule, with at most so many of its queue; the rest of that is not read."""
        active, held, waiting = list[Work](), list[Work](), list[Work]()
        for row in self.rows(rule, "o|", "r|" if queued != 0 else "q|", "open work"):
            if row["RowKey"][0] == "q" and queued is not None and len(waiting) >= queued:
                break
            if work := _readable_work(row):
                places = {State.QUEUED: waiting, State.HELD: held}
                places.get(work.state, active).append(work)
        return OpenWork(active=active, held=held, queued=waiting)

    def queue(self, rule: str, limit: int) -> list[Work]:
        """Return the head of a rule's queue, oldest data first."""
        rows = self.rows(rule, "q|", "r|", "queue", results_per_page=min(limit, 1000))
        return [work for row in itertools.islice(rows, limit) if (work := _readable_work(row))]

    def known(self, rule: str, written_since: datetime) -> Iterator[Known]:
        """Yield all requests whose data was written at or after a time."""
        for row in self.rows(rule, "h|", _until(written_since), "keys", select=["RowKey", "Path", "Datastore"]):
            yield Known(
                key=row["RowKey"].rpartition("|")[2], path=row.get("Path", ""), datastore=row.get("Datastore", "")
            )

    def history(self, rule: str, limit: int, only: Only | None = None) -> list[Entry]:
        """Return the newest `limit` entries of a rule that are meant, by the time their data was written, newest first.

        Raises ValueError when `only.after` is no key.
        """
        only = only or Only()
        if not only.possible:
            return []
        start = f"{history_key(only.after)} " if only.after else "h|"  # right behind it: no key goes on with a blank
        end = _until(only.written_since) if only.written_since else "h}"
        rows = self.rows(rule, start, end, "history", only.columns(), results_per_page=min(limit, 1000))
        meant = (entry for entry in _readable(rows) if entry.path.startswith(only.prefix))
        return list(itertools.islice(meant, limit))

    def in_state(self, rule: str, state: State) -> Iterator[Entry]:
        """Yield the entries of a rule that are in a state, newest data first."""
        yield from _readable(self.rows(rule, "h|", "h}", "history", Only(state=state).columns()))

    def remember_rule(self, rule: str) -> None:
        """Keep that there are rows of this rule: they are brought to their end also when the rule is gone."""
        with self._errors("rules"), contextlib.suppress(TableTransactionError):  # it is there
            self._transact([("create", {"PartitionKey": RULES, "RowKey": rule})])

    def probe(self) -> None:
        """Read something that need not be there: raises StorageError when the account does not answer."""
        self.find(RULES, "?")

    # What the other modules of this room read and write with.

    def rows(
        self,
        partition: str,
        start: str,
        end: str,
        step: str,
        columns: Iterable[tuple[str, str, str]] = (),
        **options: Any,
    ) -> Iterator[TableEntity]:
        """Yield the rows of a partition from `start` to before `end`; none when there is no table yet.

        Only those whose `columns` are so: name, comparison (`eq`, `ge`, `lt`) and value of each.
        """
        query = "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end"
        parameters = {"partition": partition, "start": start, "end": end}
        for number, (name, compared, value) in enumerate(columns):
            query, parameters[f"value{number}"] = f"{query} and {name} {compared} @value{number}", value
        with self._errors(step), contextlib.suppress(ResourceNotFoundError):
            yield from self.table.query_entities(query, parameters=parameters, **options)

    def find(self, partition: str, row_key: str) -> TableEntity | None:
        """Return one row; None when there is none."""
        with self._errors("read"):
            try:
                return self.table.get_entity(partition, row_key)
            except ResourceNotFoundError:
                return None

    def insert(self, row: dict[str, Any], step: str) -> bool:
        """Insert a row; False when there is one already. The very first one makes the table."""
        with self._errors(step):
            try:
                self._transact([("create", row)])
            except TableTransactionError as error:
                if _code(error) != TableErrorCode.ENTITY_ALREADY_EXISTS:
                    raise
                return False
        return True

    def put(self, row: dict[str, Any], step: str) -> None:
        """Write a row, whatever was there."""
        with self._errors(step):
            self.table.upsert_entity(row, mode=UpdateMode.REPLACE)

    def merge(self, row: dict[str, Any], step: str) -> None:
        """Write columns into a row; the others stay as they are, and where there is no row it is made."""
        with self._errors(step):
            self.table.upsert_entity(row, mode=UpdateMode.MERGE)

    def change(self, row: dict[str, Any], step: str) -> bool:
        """Write columns into a row that is there; False when there is none."""
        with self._errors(step):
            try:
                self.table.update_entity(row, mode=UpdateMode.MERGE)
            except ResourceNotFoundError:
                return False
        return True

    def transact(self, operations: list[Operation], step: str) -> bool:
        """Run a transaction; False when a condition of it does not hold."""
        with self._errors(step):
            try:
                self.table.submit_transaction(operations)
            except HttpResponseError as error:
                if error.status_code not in (404, 409, 412):
                    raise
                return False
        return True

    def remove(self, partition: str, row_key: str, step: str) -> None:
        """Delete a row, if it is there."""
        with self._errors(step):
            self.table.delete_entity(partition, row_key)

    def _transact(self, operations: list[Operation], sendings: list[object] | None = None) -> list[Mapping[str, Any]]:
        """Run a transaction that inserts; the very first one makes the table."""
        try:
            return self.table.submit_transaction(operations, sendings=sendings)
        except HttpResponseError as error:
            if _code(error) != TableErrorCode.TABLE_NOT_FOUND:
                raise
        with contextlib.suppress(ResourceExistsError):  # another worker was first
            self.table.create_table()
        if sendings is not None:
            sendings.clear()  # without a table nothing was written
        return self.table.submit_transaction(operations, sendings=sendings)

    def _errors(self, step: str) -> AbstractContextManager[None]:
        return storage_errors(f"Ledger table {self.table.table_name!r}, {step}")


def _fitting(columns: dict[str, Any]) -> dict[str, Any]:
    """Clip the texts of others to what a column holds; what goes to a target names its version beside it."""
    fitting = {name: clipped(value, LONGEST_TEXT) if type(value) is str else value for name, value in columns.items()}
    if target := columns.get("target"):
        fitting["version"] = target.version
    return fitting


def _readable_work(row: Mapping[str, Any]) -> Work | None:
    """Return an open row; one that cannot be read is logged and left alone, the others are still wanted."""
    try:
        return read_work(row)
    except RowError as error:
        log("row_unreadable", logging.ERROR, reason=error)
        return None


def _readable(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Yield the entries; a row that cannot be read is logged and left out, the others are still wanted."""
    for row in rows:
        try:
            yield read_entry(row)
        except RowError as error:
            log("row_unreadable", logging.ERROR, reason=error)


def etag_of(row: TableEntity) -> str:
    """Return the ETag of a row that was read."""
    etag = row.metadata["etag"]
    assert etag is not None  # the service gives one with every entity
    return etag


def _until(written_since: datetime) -> str:
    """Return what comes behind the history rows of all data that was written at or after a time."""
    return history_key(f"{written_text(written_since)}-").rpartition("-")[0] + "~"


def _code(error: AzureError) -> object:
    return getattr(error, "error_code", None)


def if_unchanged(etag: str) -> dict[str, Any]:
    """Options of a change that must find the row as it was read."""
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified, "mode": UpdateMode.MERGE}
