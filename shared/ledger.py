"""The ledger: one table row for each retrain request, from its claim to its end. It is also the queue of open work.

    (no row) --claim--> sending --------> submitted --> running --> finished | failed | canceled
                          |  |------> refused     the endpoint said no
                          |  |------> waiting     surely not accepted; due again at `due_at`, then sending once more
                          |  '------> uncertain   sent, no answer: found at the endpoint (submitted), or not (sending
                          |                       again, or held for an operator)
                          '---------> held        the outcome cannot be learned, and sending twice is not allowed
    submitted --> mispinned     the run turned out to be of another pipeline than the pinned version's: an alarm
    (no row) --claim--> waiting     held back: the rule's max_active or daily_cap is reached; let in by `admit`,
                                    or superseded by newer data, or skipped, as the rule's when_busy says
    `s|<folder>`                    a folder that is settling: files have come, and it is not known to be complete
    (no row) --bury--> dead     the platform gave up on the arrival before it had its row; a history row alone

A partition is a rule. A claim is one transaction of two inserts: the history row `h|<newest first>|<key>` and the open
row `o|<key>`; whoever comes second gets a conflict. Every later step changes both rows in one transaction, on the
condition that nobody else has (ETag); an end deletes the open row. So open work and history are prefix reads, however
long the history, and a claim is one round trip. A row that waits for the timer says from when on (`DueAt`).

Beside the requests, a rule's partition keeps `since|<origin>` (when the rule was first seen), `scan` (how far the
search for missed arrivals has come) and `gate` (how many were let in today), and the partition `pipeline|<name>` keeps
what was learned about a pipeline; `rules|` has the names of all rules that ever were.

Never talks to the pipeline's endpoint, and never decides what to do next: `flow.py` does.
"""

import contextlib
import hashlib
import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, TableEntity, TableErrorCode, TableTransactionError, UpdateMode

from shared.errors import ConflictError, RowError
from shared.events import log
from shared.rules import RetrainRequest, Rule
from shared.storage import storage_errors

LAYOUT = 1  # of a row; raised when an older version of the app could not read it


class State(StrEnum):
    """Where a retrain request stands."""

    SENDING = "sending"
    WAITING = "waiting"
    UNCERTAIN = "uncertain"
    SUBMITTED = "submitted"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"
    REFUSED = "refused"
    HELD = "held"
    MISPINNED = "mispinned"
    DEAD = "dead"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"


OPEN = frozenset({State.SENDING, State.WAITING, State.UNCERTAIN, State.SUBMITTED, State.RUNNING})


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One retrain request as the ledger has it; the columns of a history row."""

    key: str
    state: State
    change: str
    """Unique to the last change: after a lost answer it tells whether the row that is there is ours."""
    request: str
    """The whole RetrainRequest as JSON; the columns below repeat what a reader looks for."""
    rule: str
    datastore: str
    path: str
    data_path: str
    pipeline: str
    endpoint: str = ""
    """The endpoint that was sent to: where to look for the run."""
    version: str
    attempt: int
    source: str
    claimed_at: datetime
    changed_at: datetime
    due_at: datetime | None = None
    """Not to be touched by the timer before this time."""
    sent_at: datetime | None = None
    tries: int = 0
    """Submissions begun."""
    reason: str = ""
    """Why it is in this state, in the endpoint's words where they are known."""
    run_id: str = ""
    run_url: str = ""
    run_status: str = ""
    """The run's status in the service's own words."""
    pipeline_id: str = ""
    """The published pipeline that the run was read back to be of: the proof of the pin."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    redriven: str = ""
    """Key of the attempt that an operator started in place of this one."""
    layout: int = LAYOUT

    def retrain_request(self) -> RetrainRequest:
        """Return the request as it was decided."""
        return msgspec.json.decode(self.request, type=RetrainRequest)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and the ETags that a change to it must match."""

    entry: Entry
    history_etag: str
    open_etag: str | None
    """None when the entry has come to its end."""


