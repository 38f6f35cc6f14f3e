"""The timer's tick: in which order, for how long; nothing else. What is not done in time, the next tick does.

First what was sent is looked after, then what waits is sent, from one pool; then what gathers and what was missed is
entered, and sent at once where there is time; last, somebody is told what needs a person. Each step has a time of its
own, so that none keeps another from its turn for ever. Never overlaps with itself: the platform runs one at a time.
"""

from datetime import datetime, timedelta

from shared.app import App
from shared.flow import folders, hold, limits, rounds, search, send
from shared.flow.blocked import blocked
from shared.flow.notify import notify
from shared.flow.send import Job
from shared.ledger import ticks
from shared.ledger.entries import LAYOUT, State, Work
from shared.log import logged
from shared.metrics import record

# How long each step may go on beginning things. The platform starts a tick each minute, and kills one after ten.
ROUND, SEND, FOLDERS, SEARCH, SEND_FOUND, NOTIFY = (timedelta(seconds=seconds) for seconds in (15, 20, 10, 8, 10, 10))
NOTED = timedelta(minutes=5)  # that the timer runs is written down so often: it costs a request
HEAD = 1000  # of a rule's queue, that is looked at in one tick


def tick(app: App) -> None:
    """Bring open work on, send what waits, then look for arrivals that nobody told of, and send these."""

    def within(time: timedelta) -> datetime:
        return app.ledger.now() + time

    begun_at, before = app.ledger.now(), app.memory.ticked_at
    app.memory.ticked_at = begun_at
    with logged("prepare"):
        app.prepare()
    names = app.settings.rule_names()
    with logged("open_work"):
        names = app.rule_names()
    works = [work for name in names for work in open_work(app, name, within(ROUND))]
    again, found = list[Work](), set[str]()
    with logged("round"):
        again = rounds.go_round(app, works, within(ROUND))
    jobs = [Job(work) for work in [*again, *(work for work in works if work.state == State.DEFERRED)]]
    with logged("send"):
        jobs = [job for job in jobs if not app.paused(job.work.rule)]
        send.send_all(app, [*jobs, *waiting(app, names)], within(SEND))
    with logged("folders"):
        found |= folders.look_round(app, within(FOLDERS))
    with logged("search"):
        found |= search.search(app, within(SEARCH))
    with logged("send"):
        send.send_all(app, waiting(app, sorted(found)), within(SEND_FOUND))
    record("retrain.open", len(works))
    record("retrain.blocked", len(blocked(works)))
    with logged("notify"):
        notify(app, names, works, within(NOTIFY))
    if app.ledger.now() - app.memory.noted_at >= NOTED:
        with logged("tick"):
            ticks.note(app.ledger, begun_at, before)
            app.memory.noted_at = app.ledger.now()


def open_work(app: App, rule: str, until: datetime) -> list[Work]:
    """Return what of a rule is the timer's turn, and what is held but was sent; let go on what can, until a time."""
    found = list[Work]()
    with logged("open_work", rule=rule):
        open_now = app.ledger.open(rule, queued=0)
        for work in [*open_now.active, *open_now.held, *open_now.queued]:  # the last: of layout 1
            with logged("open_work", key=work.key, rule=rule):
                old, unsent = work.layout < LAYOUT, work.state == State.HELD and work.unsent
                if not old and not unsent:
                    found.append(work)
                elif app.ledger.now() <= until:
                    rounds.adopt(app, work) if old else hold.release(app, work)
    return found


def waiting(app: App, names: list[str]) -> list[Job]:
    """Return what of these rules' queues may be sent now, oldest data first."""
    jobs = list[Job]()
    for name in names:
        with logged("queue", rule=name):
            jobs += head_of_queue(app, name) if not app.paused(name) else []
    return jobs


def head_of_queue(app: App, name: str) -> list[Job]:
    """Return what of a rule's queue may be sent now. Raises StorageError."""
    rule = app.settings.find(name)
    if rule is None or not rule.limited:
        return [Job(work) for work in app.ledger.queue(name, HEAD)]
    if not app.ledger.queue(name, 1):
        return []
    door, let_in, dropped = limits.open_door(app, rule)
    for work in dropped:
        with logged("drop", key=work.key, rule=name):
            limits.drop(app, rule, work)
    return [Job(work, door) for work in let_in]
