"""The timer's round of the endpoints: one list each tells what has become of all that was sent there.

Each endpoint is a task of its own, and a row one after that, so that one that hangs keeps no other waiting. Never
sends: what surely was not accepted is given back, to be sent again.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

from shared.app import App
from shared.errors import EndpointError
from shared.flow import track
from shared.flow.lookout import Lookout
from shared.flow.reconcile import HOLD_AFTER, reconcile
from shared.ledger.entries import NEVER, Row, State, Work
from shared.log import log, logged
from shared.pipelines.base import Run
from shared.pipelines.target import Target

THREADS = 8
FOLLOWED = {State.SUBMITTED, State.RUNNING}
ASKED = {State.SENDING, State.UNCERTAIN}
LOOKED_FOR = timedelta(days=7)

Task = Callable[[], Work | None]
"""Something to do about one row; returns what is to be sent again."""


def go_round(app: App, works: Iterable[Work], until: datetime) -> list[Work]:
    """Look after everything that was sent; return what surely was not accepted. Nothing is begun after `until`."""
    lookout, again = Lookout(app), list[Work]()
    by_pin = defaultdict[object, list[Work]](list)
    for work in works:
        if work.target is not None:
            by_pin[work.target.pin].append(work)
    groups = list(by_pin.values())
    random.shuffle(groups)
    groups.sort(key=lambda group: _target(group[0]).place not in app.memory.readable)
    with ThreadPoolExecutor(THREADS, "round") as pool:
        running: set[Future[Any]] = {pool.submit(one_endpoint, app, lookout, group, until) for group in groups}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.remove(future)
                result = future.result()
                if isinstance(result, list):
                    running |= {pool.submit(task) for task in result}
                elif result is not None:
                    again.append(result)
    return again


def one_endpoint(app: App, lookout: Lookout, works: list[Work], until: datetime) -> list[Task]:
    """List the runs of one endpoint and version; return what has to be done then, row by row. Never raises."""
    now, target = app.ledger.now(), _target(works[0])
    followed = [work for work in works if work.state in FOLLOWED]
    asked = [work for work in works if work.state in ASKED and work.is_due(now)]
    # The run of what is held may show up after all; after some days a person has to look.
    held = [work for work in works if work.state == State.HELD and now - (work.sent_at or NEVER) < LOOKED_FOR]
    if now > until or not (asked or ((followed or held) and track.is_due(app, target, [*followed, *held], now))):
        return []
    tasks = list[Task]()
    with logged("look_after", endpoint=target.place, version=target.version):
        try:
            listing = lookout.listing(target)
        except EndpointError as error:
            return without_list(app, lookout, target, followed, asked, error, until)
        track.readable(app, target)
        for work in followed:
            run = listing.by_id.get(work.run_id)
            if track.needs(work, run):
                tasks.append(_tracking(app, lookout, work, target, run, until))
        shown = [work for work in held if work.key in listing.by_key]
        tasks += [_asking(app, lookout, work, until) for work in [*asked, *shown]]
        if followed and not tasks:
            lookout.learn(followed[0], target)
    random.shuffle(tasks)  # more than fits one tick: no row is always among the last
    return tasks


def without_list(
    app: App,
    lookout: Lookout,
    target: Target,
    followed: list[Work],
    asked: list[Work],
    error: EndpointError,
    until: datetime,
) -> list[Task]:
    """Go on without the list where single runs can be read all the same; else leave the endpoint alone.

    What cannot be read for days is not waited for any longer.
    """
    now = app.ledger.now()
    since = track.unreadable_since(app, target, now)
    rows = len(followed) + len(asked)
    log("unreadable", logging.WARNING, endpoint=target.place, since=since.isoformat(), rows=rows, reason=error)
    overdue = [work for work in asked if now - (work.sent_at or now) >= HOLD_AFTER]
    tasks = [_asking(app, lookout, work, until) for work in overdue]
    if not followed:
        return tasks
    pilot, *others = random.sample(followed, len(followed))
    try:
        run = app.endpoint(target).run(pilot.run_id)
    except EndpointError:
        if now - since >= track.LOST_AFTER:
            tasks += [_losing(app, work, error, since, until) for work in followed]
        return tasks
    if track.needs(pilot, run):
        tasks.append(_tracking(app, lookout, pilot, target, run, until))
    return [*tasks, *(_tracking(app, lookout, work, target, None, until) for work in others)]


def adopt(app: App, work: Work) -> None:
    """Complete a row of layout 1 with where it was sent, as far as it and retrain.toml tell.

    Raises StorageError, ConflictError.
    """
    row = app.ledger.get(work.key, [work.rule])
    if row is None or not row.entry.is_open:
        return
    target, state, changes = completed(app, row), row.entry.state, dict[str, Any]()
    if target is None and state in ASKED | FOLLOWED:  # nobody can look after it: a person has to
        state, changes = State.HELD, {"reason": "An older version of the app sent it, and did not keep where to."}
    app.ledger.move(row, state, target=target, **changes)
    log("adopted", key=work.key, rule=work.rule, state=state)


def completed(app: App, row: Row) -> Target | None:
    """Return where a row of layout 1 was sent; experiment and audience are the pipeline's, unless that moved."""
    target, pipeline = row.entry.target, app.settings.pipelines.get(row.entry.pipeline)
    if target is None or pipeline is None or pipeline.target.place != target.place:
        return target
    return Target(
        address=pipeline.target.address,
        version=target.version,
        experiment=target.experiment or pipeline.experiment,
        audience=pipeline.target.audience,
    )


def _target(work: Work) -> Target:
    assert work.target is not None  # only what was sent is looked after
    return work.target


def _tracking(app: App, lookout: Lookout, work: Work, target: Target, run: Run | None, until: datetime) -> Task:
    def task() -> None:
        if app.ledger.now() <= until:
            with logged("track", key=work.key, rule=work.rule):
                track.track(app, lookout, work, target, run)

    return task


def _losing(app: App, work: Work, error: EndpointError, since: datetime, until: datetime) -> Task:
    def task() -> None:
        if app.ledger.now() <= until:
            with logged("lose_sight", key=work.key, rule=work.rule):
                track.lose_sight(app, work, error, since)

    return task


def _asking(app: App, lookout: Lookout, work: Work, until: datetime) -> Task:
    def task() -> Work | None:
        if app.ledger.now() <= until:
            with logged("reconcile", key=work.key, rule=work.rule):
                return work if reconcile(app, lookout, work) else None
        return None

    return task
