"""A decision becomes a row: the claim. Nobody else makes rows.

The row is made by one conditional insert, so of all who try exactly one gets it. Never sends
anything.
"""

from datetime import datetime
from typing import Any

from shared.app import App
from shared.errors import ConflictError
from shared.flow import limits
from shared.flow.outcome import Outcome
from shared.ledger.entries import Row, State
from shared.ledger.table import Taken
from shared.log import log
from shared.metrics import record
from shared.pipelines.target import Target
from shared.rules.decision import RetrainRequest

TRIES = 3  # to be let in, while others are let in at the same moment; then it waits in the queue


def to_send(app: App, request: RetrainRequest) -> Row | Outcome:
    """Make the row of a request that is to be sent now: it says `sending`, and only the caller may send it.

    An Outcome when there is nothing to send: the request has its row already, or has to wait in its rule's queue.
    Raises StorageError, BadRequestError.
    """
    target = app.target_of(request)
    if isinstance(target, str):  # a rule that went while its folder was looked at
        return waiting(app, request, State.HELD, target, unsent=True)
    if paused := app.paused(request.rule):
        return queued(app, request, paused)
    for _ in range(TRIES):
        verdict = limits.verdict(app, request)
        if verdict.state != State.SENDING:
            return waiting(app, request, verdict.state, verdict.reason)
        now = app.ledger.now()
        try:
            made = app.ledger.enter(request, State.SENDING, verdict.gate, **announced(app, target, now), tries=1)
        except ConflictError:
            continue
        if isinstance(made, Taken):
            return _duplicate(request, made)
        _log(request, State.SENDING, version=target.version)
        return made.row
    return queued(app, request)


def queued(app: App, request: RetrainRequest, reason: str = "Found by the timer, which sends it.") -> Outcome:
    """Make the row of a request that the timer sends. Raises StorageError, BadRequestError."""
    return waiting(app, request, State.QUEUED, reason)


def waiting(app: App, request: RetrainRequest, state: State, reason: str, unsent: bool = False) -> Outcome:
    """Make a row that is not sent now, or not at all; it says why."""
    now = app.ledger.now()
    ended_at = now if state == State.SKIPPED else None
    made = app.ledger.enter(request, state, due_at=now, reason=reason, ended_at=ended_at, unsent=unsent)
    if isinstance(made, Taken):
        return _duplicate(request, made)
    _log(request, state, reason=reason)
    return Outcome(key=request.key, rule=request.rule, entry=made.row.entry)


def announced(app: App, target: Target, now: datetime) -> dict[str, Any]:
    """Return the columns of a row that says `sending`: where it goes, and until when nobody else touches it."""
    return {"target": target, "sent_at": now, "due_at": now + app.settings.grace, "reason": ""}


def _duplicate(request: RetrainRequest, taken: Taken) -> Outcome:
    log("duplicate", key=taken.key, rule=request.rule, source=request.arrival.source)
    return Outcome(key=taken.key, rule=request.rule, duplicate=True)


def _log(request: RetrainRequest, state: State, **more: object) -> None:
    source, path = request.arrival.source, request.arrival.path
    record("retrain.arrivals", rule=request.rule)
    log("entered", key=request.key, state=state, rule=request.rule, path=path, source=source, **more)
