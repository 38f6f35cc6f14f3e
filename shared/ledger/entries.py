"""What a row of the ledger says: the states, the columns, and how older rows are read. Never talks to the table.

    (no row) --enter--> queued     not sent yet: the rule's limit is reached, or the timer found it; the timer sends it
                        sending    announced: the POST may leave now
        sending --> submitted --> running --> finished | failed | canceled
           |            '-----------'-------> lost_sight   the run cannot be read any more, for days
           |            '-----------'-------> mispinned    the run is of another pipeline than the pinned one: an alarm
           |------> refused     the request's own content is wrong, or nobody took it within give_up_after
           |------> deferred    surely not accepted, and not because of its content; sent again with growing pauses
           '------> uncertain   no answer, or the worker died: found at the endpoint (submitted), or surely not there
                                (sending again), or held
    queued | deferred | uncertain --> held   a person's turn: its rule or datastore is gone from retrain.toml (it goes
                                on when that is back), or whether it was accepted cannot be learned
    queued --> superseded | skipped          the rule's when_busy says so
    (any open state) --> closed              an operator ended it, or started another attempt in its place
    (no row) --bury--> dead                  the platform gave up on the arrival before it had its row

An entry is two rows: `h|<newest first>|<key>`, for ever, and while it is open a second one, whose place says whose turn
it is: `o|<key>` the timer's, `p|<key>` a person's, `q|<key>` nobody's yet, since it waits in the queue. The second one
has what the timer needs to decide whether to act, so that what needs nothing costs nothing but the listing. With
`identity = "content"` a third one, `c|<content>`, says for ever that this content has its request.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from shared import reading
from shared.errors import BadRequestError, RowError, masked
from shared.pipelines.address import Address
from shared.pipelines.target import Target
from shared.rules.decision import RetrainRequest

LAYOUT = 2  # of a row; raised when an older version of the app could not read it
# A property holds 32,768 UTF-16 units, an entity 1 MiB (Table service data model); the rest of a row needs little.
PIECE, PIECES = 32_000, 12
LONGEST_TEXT = 4_000  # of what others say: a reason, a run's page
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # a column can be overwritten, and not be taken away


class State(StrEnum):
    """Where a retrain request stands."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    UNCERTAIN = "uncertain"
    SUBMITTED = "submitted"
    RUNNING = "running"
    HELD = "held"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST_SIGHT = "lost_sight"
    REFUSED = "refused"
    MISPINNED = "mispinned"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    CLOSED = "closed"
    DEAD = "dead"


# Whose turn it is, by the letter in front of the open row's key; a state that is not here is an end.
PLACES = {
    State.SENDING: "o",
    State.DEFERRED: "o",
    State.UNCERTAIN: "o",
    State.SUBMITTED: "o",
    State.RUNNING: "o",
    State.HELD: "p",
    State.QUEUED: "q",
}
OPEN = frozenset(PLACES)


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
    """Name of the pipeline in retrain.toml when this was decided."""
    version: str = ""
    """The version that it was sent to; empty until then."""
    target: Target | None = None
    """Where it was sent, as a whole; None until then. All later steps work from this."""
    attempt: int
    source: str
    claimed_at: datetime
    changed_at: datetime
    due_at: datetime | None = None
    """Not to be touched by the timer before this time."""
    sent_at: datetime | None = None
    tries: int = 0
    """Submissions begun."""
    unsent: bool = False
    """It is held, and surely at no endpoint: it may go on when retrain.toml is mended."""
    deferred_since: datetime = NEVER
    """Since when the endpoint does not take it."""
    unread_since: datetime = NEVER
    """Since when its run cannot be read."""
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
    told: str = ""
    """The states that somebody was, or is, to be told of, each once."""
    endpoint: str = ""
    """Of layout 1: which endpoint it was sent to."""
    layout: int = LAYOUT

    @property
    def written_at(self) -> datetime:
        """When its data was written, as its key says: what the history is in the order of."""
        return written_at(self.key)

    def retrain_request(self) -> RetrainRequest:
        """Return the request as it was decided."""
        return reading.decode(self.request, RetrainRequest)

    @property
    def is_open(self) -> bool:
        """Tell whether somebody still has to do something. Of layout 1 what was held had come to its end."""
        return self.state in OPEN and not (self.state == State.HELD and self.layout < LAYOUT)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An entry, and the ETag that a change to it must match."""

    entry: Entry
    etag: str


class Work(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An open entry as the timer's listing tells it: enough to decide whether anything has to be done."""

    key: str
    rule: str
    state: State
    due_at: datetime | None = None
    tries: int = 0
    datastore: str = ""
    """Datastore of the data path."""
    target: Target | None = None
    sent_at: datetime | None = None
    claimed_at: datetime = NEVER
    deferred_since: datetime = NEVER
    unread_since: datetime = NEVER
    unsent: bool = False
    run_id: str = ""
    run_status: str = ""
    proven: bool = False
    """The run was read back to be of the pinned version."""
    reason: str = ""
    """The beginning of the entry's reason."""
    layout: int = 1

    def is_due(self, now: datetime) -> bool:
        """Tell whether the timer may touch it."""
        return self.due_at is None or self.due_at <= now


