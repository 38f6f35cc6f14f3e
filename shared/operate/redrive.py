"""An operator's word about an entry: act on it again (`redrive`), many at once (`redrive_many`), or end it (`close`).

History is kept: what is acted on again is a new attempt, with a key of its own, and the old row names it. Never starts
what could double a live run, unless that is asked for.
"""

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from shared.app import App
from shared.errors import BadRequestError, ConflictError, NotFoundError, RetrainError, shown
from shared.flow import arrive, enter, folders, send
from shared.flow.outcome import Outcome
from shared.flow.send import Job
from shared.ledger.entries import OPEN, Entry, Row, State, Work
from shared.log import log
from shared.operate.calls import start_again
from shared.rules.arrival import Source
from shared.rules.decision import RetrainRequest, again, content_of
from shared.rules.folder import folder_request

LIVE = (OPEN - {State.HELD}) | {State.FINISHED}
"""Another attempt beside one of these could train twice."""
REDRIVEN = (State.REFUSED, State.HELD, State.DEAD, State.FAILED, State.CANCELED, State.LOST_SIGHT, State.DEFERRED)
"""What may be redriven by state: bad ends, and what waits for an endpoint that takes it again."""


def redrive(app: App, key: str, force: bool = False) -> Outcome:
    """Act again on an entry: a new attempt, sent at once to what is pinned now.

    What is deferred is sent once more, as it is. Raises NotFoundError; ConflictError for what could double a live run,
    unless `force`, and when somebody was first.
    """
    row = found(app, key)
    if row.entry.state == State.DEFERRED and not force:
        return send_now(app, row)
    request = renewed(app, row, force)
    if force and row.entry.state in (State.QUEUED, State.DEFERRED, State.UNCERTAIN, State.SENDING):
        # Nobody must send the first one again once a person has decided.
        row = app.ledger.move(row, State.CLOSED, reason="Redriven by force.", ended_at=app.ledger.now())
    attempt = row.entry.attempt + 1
    outcome = start_again(app, request, attempt) if force else arrive.start(app, again(request, attempt))
    replaced(app, row, outcome.key)
    if outcome.duplicate:
        raise ConflictError(f"{key} was redriven already, as {outcome.key}.")
    return outcome


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which entries are to be redriven."""

    rule: str
    state: str
    since: timedelta | None = None
    """Only what came to that state within this time."""
    limit: int = 1000


class Redriven(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one entry."""

    key: str
    attempt: str = ""
    """Key of the attempt that was queued; the same key where it is sent once more as it is."""
    error: str = ""


def wished(app: App, wish: Wish) -> list[Entry]:
    """Return what a wish is about, newest data first. Raises BadRequestError, NotFoundError."""
    states = {str(state): state for state in REDRIVEN}
    if wish.state not in states:
        raise BadRequestError(f"{wish.state!r} is no state to redrive; there are: {', '.join(states)}.")
    app.settings.rule(wish.rule)
    oldest = app.ledger.now() - wish.since if wish.since else None
    entries = list[Entry]()
    for entry in app.ledger.in_state(wish.rule, states[wish.state]):
        if entry.redriven or (oldest and entry.changed_at < oldest):
            continue
        entries.append(entry)
        if len(entries) == wish.limit:
            break
    return entries


def redrive_many(app: App, entries: list[Entry]) -> Iterator[Redriven]:
    """Queue a new attempt for each entry, one after the other; the timer sends them. One that fails stops no other."""
    for entry in entries:
        try:
            row = found(app, entry.key)
            if row.entry.state == State.DEFERRED:
                app.ledger.move(row, State.DEFERRED, due_at=app.ledger.now())
                yield Redriven(key=entry.key, attempt=entry.key)
                continue
            outcome = enter.queued(app, again(renewed(app, row), row.entry.attempt + 1), "Redriven by an operator.")
            replaced(app, row, outcome.key)
            yield Redriven(key=entry.key, attempt=outcome.key)
        except RetrainError as error:
            yield Redriven(key=entry.key, error=str(error))


