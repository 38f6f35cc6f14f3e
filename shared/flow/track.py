"""Follows runs to their end, from their rows: one list an endpoint and version tells of all of them.

A run is read by itself only where the list does not tell. At the first look it is proved to be of the pinned version.
Never starts a run, and writes only what has changed.
"""

import logging
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from shared.app import App
from shared.errors import EndpointError
from shared.flow.lookout import Lookout
from shared.ledger import learned
from shared.ledger.entries import NEVER, OPEN, Row, State, Work
from shared.log import log, logged
from shared.pipelines.base import Phase, ReadError, Run
from shared.pipelines.target import Target

# How long after its submission a run is looked at how often: people watch the first minutes, a job may last for days.
PACES = (
    (timedelta(minutes=10), timedelta()),
    (timedelta(hours=2), timedelta(minutes=5)),
    (timedelta(days=1), timedelta(minutes=15)),
)
PACE_OF_OLD = timedelta(hours=1)
# Sight of a run is lost when it cannot be read for so long; when the service says that there is none, sooner.
LOST_AFTER, GONE_AFTER = timedelta(days=3), timedelta(hours=1)

STATES = {
    Phase.PENDING: State.SUBMITTED,
    Phase.RUNNING: State.RUNNING,
    Phase.FINISHED: State.FINISHED,
    Phase.FAILED: State.FAILED,
    Phase.CANCELED: State.CANCELED,
}


def is_due(app: App, target: Target, works: list[Work], now: datetime) -> bool:
    """Tell whether it is time to look at the runs of one endpoint and version: as often as the youngest needs it."""
    age = min(now - (work.sent_at or now) for work in works)
    pace = next((pace for limit, pace in PACES if age < limit), PACE_OF_OLD)
    if now - app.memory.listed.get(target.pin, NEVER) < pace:
        return False
    app.memory.listed[target.pin] = now
    return True


def needs(work: Work, run: Run | None) -> bool:
    """Tell whether something has to be done for a row: its run has changed, or is not in the list."""
    if run is None:
        return True
    proof, seen_again = run.pipeline_id is not None and not work.proven, work.unread_since != NEVER
    return (STATES[run.phase], run.word) != (work.state, work.run_status) or proof or seen_again


def track(app: App, lookout: Lookout, work: Work, target: Target, run: Run | None) -> None:
    """Write down where a run is; `run` is what the list says of it, if it does.

    Raises EndpointError, StorageError, ConflictError.
    """
    if run is None:
        try:
            run = app.endpoint(target).run(work.run_id)
        except EndpointError as error:
            lose_sight(app, work, error)
            raise
        if not needs(work, run):
            return
    row = app.ledger.get(work.key, [work.rule])
    if row is None or row.entry.run_id != work.run_id or row.entry.state not in (State.SUBMITTED, State.RUNNING):
        return  # somebody else was first
    pinned = app.endpoint(target).pinned(target.version) if run.pipeline_id and not row.entry.pipeline_id else None
    if pinned and run.pipeline_id != pinned:
        alarm(app, row, run, pinned)
        return
    with logged("learn", key=work.key):
        lookout.learn(work, target)
    write(app, row, run)


def write(app: App, row: Row, run: Run) -> None:
    """Write what has changed about a run into its row."""
    entry, now, state = row.entry, app.ledger.now(), STATES[run.phase]
    changes: dict[str, Any] = {"run_status": run.word, "pipeline_id": run.pipeline_id or "", "unread_since": NEVER}
    if run.started_at:
        changes["started_at"] = run.started_at
    if state not in OPEN:
        changes["ended_at"] = run.ended_at or now
    if state == State.FAILED:
        changes["reason"] = why_failed(app, row, run)
    app.ledger.move(row, state, **changes)
    if state != entry.state:
        level = logging.WARNING if state in (State.FAILED, State.CANCELED) else logging.INFO
        log(state, level, key=entry.key, rule=entry.rule, run=run.run_id, reason=changes.get("reason") or None)


def alarm(app: App, row: Row, run: Run, pinned: str) -> None:
    """The service started another pipeline than the pinned one: say so, and do not follow it any further."""
    entry = row.entry
    reason = f"Run {run.run_id} is of pipeline {run.pipeline_id}, but version {entry.version} is {pinned}."
    app.ledger.move(row, State.MISPINNED, reason=reason, pipeline_id=run.pipeline_id or "", ended_at=app.ledger.now())
    log("mispinned", logging.ERROR, key=entry.key, rule=entry.rule, reason=reason, cure="cancel the run")


def why_failed(app: App, row: Row, run: Run) -> str:
    """Return why a run failed, as far as the service tells: with its status, or in run history."""
    target = row.entry.target
    assert target is not None  # what was sent says where to
    try:
        return run.error or app.endpoint(target).error_of(run.run_id)
    except EndpointError as error:  # the run's end counts more than its reason
        return f"The reason could not be read: {error}"


def unreadable_since(app: App, target: Target, now: datetime) -> datetime:
    """Note that an endpoint cannot be read; return since when."""
    app.memory.readable.discard(target.place)
    return learned.unreadable_since(app.ledger, target.place, now)


def readable(app: App, target: Target) -> None:
    """Note that an endpoint can be read."""
    if target.place not in app.memory.readable:
        learned.readable(app.ledger, target.place)
        app.memory.readable.add(target.place)


def lose_sight(app: App, work: Work, error: EndpointError, since: datetime = NEVER) -> None:
    """Note since when a run cannot be read; after days, or when it is gone, it is not waited for any longer."""
    row, now = app.ledger.get(work.key, [work.rule]), app.ledger.now()
    if row is None or row.entry.run_id != work.run_id or not row.entry.is_open:
        return
    since = since if since != NEVER else row.entry.unread_since
    if since == NEVER:
        app.ledger.move(row, row.entry.state, unread_since=now)
        return
    is_gone = isinstance(error, ReadError) and error.status == HTTPStatus.NOT_FOUND
    if now - since < (GONE_AFTER if is_gone else LOST_AFTER):
        return
    reason = f"Its run {work.run_id} cannot be read since {since:%Y-%m-%d %H:%M} UTC: {error}"
    app.ledger.move(row, State.LOST_SIGHT, reason=reason, ended_at=now)
    log("lost_sight", logging.ERROR, key=work.key, rule=work.rule, run=work.run_id, reason=reason)
