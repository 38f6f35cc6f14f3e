"""The only one who calls an endpoint to start something, and writes down what it said.

An arrival's own invocation sends its row at once. Everything else that is to be sent, the timer sends from here, in
lanes: one for each endpoint and version, so that one that is slow, throttled or closed holds up nobody but itself. A
lane begins with one submission, alone; while the endpoint takes nothing, that one is all it is asked (the probe).

Never sends a row that does not say `sending` first, and never decides whether something should be sent.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared import metrics
from shared.app import App
from shared.errors import RetrainError
from shared.flow import hold
from shared.flow.enter import announced
from shared.flow.limits import Door
from shared.ledger import learned
from shared.ledger.entries import NEVER, Entry, Row, State, Work
from shared.log import log, logged
from shared.pipelines.base import Answer, Evidence, NotAccepted, Refused, Submitted, Unknown
from shared.pipelines.target import Target

# What surely was not accepted is due again after this, or as long as it has been so already, up to the longest.
PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=15)
GIVES_UP = timedelta(days=7)  # where retrain.toml has no pipeline any more that would say it
THREADS, OF_A_LANE = 8, 4
PROMPT_S = 6.0
_BESIDE = ThreadPoolExecutor(THREADS, "send")  # makes its threads when they are needed
# After so many strikes a lane is left alone for the rest of a tick: it takes nothing, or twice in a row did not answer.
STRIKES, TAKES_NOTHING, NO_ANSWER = 2, 2, 1


def at_once(app: App, row: Row, insist: bool = False) -> Entry:
    """Send the row of an arrival or a person; `insist`: also where the endpoint took nothing a moment ago."""
    return record(app, row, submit(app, row.entry, patient=True, insist=insist))


def promptly() -> Callable[[App, Row], Entry]:
    """Return what sends rows like `at_once`, but gives all of them back within `PROMPT_S` from now, as they are then.

    For callers who must be answered soon: the sending goes on beside it. Whatever ends this process meanwhile leaves a
    row that says `sending`.
    """
    deadline = time.monotonic() + PROMPT_S

    def send(app: App, row: Row) -> Entry:
        sending = _BESIDE.submit(at_once, app, row)
        try:
            return sending.result(max(deadline - time.monotonic(), 0))
        except TimeoutError:
            return row.entry

    return send


def submit(app: App, entry: Entry, patient: bool = False, insist: bool = False) -> Answer:
    """Send the submission that a row announces, to where it says."""
    if paused := app.known_pause(entry.rule):
        return NotAccepted(reason=paused, blocked=False)
    target, sent_at = entry.target, entry.sent_at
    assert target is not None  # what says `sending` says where to
    assert sent_at is not None
    blocked_until, words = app.memory.blocked.get(target.pin, (NEVER, ""))
    if app.ledger.now() < blocked_until and not insist:
        return NotAccepted(reason=words)
    begin_within = timedelta(seconds=app.limits.begin_s)

    def in_time() -> bool:
        return app.ledger.now() - sent_at <= begin_within

    return app.endpoint(target).submit(entry.retrain_request(), target, in_time, patient)


def record(app: App, row: Row, answer: Answer) -> Entry:
    """Write down what the endpoint answered.

    Never raises: when the table cannot be written the row still says `sending`, and the log says what is missing.
    """
    entry = row.entry
    state, changes = recorded(app, entry, answer)
    level = logging.INFO if state == State.SUBMITTED else logging.WARNING
    run, reason = changes.get("run_id"), changes.get("reason")
    log(state, level, key=entry.key, rule=entry.rule, version=entry.version, run=run, reason=reason or None)
    if state == State.SUBMITTED:
        metrics.record("retrain.submissions", rule=entry.rule)
        metrics.record("retrain.latency", (app.ledger.now() - entry.written_at).total_seconds(), rule=entry.rule)
    elif state == State.REFUSED:
        metrics.record("retrain.refusals", rule=entry.rule)
    if isinstance(answer, Submitted) and answer.repeated and entry.target:
        with logged("learn", key=entry.key):
            learned.learn(app.ledger, Evidence.REPEATS, entry.target.place, True, answer.run_id)
    try:
        return app.ledger.move(row, state, **changes).entry
    except RetrainError as error:
        log("not_recorded", logging.ERROR, key=entry.key, state=state, run=run, reason=error)
        return msgspec.structs.replace(entry, state=state, **changes)


def recorded(app: App, entry: Entry, answer: Answer) -> tuple[State, dict[str, Any]]:
    """Return the state and the columns that an answer leads to; remember an endpoint that takes nothing."""
    now = app.ledger.now()
    assert entry.target is not None
    if not isinstance(answer, NotAccepted):
        app.memory.blocked.pop(entry.target.pin, None)
    match answer:
        case Submitted():
            run = {"run_id": answer.run_id, "run_url": answer.run_url}
            return State.SUBMITTED, {**run, "reason": "", "due_at": now}
        case Refused():
            return State.REFUSED, {"reason": answer.reason, "ended_at": now}
        case Unknown():
            return State.UNCERTAIN, {"reason": answer.reason, "due_at": now}
        case NotAccepted():
            since = entry.deferred_since if entry.deferred_since != NEVER else now
            if now - since >= gives_up(app, entry.rule):
                return State.REFUSED, {"reason": story(since, now, entry.tries, answer.reason), "ended_at": now}
            due_at = now + max(answer.retry_after or PAUSE, min(max(PAUSE, now - since), LONGEST_PAUSE))
            until, _ = app.memory.blocked.get(entry.target.pin, (NEVER, ""))
            if answer.blocked and until <= now:  # what was not even sent does not make it longer
                app.memory.blocked[entry.target.pin] = min(due_at, now + LONGEST_PAUSE), answer.reason
            blocked = {"deferred_since": since} if answer.blocked else {}
            return State.DEFERRED, {"reason": answer.reason, "due_at": due_at, **blocked}


def gives_up(app: App, rule: str) -> timedelta:
    """Return how long what the endpoint does not take is sent again."""
    pipeline = app.pipeline_of(rule)
    return pipeline.gives_up if pipeline else GIVES_UP


def story(since: datetime, now: datetime, tries: int, reason: str) -> str:
    """Return why something is given up."""
    hours = (now - since) / timedelta(hours=1)
    return f"Not taken since {since:%Y-%m-%d %H:%M} UTC, for {hours:.0f} h, in {tries} tries. The last answer: {reason}"


# What the timer sends


@dataclass
class Job:
    """Something to send: it waits in the queue, or was sent before and surely not accepted."""

    work: Work
    door: Door | None = None
    """Of a limited rule whose request was not let in yet."""


@dataclass
class Lane:
    """What goes to one endpoint and version."""

    target: Target
    jobs: deque[Job] = field(default_factory=deque)
    deferred: list[Work] = field(default_factory=list)
    strikes: int = 0

    @property
    def blocked(self) -> bool:
        """Tell whether the endpoint did not take what was sent to it last."""
        return any(work.deferred_since != NEVER for work in self.deferred)

    @property
    def is_left_alone(self) -> bool:
        """Tell whether nothing more is sent in this tick."""
        return self.strikes >= STRIKES

    def struck(self, answer: Answer | None) -> None:
        """Count an answer."""
        match answer:
            case NotAccepted(blocked=True):
                self.strikes += TAKES_NOTHING
            case Unknown():
                self.strikes += NO_ANSWER
            case Submitted() | Refused():
                self.strikes = 0


def lanes(app: App, jobs: Iterable[Job], now: datetime, until: datetime) -> list[Lane]:
    """Return what is to be sent, lane by lane; what cannot go anywhere is held. Deferred rows wait until one is due.

    A lane that is blocked begins with the row that was tried least: a row that is odd must not stand for all others.
    """
    found = dict[object, Lane]()
    for job in jobs:
        target = app.destination(job.work.rule, job.work.datastore)
        if isinstance(target, str):
            with logged("hold", key=job.work.key, rule=job.work.rule):
                if app.ledger.now() <= until:
                    hold.hold(app, job.work, target)
            continue
        lane = found.setdefault(target.pin, Lane(target))
        if job.work.state == State.DEFERRED:
            lane.deferred.append(job.work)
        else:
            lane.jobs.append(job)
    for lane in found.values():
        if lane.blocked:
            if any(not work.is_due(now) for work in lane.deferred if work.deferred_since != NEVER):
                lane.jobs.clear()
                lane.strikes = STRIKES
                continue
            lane.deferred.sort(key=lambda work: (work.tries, work.key))
            lane.jobs.extendleft(Job(work) for work in reversed(lane.deferred))
        else:
            lane.jobs.extendleft(Job(work) for work in reversed(lane.deferred) if work.is_due(now))
    ordered = [lane for lane in found.values() if lane.jobs]
    random.shuffle(ordered)  # when not all get their turn in one tick, it is not always the same ones
    return sorted(ordered, key=lambda lane: lane.target.pin in app.memory.blocked)


def send_all(app: App, jobs: Iterable[Job], until: datetime) -> None:
    """Send what is due, each lane by itself, from one pool; nothing more is begun after `until`."""
    work = lanes(app, jobs, app.ledger.now(), until)
    if not work:
        return
    with ThreadPoolExecutor(THREADS, "send") as pool:
        running: dict[Future[None], Lane | None] = {pool.submit(drain, app, lane, until, 1): lane for lane in work}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                lane = running.pop(future)
                if lane and lane.jobs and not lane.is_left_alone:
                    for _ in range(min(OF_A_LANE, len(lane.jobs))):
                        running[pool.submit(drain, app, lane, until)] = None
    for lane in work:
        if lane.is_left_alone and lane.jobs:
            log(
                "left_alone",
                logging.WARNING,
                endpoint=lane.target.place,
                version=lane.target.version,
                wait=len(lane.jobs),
            )
            give_up_old(app, lane, until)


def drain(app: App, lane: Lane, until: datetime, at_most: int | None = None) -> None:
    """Send what is in a lane, one after the other. Never raises: the log says what went wrong."""
    sent = 0
    while lane.jobs and not lane.is_left_alone and (at_most is None or sent < at_most):
        try:
            job = lane.jobs.popleft()
        except IndexError:  # another thread took the last one
            return
        if app.ledger.now() > until:
            return
        sent += 1
        with logged("send", key=job.work.key, rule=job.work.rule):
            lane.struck(one(app, job))


def one(app: App, job: Job) -> Answer | None:
    """Send one row: it says `sending` first, which excludes everybody else. None when there was nothing to send."""
    row = app.ledger.get(job.work.key, [job.work.rule])
    if row is None or (row.entry.state, row.entry.tries) != (job.work.state, job.work.tries):
        return None  # somebody else was first
    target = app.target_of(row.entry.retrain_request())
    if isinstance(target, str):
        hold.hold_row(app, row, target)
        return None
    now, entry = app.ledger.now(), row.entry
    columns = {**announced(app, target, now), "tries": entry.tries + 1}
    sending = job.door.admit(row, **columns) if job.door else app.ledger.move(row, State.SENDING, **columns)
    if sending is None:
        return None
    log("sending", key=entry.key, rule=entry.rule, version=target.version, tries=entry.tries + 1, was=entry.state)
    answer = submit(app, sending.entry, insist=True)
    record(app, sending, answer)
    return answer


def give_up_old(app: App, lane: Lane, until: datetime) -> None:
    """Give up what a blocked endpoint has not taken for so long; only the probe is sent, so nobody else would."""
    now = app.ledger.now()
    for work in [job.work for job in lane.jobs if job.door is None]:
        since = work.deferred_since if work.deferred_since != NEVER else work.claimed_at
        if now > until or now - since < gives_up(app, work.rule):
            continue
        with logged("give_up", key=work.key, rule=work.rule):
            row = app.ledger.get(work.key, [work.rule])
            if row and row.entry.state == work.state and row.entry.tries == work.tries:
                _, words = app.memory.blocked.get(lane.target.pin, (NEVER, row.entry.reason))
                reason = story(since, now, row.entry.tries, words)
                app.ledger.move(row, State.REFUSED, reason=reason, ended_at=now)
                log("refused", logging.ERROR, key=work.key, rule=work.rule, reason=reason)