def close(app: App, key: str, reason: str = "") -> Entry:
    """End an open entry without acting. Raises NotFoundError, ConflictError."""
    row = found(app, key)
    if not row.entry.is_open:
        raise ConflictError(f"{key} came to its end already: it is {row.entry.state}.")
    if row.entry.state == State.SENDING and not Work(
        key=key, rule="", state=State.SENDING, due_at=row.entry.due_at
    ).is_due(app.ledger.now()):
        raise ConflictError(f"{key} is being sent just now; try again in a moment.")
    text = (
        f"Closed by an operator{f': {reason}' if reason else ''}. It was {row.entry.state}. {row.entry.reason}".strip()
    )
    closed = app.ledger.move(row, State.CLOSED, reason=text, ended_at=app.ledger.now()).entry
    log("closed", key=key, rule=closed.rule, was=row.entry.state, reason=reason or None)
    return closed


def cancel(app: App, key: str) -> Entry:
    """Ask the endpoint to end the run of an entry; the timer writes down when it has.

    Raises NotFoundError; ConflictError without a live run; EndpointError when the endpoint does not do as asked.
    """
    row = found(app, key)
    entry = row.entry
    if not entry.is_open or not entry.run_id or entry.target is None:
        told = "has no run" if not entry.run_id else f"came to its end already: it is {entry.state}"
        raise ConflictError(f"{key} {told}. What was not sent is ended by close.")
    app.endpoint(entry.target).cancel(entry.run_id)
    log("cancel_asked", key=key, rule=entry.rule, run=entry.run_id)
    app.memory.listed.pop(entry.target.pin, None)  # so that the next tick looks
    return entry


def found(app: App, key: str) -> Row:
    """Return the row of a key. Raises NotFoundError."""
    row = app.ledger.get(key, app.rule_names())
    if row is None:
        raise NotFoundError(f"There is no retrain request {shown(key)}.")
    return row


def send_now(app: App, row: Row) -> Outcome:
    """Send what is deferred once more, without waiting for its time. Raises ConflictError, StorageError."""
    entry = row.entry
    send.one(app, Job(Work(key=entry.key, rule=entry.rule, state=entry.state, tries=entry.tries)))
    return Outcome(key=entry.key, rule=entry.rule, entry=found(app, entry.key).entry)


def renewed(app: App, row: Row, force: bool = False) -> RetrainRequest:
    """Return the request of an entry, for its data as it is now. Raises NotFoundError, ConflictError, StorageError."""
    entry, original = row.entry, row.entry.retrain_request()
    if entry.redriven and not force:
        raise ConflictError(f"{entry.key} was redriven already, as {entry.redriven}.")
    if entry.state in LIVE and not force:
        raise ConflictError(
            f"{entry.key} is {entry.state}: another attempt could train twice. If that is meant, force it."
        )
    fresh = as_it_is_now(app, entry, original)
    if original.arrival.etag not in ("", fresh.arrival.etag) and not same_content(original, fresh):
        raise ConflictError(f"{entry.path!r} has been overwritten since; its new version is an arrival of its own.")
    return fresh


def same_content(one: RetrainRequest, other: RetrainRequest) -> bool:
    """Tell whether two requests are for the same content, where the rule goes by that."""
    known = content_of(one.rule, one.arrival) if one.content else ""
    return known != "" and known == content_of(other.rule, other.arrival)


def as_it_is_now(app: App, entry: Entry, original: RetrainRequest) -> RetrainRequest:
    """Look at the data of an entry once more: a file's properties, or a folder's content."""
    rule, datastore = app.settings.rule(entry.rule), original.arrival.datastore
    if datastore not in app.datastores:
        raise NotFoundError(f"retrain.toml has no datastore {datastore!r} any more; put it back to act on {entry.key}.")
    if not original.arrival.is_folder:
        arrival = app.datastores[datastore].look(entry.path, Source.REDRIVE)
        return msgspec.structs.replace(original, arrival=msgspec.structs.replace(arrival, metadata=None))
    content = folders.contents(app, rule, datastore, entry.path)
    decision = folder_request(rule, entry.path, datastore, Source.REDRIVE, content)
    if not isinstance(decision, RetrainRequest):
        raise NotFoundError(f"Folder {entry.path!r} has no data any more.")
    if rule.data_path.grain == "manifest":
        app.datastores[datastore].write(decision.data_path.path, content.lines())
    return msgspec.structs.replace(original, arrival=decision.arrival, data_path=decision.data_path)


def replaced(app: App, row: Row, key: str) -> None:
    """Write into an entry which attempt took its place; what was held is nobody's turn any more."""
    if row.entry.is_open and row.entry.state == State.HELD:
        app.ledger.move(row, State.CLOSED, redriven=key, reason=row.entry.reason, ended_at=app.ledger.now())
    else:
        app.ledger.note_redriven(row.entry, key)