class Scan(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How far the search for missed arrivals has come, for one rule."""

    looked_from: datetime
    """The pass under way looks at blobs written since."""
    begun_at: datetime
    marker: str = ""
    """Where in the listing the pass goes on; empty: it begins."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that is settling."""

    datastore: str
    folder: str
    """Its path, without a slash at the end."""
    first_at: datetime
    """When its first file was noticed, since it last settled."""
    last_at: datetime
    """When its latest file was noticed."""
    etag: str = ""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What was let in on a day (UTC), for a rule with a limit. Whoever lets in changes it: one at a time does."""

    day: str
    begun: int
    etag: str


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The open work of a rule, as far as its limit is concerned."""

    active: int
    """Requests that were let in and have not come to their end."""
    waiting: list[str]
    """Keys of the requests that were not let in yet, oldest data first."""


class Claimed(msgspec.Struct, frozen=True):
    """This worker, and no other, acts for the key."""

    row: Row


class Taken(msgspec.Struct, frozen=True):
    """The key has a row already."""

    row: Row


class Ledger:
    """The table. All methods raise StorageError when the account does not do as asked."""

    def __init__(self, table: TableClient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Keep the ledger in `table`; `now` is the clock for the times written into rows."""
        self.table, self.now = table, now

    def claim(
        self, request: RetrainRequest, grace: timedelta, endpoint: str = "", queued: bool = False
    ) -> Claimed | Taken:
        """Insert the rows of `request`, in one round trip; or return who has them.

        They say `sending`, and are nobody else's to touch until `grace` is over; or, `queued`, `waiting`.
        """
        now = self.now()
        if queued:
            entry = self._entry(request, State.WAITING, now, due_at=now, endpoint=endpoint, reason="Not let in yet.")
        else:
            entry = self._entry(
                request, State.SENDING, now, due_at=now + grace, endpoint=endpoint, sent_at=now, tries=1
            )
        with self._errors("claim"):
            try:
                etags = self._insert([("create", _history(entry)), ("create", _open(entry))])
            except AzureError as error:
                if isinstance(error, HttpResponseError) and _code(error) != TableErrorCode.ENTITY_ALREADY_EXISTS:
                    raise
                row = self.get(request.key, [request.rule])
                if row is None:  # the connection broke, and nothing was written
                    raise
                # Where an answer was lost and the SDK has repeated the request, the row in the way is our own.
                return Claimed(row) if row.entry == entry else Taken(row)
        return Claimed(Row(entry=entry, history_etag=etags[0]["etag"], open_etag=etags[1]["etag"]))

    def move(self, row: Row, state: State, **changes: Any) -> Row:
        """Bring an open entry to `state` with `changes` to its columns.

        Raises ConflictError when somebody else has changed it since it was read.
        """
        return self._move(row, state, changes, [])

    def admit(self, row: Row, gate: Gate, day: str, grace: timedelta, endpoint: str) -> tuple[Row, Gate]:
        """Let a waiting request in: it says `sending`, and the gate counts it, in one transaction.

        Raises ConflictError when somebody else let one in, or changed this one, since gate and row were read.
        """
        now, begun = self.now(), gate.begun + 1 if gate.day == day else 1
        entity = {"PartitionKey": row.entry.rule, "RowKey": "gate", "Day": day, "Begun": begun}
        changes = {"sent_at": now, "due_at": now + grace, "tries": 1, "reason": "", "endpoint": endpoint}
        moved = self._move(row, State.SENDING, changes, [("update", entity, _only(gate.etag, mode=UpdateMode.MERGE))])
        return moved, self.gate(row.entry.rule)

    def gather(self, rule: str, datastore: str, folder: str, at: datetime, missed: bool = False) -> None:
        """Note that a file of a folder came: the folder is settling from now on.

        `missed`: the file is older than this notice, so a folder that is settling already is left as it is.
        """
        row = {"PartitionKey": rule, "RowKey": _folder_key(datastore, folder), "LastAt": at}
        with self._errors("gather"):
            try:
                if missed or not self._touch(row):
                    self._insert([("create", {**row, "Datastore": datastore, "Folder": folder, "FirstAt": at})])
            except TableTransactionError as error:
                if _code(error) != TableErrorCode.ENTITY_ALREADY_EXISTS:
                    raise
                if not missed:  # another file was first
                    self._touch(row)

    def folders(self, rule: str) -> list[Folder]:
        """Return the folders of a rule that are settling."""
        query = "PartitionKey eq @rule and RowKey ge 's|' and RowKey lt 's}'"
        with self._errors("folders"):
            try:
                rows = list(self.table.query_entities(query, parameters={"rule": rule}))
            except ResourceNotFoundError:
                return []
        return [
            Folder(
                datastore=row["Datastore"],
                folder=row["Folder"],
                first_at=_plain(row["FirstAt"]),
                last_at=_plain(row["LastAt"]),
                etag=_etag(row),
            )
            for row in rows
        ]

    def settled(self, rule: str, folder: Folder) -> bool:
        """Forget a folder that has settled; False when a file came since it was read: then it settles once more."""
        row_key = _folder_key(folder.datastore, folder.folder)
        with self._errors("settled"):
            try:
                self.table.delete_entity(rule, row_key, **_only(folder.etag))
            except HttpResponseError as error:
                if error.status_code not in (404, 412):
                    raise
                return error.status_code == 404
        return True

    def _touch(self, row: dict[str, Any]) -> bool:
        try:
            self.table.update_entity(row, mode=UpdateMode.MERGE)
        except ResourceNotFoundError:
            return False
        return True

    def gate(self, rule: str) -> Gate:
        """Return the gate of a rule; the first reader makes it."""
        with self._errors("gate"):
            if not (entity := self._find(rule, "gate")):
                with contextlib.suppress(TableTransactionError):  # another worker was first
                    self._insert([("create", {"PartitionKey": rule, "RowKey": "gate", "Day": "", "Begun": 0})])
                entity = self.table.get_entity(rule, "gate")
        return Gate(day=entity["Day"], begun=entity["Begun"], etag=_etag(entity))

    def queue(self, rule: str) -> Queue:
        """Return what of a rule's open work is active and what waits to be let in."""
        query = "PartitionKey eq @rule and RowKey ge 'o|' and RowKey lt 'o}'"
        with self._errors("queue"):
            rows = list(self.table.query_entities(query, parameters={"rule": rule}))
        waiting = [
            row["RowKey"].removeprefix("o|") for row in rows if row["State"] == State.WAITING and not row["Tries"]
        ]
        return Queue(active=len(rows) - len(waiting), waiting=waiting)

    def _move(self, row: Row, state: State, changes: dict[str, Any], more: list[Any]) -> Row:
        change = uuid.uuid4().hex
        entry = msgspec.structs.replace(row.entry, state=state, changed_at=self.now(), change=change, **changes)
        if row.open_etag is None:
            raise ConflictError(f"{entry.key} came to its end already: it is {row.entry.state}.")
        history = ("update", _history(entry), _only(row.history_etag, mode=UpdateMode.MERGE))
        opened = (
            ("update", _open(entry), _only(row.open_etag, mode=UpdateMode.MERGE))
            if state in OPEN
            else ("delete", _open(entry), _only(row.open_etag))
        )
        with self._errors(f"change to {state}"):
            try:
                etags = self.table.submit_transaction([history, opened, *more])
            except AzureError as error:
                if isinstance(error, HttpResponseError) and error.status_code not in (404, 412):
                    raise
                current = self.get(entry.key, [entry.rule])
                if not isinstance(error, HttpResponseError) and current == row:  # it broke before anything was written
                    raise
                if current is not None and current.entry == entry:  # ours: the answer to an earlier try was lost
                    return current
                found = f"{current.entry.state} since {current.entry.changed_at:%H:%M:%S}" if current else "gone"
                was = f"{entry.key} was to become {state} from {row.entry.state}"
                raise ConflictError(f"{was}, but another worker was first: it is {found}.") from error
        return Row(entry=entry, history_etag=etags[0]["etag"], open_etag=etags[1]["etag"] if state in OPEN else None)

    def bury(self, request: RetrainRequest, reason: str) -> Entry:
        """Insert a `dead` row for an arrival that never got one. One that is buried already stays as it is."""
        now = self.now()
        entry = self._entry(request, State.DEAD, now, reason=reason, ended_at=now)
        with self._errors("bury"):
            try:
                self._insert([("create", _history(entry))])
            except TableTransactionError as error:
                if _code(error) != TableErrorCode.ENTITY_ALREADY_EXISTS:
                    raise
        return entry

    def note_redriven(self, row: Row, key: str) -> None:
        """Write into an entry which attempt took its place."""
        entity = {"PartitionKey": row.entry.rule, "RowKey": _history_key(row.entry.key), "Redriven": key}
        with self._errors("note"):
            self.table.update_entity(entity, mode=UpdateMode.MERGE)

    def get(self, key: str, rules: Iterable[str]) -> Row | None:
        """Return the row of `key`, looking in the partitions of `rules`; a point read each."""
        try:
            row_key = _history_key(key)
        except ValueError:  # no key ever looked like this
            return None
        with self._errors("read"):
            for rule in rules:
                if history := self._find(rule, row_key):
                    entry = _entry(history)
                    opened = self._find(rule, f"o|{key}") if entry.state in OPEN else None
                    return Row(entry=entry, history_etag=_etag(history), open_etag=_etag(opened) if opened else None)
        return None

    def open(self, rule: str, due: datetime | None = None) -> list[tuple[str, str]]:
        """Return key and state of the open work, oldest data first; with `due`, of what is due by then."""
        query = "PartitionKey eq @rule and RowKey ge 'o|' and RowKey lt 'o}'"
        found = list[tuple[str, str]]()
        with self._errors("open work"):
            try:
                for entity in self.table.query_entities(query, parameters={"rule": rule}):
                    if due is None or (due_at := entity.get("DueAt")) is None or due_at <= due:
                        found.append((entity["RowKey"].removeprefix("o|"), entity["State"]))
            except ResourceNotFoundError:  # no table yet, so no work
                return []
        return found

    def keys(self, rule: str, written_since: datetime) -> dict[str, str]:
        """Return the keys of all requests whose data was written at or after a time, each with its file or folder."""
        query = "PartitionKey eq @rule and RowKey ge 'h|' and RowKey lt @end"
        parameters = {"rule": rule, "end": _history_key(f"{written_since.astimezone(UTC):%Y%m%dT%H%M%SZ}~")}
        with self._errors("keys"):
            try:
                found = self.table.query_entities(query, parameters=parameters, select=["RowKey", "Path"])
                return {entity["RowKey"].rpartition("|")[2]: entity["Path"] for entity in found}
            except ResourceNotFoundError:
                return {}

    def history(self, rule: str, limit: int) -> list[Entry]:
        """Return the newest `limit` entries of a rule, by the time their data was written, newest first."""
        query = "PartitionKey eq @rule and RowKey ge 'h|' and RowKey lt 'h}'"
        with self._errors("history"):
            found = self.table.query_entities(query, parameters={"rule": rule}, results_per_page=limit)
            try:
                return list(_readable(itertools.islice(found, limit)))
            except ResourceNotFoundError:  # no table yet, so no history
                return []

    def since(self, rule: Rule, uptime: timedelta) -> datetime:
        """Return when `rule` was first seen; now, less this process's `uptime`, when nobody has yet.

        The time is the table service's own: blobs are stamped by a clock of the same account, ours may differ.
        """
        row_key = f"since|{rule.origin()}"
        with self._errors("since"):
            if not (mark := self._find(rule.name, row_key)):
                row = {"PartitionKey": rule.name, "RowKey": row_key, "Path": rule.path}
                try:
                    self._insert([("create", {**row, "Uptime": uptime.total_seconds()})])
                except TableTransactionError as error:
                    if (
                        _code(error) != TableErrorCode.ENTITY_ALREADY_EXISTS
                    ):  # another worker was first: its time counts
                        raise
                mark = self.table.get_entity(rule.name, row_key)
        written = mark.metadata["timestamp"]
        assert written is not None  # the service stamps every entity
        return _plain(written) - timedelta(seconds=mark["Uptime"])

    def scan(self, rule: str) -> Scan | None:
        """Return how far the search for missed arrivals has come; None before the first."""
        with self._errors("scan"):
            entity = self._find(rule, "scan")
        return msgspec.convert(_columns(entity), Scan) if entity else None

    def save_scan(self, rule: str, scan: Scan) -> None:
        """Keep how far the search for missed arrivals has come."""
        columns = msgspec.to_builtins(scan, builtin_types=(datetime,))
        with self._errors("scan"):
            self.table.upsert_entity({"PartitionKey": rule, "RowKey": "scan", **columns})

    def gives_keys_back(self, pipeline: str, endpoint: str) -> bool | None:
        """Tell whether the list of this endpoint's runs was seen to carry our keys; None: no run was seen yet."""
        with self._errors("learned"):
            entity = self._find(f"pipeline|{pipeline}", _learned_key(endpoint))
        return bool(entity["GivenBack"]) if entity else None

    def learn(self, pipeline: str, endpoint: str, given_back: bool, run_id: str) -> None:
        """Keep whether a run carried our key. A no stays a no: one run without it is enough not to trust absence."""
        row = {"PartitionKey": f"pipeline|{pipeline}", "RowKey": _learned_key(endpoint), "GivenBack": given_back}
        with self._errors("learned"):
            if given_back:
                with contextlib.suppress(TableTransactionError):  # something was learned before: it stands
                    self._insert([("create", {**row, "RunId": run_id})])
            else:
                self.table.upsert_entity({**row, "RunId": run_id})

    def register(self, rule: str) -> None:
        """Keep that there are rows of this rule: they are brought to their end also when the rule is gone."""
        with self._errors("register"), contextlib.suppress(TableTransactionError):  # it is there
            self._insert([("create", {"PartitionKey": "rules|", "RowKey": rule})])

    def rules(self) -> list[str]:
        """Return the names of all rules that ever were."""
        with self._errors("rules"):
            try:
                return [row["RowKey"] for row in self.table.query_entities("PartitionKey eq 'rules|'")]
            except ResourceNotFoundError:
                return []

    def _entry(self, request: RetrainRequest, state: State, now: datetime, **columns: Any) -> Entry:
        return Entry(
            key=request.key,
            state=state,
            change=uuid.uuid4().hex,
            request=msgspec.json.encode(request).decode(),
            rule=request.rule,
            datastore=request.data_path.datastore,
            path=request.arrival.path,
            data_path=request.data_path.path,
            pipeline=request.pipeline,
            version=request.version,
            attempt=request.attempt,
            source=request.arrival.source,
            claimed_at=now,
            changed_at=now,
            **columns,
        )

    def _insert(self, operations: list[tuple[str, dict[str, Any]]]) -> list[Mapping[str, Any]]:
        """Run a transaction of inserts; the very first one makes the table."""
        try:
            return self.table.submit_transaction(operations)
        except HttpResponseError as error:
            if _code(error) != TableErrorCode.TABLE_NOT_FOUND:
                raise
        with contextlib.suppress(ResourceExistsError):  # another worker was first
            self.table.create_table()
        return self.table.submit_transaction(operations)

    def _find(self, rule: str, row_key: str) -> TableEntity | None:
        try:
            return self.table.get_entity(rule, row_key)
        except ResourceNotFoundError:
            return None

    def _errors(self, step: str) -> AbstractContextManager[None]:
        return storage_errors(f"Ledger table {self.table.table_name!r}, {step}")


def _history_key(key: str) -> str:
    """Return the history row's key: newest data first, by the time in front of the key. Raises ValueError."""
    written = datetime.strptime(key[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return f"h|{9_999_999_999 - int(written.timestamp()):010d}|{key}"


def _learned_key(endpoint: str) -> str:
    return f"keys|{hashlib.sha256(endpoint.encode()).hexdigest()[:12]}"


def _folder_key(datastore: str, folder: str) -> str:
    """Return the row key of a settling folder: a digest, since a path has characters that a key must not have."""
    return f"s|{hashlib.sha256(f'{datastore}\n{folder}'.encode()).hexdigest()[:32]}"


def _history(entry: Entry) -> dict[str, Any]:
    columns = msgspec.to_builtins(entry, builtin_types=(datetime,))
    return {"PartitionKey": entry.rule, "RowKey": _history_key(entry.key), **columns}


def _open(entry: Entry) -> dict[str, Any]:
    row = {
        "PartitionKey": entry.rule,
        "RowKey": f"o|{entry.key}",
        "State": str(entry.state),
        "Tries": entry.tries,
        "Layout": LAYOUT,
    }
    return row | ({"DueAt": entry.due_at} if entry.due_at else {})


def _entry(entity: Mapping[str, Any]) -> Entry:
    try:
        entry = msgspec.convert(_columns(entity), Entry)
        entry.retrain_request()
    except msgspec.DecodeError as error:
        where = f"row {entity.get('RowKey')!r} of rule {entity.get('PartitionKey')!r}"
        layout = entity.get("Layout", LAYOUT)
        why = f"it has layout {layout}, this app reads {LAYOUT}" if layout != LAYOUT else "it was damaged"
        raise RowError(f"The ledger's {where} cannot be read ({error}): {why}.") from error
    return entry


def _columns(entity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) if isinstance(value, datetime) else value for name, value in entity.items()}


def _readable(entities: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Yield the entries; a row that cannot be read is logged and left out, the others are still wanted."""
    for entity in entities:
        try:
            yield _entry(entity)
        except RowError as error:
            log("row_unreadable", logging.ERROR, reason=error)


def _plain(time: datetime) -> datetime:
    """Return the time without the service's own text: the SDK's is a subclass that no encoder knows."""
    return datetime.combine(time.date(), time.timetz())


def _etag(entity: TableEntity) -> str:
    etag = entity.metadata["etag"]
    assert etag is not None  # the service gives one with every entity
    return etag


def _code(error: HttpResponseError) -> object:
    return getattr(error, "error_code", None)


def _only(etag: str | None, **more: Any) -> dict[str, Any]:
    """Options of an operation that must find the row as it was read."""
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified, **more}