def entry_of(request: RetrainRequest, state: State, change: str, now: datetime, **columns: Any) -> Entry:
    """Return the first entry of a request. Raises BadRequestError when it is larger than a row."""
    text = msgspec.json.encode(request).decode()
    if len(_pieces(text)) > PIECES:
        raise BadRequestError(
            f"The request of rule {request.rule!r} for {request.arrival.path!r} has {len(text):,} characters as JSON; "
            f"at most {PIECE * PIECES:,} can be kept. Shorten its parameters."
        )
    return Entry(
        key=request.key,
        state=state,
        change=change,
        request=text,
        rule=request.rule,
        datastore=request.data_path.datastore,
        path=request.arrival.path,
        data_path=request.data_path.path,
        pipeline=request.pipeline,
        attempt=request.attempt,
        source=request.arrival.source,
        claimed_at=now,
        changed_at=now,
        **columns,
    )


def note_columns(entry: Entry) -> dict[str, Any]:
    """Return the row that says that the entry's state is to be told."""
    columns = {"MadeAt": entry.changed_at, "DueAt": entry.changed_at, "Tries": 0, "Told": False}
    return {"PartitionKey": entry.rule, "RowKey": f"n|{entry.key}|{entry.state}", **columns}


def content_row(request: RetrainRequest) -> str:
    """Return the row key of what says that there is a request for this content."""
    return f"c|{request.content}"


