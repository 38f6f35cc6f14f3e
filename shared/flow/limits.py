"""Who is let in, where a rule limits how many runs are active (`max_active`) or begin in a day (`daily_cap`).

The gate's ETag is part of each admission, and is read before the work that is counted: whoever was let in meanwhile has
changed it. Never sends anything, and never reads what waits in the queue behind those that there is room for.
"""

import threading
from typing import Any

import msgspec

from shared.app import App
from shared.ledger.entries import Row, State, Work
from shared.ledger.gate import Gate
from shared.log import log
from shared.rules.decision import RetrainRequest
from shared.rules.rule import Rule

HEAD = 100  # of a queue, that is looked at in one tick


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a request that has just arrived."""

    state: State
    """SENDING: it is let in. QUEUED: it waits. SKIPPED: the rule's when_busy says so."""
    gate: Gate | None = None
    reason: str = ""


def verdict(app: App, request: RetrainRequest) -> Verdict:
    """Decide about an arrival. Raises StorageError."""
    rule = app.settings.find(request.rule)
    if rule is None or not rule.limited:
        return Verdict(state=State.SENDING)
    gate = app.ledger.gate(rule.name, today(app))
    work = app.ledger.open(rule.name, queued=1)
    if places(rule, gate, work.active) > 0 and not work.queued:
        return Verdict(state=State.SENDING, gate=gate)
    reason = why_not(rule, gate, work.active) or "Others wait before it."
    busy = rule.max_active is not None and len(work.active) >= rule.max_active
    if rule.when_busy == "skip" and busy:
        return Verdict(state=State.SKIPPED, reason=reason)
    return Verdict(state=State.QUEUED, reason=reason)


def places(rule: Rule, gate: Gate, active: list[Work]) -> int:
    """Return how many more may be let in now."""
    room = rule.max_active - len(active) if rule.max_active is not None else None
    left = rule.daily_cap - gate.begun if rule.daily_cap is not None else None
    return max(0, min(value for value in (room, left) if value is not None))


def why_not(rule: Rule, gate: Gate, active: list[Work]) -> str:
    """Say which limit is reached; empty when none is."""
    if rule.max_active is not None and len(active) >= rule.max_active:
        return f"{len(active)} runs are active; the rule's max_active is {rule.max_active}."
    if rule.daily_cap is not None and gate.begun >= rule.daily_cap:
        return f"{gate.begun} runs began today (UTC); the rule's daily_cap is {rule.daily_cap}."
    return ""


def today(app: App) -> str:
    """Return the day (UTC) that a daily_cap counts by."""
    return f"{app.ledger.now():%Y-%m-%d}"


class Door:
    """Lets waiting requests of one rule in, one at a time; safe to share between threads."""

    def __init__(self, app: App, gate: Gate, room: int) -> None:
        """Let `room` in, from `gate` on."""
        self.app, self.gate, self.room = app, gate, room
        self._lock = threading.Lock()

    def admit(self, row: Row, **changes: Any) -> Row | None:
        """Let a row in; None when there is no room any more. Raises ConflictError when somebody else let one in."""
        with self._lock:
            if self.room <= 0:
                return None
            self.room -= 1
            row, self.gate = self.app.ledger.admit(row, self.gate, State.SENDING, **changes)
            log("admitted", key=row.entry.key, rule=row.entry.rule, begun_today=self.gate.begun)
            return row


def open_door(app: App, rule: Rule) -> tuple[Door, list[Work], list[Work]]:
    """Return the door of a limited rule, who may go through it in this order, and who is dropped.

    Raises StorageError.
    """
    gate = app.ledger.gate(rule.name, today(app))
    work = app.ledger.open(rule.name, queued=HEAD if rule.when_busy == "queue" else None)
    waiting, dropped = work.queued, list[Work]()
    room = places(rule, gate, work.active)
    if rule.when_busy == "latest":
        waiting, dropped = waiting[-1:], waiting[:-1]
    elif rule.when_busy == "skip" and rule.max_active is not None:
        free = max(0, rule.max_active - len(work.active))
        waiting, dropped = waiting[:free], waiting[free:]
    return Door(app, gate, room), waiting[:room], dropped[:HEAD]


def drop(app: App, rule: Rule, work: Work) -> None:
    """End a waiting request that will not be sent; its row says why. Raises StorageError, ConflictError."""
    row = app.ledger.get(work.key, [rule.name])
    if row is None or row.entry.state != State.QUEUED:
        return
    state = State.SUPERSEDED if rule.when_busy == "latest" else State.SKIPPED
    reason = "Superseded by newer data." if state == State.SUPERSEDED else f"{rule.max_active} runs were active."
    app.ledger.move(row, state, reason=reason, ended_at=app.ledger.now())
    log(state, key=work.key, rule=rule.name, reason=reason)