def clipped(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text of others as a column holds it: without what gives access, and not at any length."""
    text = masked(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def written_at(key: str) -> datetime:
    """Return the time that a key begins with. Raises ValueError."""
    try:
        return datetime.strptime(key[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{key[:60]!r} is no key") from None


def history_key(key: str) -> str:
    """Return the history row's key: newest data first, by the time in front of the key. Raises ValueError."""
    written = written_at(key)
    if len(key) > 100 or not key.isascii() or not key.replace("-", "").isalnum():
        raise ValueError(f"{key[:60]!r} is no key")
    return f"h|{9_999_999_999 - int(written.timestamp()):010d}|{key}"


def open_key(key: str, state: State) -> str:
    """Return the open row's key in an open state."""
    return f"{PLACES[state]}|{key}"


def history_columns(entry: Entry, whole: bool) -> dict[str, Any]:
    """Return the history row; the request, which never changes, only with `whole`."""
    columns = msgspec.to_builtins(entry, builtin_types=(datetime,))
    columns["Target"] = _target_text(entry.target)
    request = columns.pop("Request")
    pieces = {f"Request{number or ''}": piece for number, piece in enumerate(_pieces(request) if whole else ())}
    return {"PartitionKey": entry.rule, "RowKey": history_key(entry.key), **columns, **pieces}


def open_columns(entry: Entry) -> dict[str, Any]:
    """Return the open row."""
    work = Work(
        key=entry.key,
        rule=entry.rule,
        state=entry.state,
        due_at=entry.due_at,
        tries=entry.tries,
        datastore=entry.datastore,
        target=entry.target,
        sent_at=entry.sent_at,
        claimed_at=entry.claimed_at,
        deferred_since=entry.deferred_since,
        unread_since=entry.unread_since,
        unsent=entry.unsent,
        run_id=entry.run_id,
        run_status=entry.run_status,
        proven=bool(entry.pipeline_id),
        reason=clipped(entry.reason, 300),
        layout=LAYOUT,
    )
    columns = msgspec.to_builtins(work, builtin_types=(datetime,))
    columns["Target"] = _target_text(work.target)
    del columns["Key"], columns["Rule"]
    return {"PartitionKey": entry.rule, "RowKey": open_key(entry.key, entry.state), **columns}


def read_entry(row: Mapping[str, Any]) -> Entry:
    """Read a history row. Raises RowError saying which row, and why it cannot be read."""
    try:
        columns = _columns(row)
        pieces = [columns.pop(f"Request{number or ''}", "") for number in range(PIECES)]
        if any(not isinstance(piece, str) for piece in pieces) or not pieces[0]:
            raise msgspec.ValidationError("no request")
        columns["Request"] = "".join(pieces)
        if columns.get("State") == "waiting":  # of layout 1, where one word stood for both
            columns["State"] = State.DEFERRED if columns.get("Tries") else State.QUEUED
        entry = reading.convert(columns, Entry)
        request = entry.retrain_request()
        if entry.layout < LAYOUT and entry.sent_at and entry.target is None:
            entry = msgspec.structs.replace(entry, target=_target_of_layout_1(entry, request))
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        where = f"row {row.get('RowKey')!r} of rule {row.get('PartitionKey')!r}"
        layout = row.get("Layout", LAYOUT)
        why = f"it has layout {layout}, this app reads {LAYOUT}" if layout != LAYOUT else "it was damaged"
        raise RowError(f"The ledger's {where} cannot be read ({error}): {why}.") from error
    return entry


def read_work(row: Mapping[str, Any]) -> Work:
    """Read an open row. Raises RowError."""
    try:
        columns = _columns(row)
        if columns.get("State") == "waiting":
            columns["State"] = State.DEFERRED if columns.get("Tries") else State.QUEUED
        columns["Key"], columns["Rule"] = row["RowKey"][2:], row["PartitionKey"]
        return reading.convert(columns, Work)
    except msgspec.DecodeError as error:
        raise RowError(
            f"The ledger's row {row.get('RowKey')!r} of rule {row.get('PartitionKey')!r} cannot be read ({error}): "
            "a newer version of the app wrote it, or it was damaged; it is left alone."
        ) from error


def _target_of_layout_1(entry: Entry, request: RetrainRequest) -> Target | None:
    """Return where an older version of the app sent a request, as far as its row tells: not the experiment, if it was
    the pipeline's, and not the audience."""
    service, found, rest = entry.endpoint.partition("/subscriptions/")
    workspace, _, endpoint_id = rest.rpartition("/")
    if not found or not endpoint_id:
        return None
    kind: Literal["published_pipeline", "pipeline_endpoint"]
    kind = "published_pipeline" if endpoint_id == entry.version else "pipeline_endpoint"
    address = Address(service=service, workspace=f"/subscriptions/{workspace}", kind=kind, id=endpoint_id)
    return Target(address=address, version=entry.version, experiment=request.experiment)


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    columns = {name: plain(value) if isinstance(value, datetime) else value for name, value in row.items()}
    if isinstance(text := columns.pop("Target", ""), str) and text:
        columns["Target"] = msgspec.json.decode(text)
    return columns


def _target_text(target: Target | None) -> str:
    return msgspec.json.encode(target).decode() if target else ""


def _pieces(text: str) -> list[str]:
    """Cut a text so that each part fits a property, which is measured in UTF-16 units."""
    if len(text) * 2 <= PIECE:
        return [text]
    pieces, start, units = list[str](), 0, 0
    for position, character in enumerate(text):
        size = 2 if ord(character) > 0xFFFF else 1
        if units + size > PIECE:
            pieces.append(text[start:position])
            start, units = position, 0
        units += size
    return [*pieces, text[start:]]


def plain(time: datetime) -> datetime:
    """Return the time without the service's own text: the SDK's is a subclass that no encoder knows."""
    return datetime.combine(time.date(), time.timetz())
