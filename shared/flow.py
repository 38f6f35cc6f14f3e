"""THE STORY of an arrival, from top to bottom: arrive (or a request) = look, match, claim, submit, record.

Four round trips: the blob's properties, the claim, the submission, the record of its answer. Before the claim an error
goes to the caller, who comes again; after it the row owns the arrival, and nothing here raises any more. What is open
then, the timer brings to its end (`tick`): it sends what waits, settles what is uncertain, tracks runs, and looks for
arrivals that nobody told of. Poison and redrive are the two ways around.

Never downloads training data, and never sends to an endpoint what the ledger does not announce first.
"""

import itertools
import logging
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.arrival import Arrival, Source, checked_path
from shared.calls import Call, addressed, answerable
from shared.errors import ConflictError, EndpointError, NotFoundError, RetrainError, StorageError
from shared.events import log, logged
from shared.ledger import OPEN, Claimed, Entry, Folder, Row, Scan, State, Taken
from shared.lookout import Lookout
from shared.outcome import Outcome
from shared.pipelines.base import Answer, NotAccepted, Phase, Refused, Run, Submitted, Unknown
from shared.rules import (
    Decision,
    RetrainRequest,
    Rule,
    Settling,
    Skip,
    again,
    manifest,
    match,
    members,
    of_folder,
    written_text,
)
from shared.settling import GiveUp, NotYet, Ready, manifest_names, readiness, too_early
from shared.wiring import App

# A submission that surely was not accepted is due again after this, doubled with each try up to the longest.
PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=30)
# How long after its submission a run is read how often: people watch the first minutes, a job may last for days.
TRACK = (
    (timedelta(minutes=10), timedelta()),
    (timedelta(hours=2), timedelta(minutes=5)),
    (timedelta(days=1), timedelta(minutes=15)),
)
TRACK_OLD = timedelta(hours=1)
# One tick: as many threads as wait for the network at once, and an end before the next tick begins.
THREADS, TICK = 8, timedelta(seconds=45)
# The search for missed arrivals: so many pages a tick and rule; and how far the clocks of those who
# write blobs and of those who look for them may differ.
PAGES, CLOCKS = 20, timedelta(minutes=10)

STATES = {
    Phase.PENDING: State.SUBMITTED,
    Phase.RUNNING: State.RUNNING,
    Phase.FINISHED: State.FINISHED,
    Phase.FAILED: State.FAILED,
    Phase.CANCELED: State.CANCELED,
}


def arrive(app: App, datastore: str, path: str, source: Source) -> list[Outcome]:
    """Act on a blob that was detected. Raises StorageError when it should be delivered again."""
    try:
        arrival = app.datastores[datastore].look(path, source)
    except NotFoundError as error:  # deleted since: there is nothing to train on
        return [skipped(Skip(reason=str(error)), datastore, path)]
    since = {rule.name: when for rule in app.settings.rules if (when := applicable_since(app, rule, source))}
    return act(app, match(app.settings.rules, app.settings.pins, arrival, since), arrival)


def request(app: App, call: Call) -> list[Outcome]:
    """Act on a blob that a caller names, whatever its age.

    Raises BadRequestError, NotFoundError (unknown datastore, rule or blob), ConflictError, StorageError.
    """
    rules, datastore = addressed(app, call)
    arrival = app.datastores[datastore].look(checked_path(call.path), Source.WEBHOOK)
    decisions = match(rules, app.settings.pins, arrival, {}, call.parameters)
    outcomes = act(app, decisions, arrival, force=call.force)
    return [answerable(app, outcome, call.parameters) for outcome in outcomes]


def act(app: App, decisions: Iterable[Decision], arrival: Arrival, force: bool = False) -> list[Outcome]:
    """Carry out each decision; one that fails does not stop the others, and is raised at the end."""
    outcomes, errors = list[Outcome](), list[RetrainError]()
    for decision in decisions:
        try:
            if isinstance(decision, Skip):
                outcomes.append(skipped(decision, arrival.datastore, arrival.path))
            elif isinstance(decision, Settling):
                outcomes.append(gather(app, decision))
            else:
                outcomes.append(start_again(app, decision) if force else start(app, decision))
        except RetrainError as error:
            key = decision.key if isinstance(decision, RetrainRequest) else None
            log("not_started", logging.ERROR, key=key, rule=decision.rule, path=arrival.path, reason=error)
            errors.append(error)
    if errors:
        raise errors[0]
    return outcomes


def gather(app: App, settling: Settling) -> Outcome:
    """Note that a file of a folder came. A marker may complete the folder at once; else the timer will see."""
    arrival, now = settling.arrival, app.ledger.now()
    missed = arrival.source == Source.RECONCILE
    noticed = arrival.last_modified if missed else now
    app.ledger.gather(settling.rule, settling.datastore, settling.folder, noticed, missed)
    log("settling", rule=settling.rule, folder=settling.folder, path=arrival.path, source=arrival.source)
    if settling.is_marker or settling.is_manifest:
        rule = app.settings.rule(settling.rule)
        for folder in app.ledger.folders(rule.name):
            if (folder.datastore, folder.folder) == (settling.datastore, settling.folder):
                with logged("settle", rule=rule.name, folder=folder.folder):
                    return settle(app, rule, folder) or Outcome(settling=settling)
    return Outcome(settling=settling)


def settle(app: App, rule: Rule, folder: Folder) -> Outcome | None:
    """Start on a folder when it is complete: on what is really in it now. Returns None while it is not.

    A file that comes meanwhile changes the folder's row, which then stays and settles once more: the file belongs to
    this run or to the next. A folder that has not changed since its last run has its key already, and starts nothing.
    """
    now = app.ledger.now()
    assert rule.settle is not None  # only such rules have folders
    if too_early(rule.settle, folder, now):
        return None
    found = app.datastores[folder.datastore].folder(folder.folder)
    data = members(rule, folder.folder, found)
    if not data:
        app.ledger.settled(rule.name, folder)
        return skipped(Skip(rule=rule.name, reason="The folder has no data any more."), folder.datastore, folder.folder)
    names = {arrival.path for arrival in found}
    ready = readiness(rule.settle, folder, names, data, listed_in_manifest(app, rule, folder, names), now)
    if isinstance(ready, NotYet):
        return None
    decision = request_of(app, rule, folder.folder, data)
    if isinstance(ready, GiveUp) and isinstance(decision, RetrainRequest):
        reason = f"Gave up on the folder after its max_wait: there were not {ready.missing}."
        entry = app.ledger.bury(again(decision, 0), reason)
        log("dead", logging.ERROR, key=entry.key, rule=rule.name, folder=folder.folder, reason=reason)
        outcome = Outcome(entry=entry)
    elif isinstance(decision, RetrainRequest):
        missing = isinstance(ready, Ready) and ready.missing
        log("settled", rule=rule.name, folder=folder.folder, files=len(data), started_without=missing or None)
        outcome = start(app, decision)
    else:
        outcome = skipped(decision, folder.datastore, folder.folder)
    if not app.ledger.settled(rule.name, folder):
        log("settles_again", rule=rule.name, folder=folder.folder, reason="another file came meanwhile")
    return outcome


def request_of(app: App, rule: Rule, folder: str, data: list[Arrival]) -> RetrainRequest | Skip:
    """Return the request for a folder that holds `data`; where the run is to get a list of it, write the list."""
    settling = Settling(rule=rule.name, datastore=rule.datastore, folder=folder, arrival=data[0], captures={})
    decision = of_folder(rule, app.settings.pins, settling, data)
    if rule.data_path.grain == "manifest" and isinstance(decision, RetrainRequest):
        app.datastores[rule.datastore].write(decision.data_path.path, manifest(data))
    return decision


def listed_in_manifest(app: App, rule: Rule, folder: Folder, names: set[str]) -> list[str] | None:
    """Read what the folder's manifest says must be there; None when the rule has none, or it is not there yet."""
    name = rule.settle and rule.settle.manifest
    if not name or (path := f"{folder.folder}/{name}") not in names:
        return None
    try:
        return manifest_names(app.datastores[folder.datastore].manifest(path))
    except ValueError as error:
        log("manifest_unreadable", logging.ERROR, rule=rule.name, path=path, reason=error)
        return None


def start(app: App, request: RetrainRequest) -> Outcome:
    """Claim, submit, record: at most once for a key, whoever else is trying.

    Where the rule limits how many runs are active, the row waits until `admit` lets it in, at once if there is room.
    """
    limited = app.settings.limited(request.rule)
    match app.ledger.claim(request, app.settings.grace, app.endpoint(request.pipeline), queued=limited is not None):
        case Taken(row):
            log("duplicate", key=request.key, state=row.entry.state, run=row.entry.run_id or None)
            return Outcome(entry=row.entry, duplicate=True)
        case Claimed(row):
            source, path = request.arrival.source, request.arrival.path
            log("claimed", key=request.key, rule=request.rule, path=path, source=source, version=request.version)
            if limited is None:
                return Outcome(entry=record(app, row, submit(app, row.entry)))
            with logged("admit", rule=limited.name):
                admit(app, limited)
            current = app.ledger.get(request.key, [request.rule])
            return Outcome(entry=current.entry if current else row.entry)


def admit(app: App, rule: Rule) -> None:
    """Let waiting requests of a limited rule in, as many as there is room for; oldest data first, or the latest only.

    One at a time does: the gate's ETag is part of each admission.
    """
    gate, queue, day = app.ledger.gate(rule.name), app.ledger.queue(rule.name), f"{app.ledger.now():%Y-%m-%d}"
    places = rule.max_active - queue.active if rule.max_active is not None else len(queue.waiting)
    left = rule.daily_cap - (gate.begun if gate.day == day else 0) if rule.daily_cap is not None else places
    waiting = queue.waiting
    if rule.when_busy == "latest":
        *passed, latest = waiting or [""]
        drop(app, rule, passed, State.SUPERSEDED, f"Superseded by newer data, {latest}.")
        waiting = waiting[-1:]
    let_in = waiting[: max(0, min(places, left))]
    if rule.when_busy == "skip" and places < len(waiting):
        drop(app, rule, waiting[max(0, places) :], State.SKIPPED, f"{queue.active + len(let_in)} runs were active.")
    for key in let_in:
        row = app.ledger.get(key, [rule.name])
        if row and row.entry.state == State.WAITING:
            endpoint = app.endpoint(row.entry.pipeline)
            row, gate = app.ledger.admit(row, gate, day, app.settings.grace, endpoint)
            log("admitted", key=key, rule=rule.name, begun_today=gate.begun)
            record(app, row, submit(app, row.entry))


def drop(app: App, rule: Rule, keys: list[str], state: State, reason: str) -> None:
    """End waiting requests that will not be sent; their rows say why."""
    for key in keys:
        row = app.ledger.get(key, [rule.name])
        if row and row.entry.state == State.WAITING:
            app.ledger.move(row, state, reason=reason, ended_at=app.ledger.now())
            log(state, key=key, rule=rule.name, reason=reason)


def start_again(app: App, request: RetrainRequest, attempt: int = 1) -> Outcome:
    """Start the first attempt, from `attempt` on, that nobody has: a person wants the same data trained again."""
    while (outcome := start(app, again(request, attempt))).duplicate:
        attempt += 1
    return outcome


def submit(app: App, entry: Entry) -> Answer:
    """Send the submission that the row announces to the endpoint, at the pinned version."""
    sent_at = entry.sent_at
    assert sent_at is not None  # what is sent says since when
    begin_within = timedelta(seconds=app.limits.begin_s)
    try:
        pipeline = app.pipeline(entry.pipeline)
    except EndpointError as error:
        return NotAccepted(reason=str(error))
    return pipeline.submit(entry.retrain_request(), in_time=lambda: app.ledger.now() - sent_at <= begin_within)


def record(app: App, row: Row, answer: Answer) -> Entry:
    """Write down what the endpoint answered.

    Never raises: when the table cannot be written the row still says `sending`, and the log says what is missing.
    """
    state, changes = recorded(answer, row.entry.tries, app.ledger.now())
    entry = row.entry
    level = logging.INFO if state == State.SUBMITTED else logging.WARNING
    run, reason = changes.get("run_id"), changes.get("reason")
    log(state, level, key=entry.key, rule=entry.rule, version=entry.version, run=run, reason=reason or None)
    try:
        return app.ledger.move(row, state, **changes).entry
    except RetrainError as error:
        log("not_recorded", logging.ERROR, key=entry.key, state=state, run=run, reason=error)
        return msgspec.structs.replace(entry, state=state, **changes)


def recorded(answer: Answer, tries: int, now: datetime) -> tuple[State, dict[str, Any]]:
    """Return the state and the columns that an answer leads to."""
    match answer:
        case Submitted():
            run = {"run_id": answer.run_id, "run_url": answer.run_url}
            return State.SUBMITTED, {**run, "reason": "", "due_at": now}
        case Refused():
            return State.REFUSED, {"reason": answer.reason, "ended_at": now}
        case NotAccepted():
            pause = min(PAUSE * 2 ** min(tries - 1, 10), LONGEST_PAUSE)
            return State.WAITING, {"reason": answer.reason, "due_at": now + max(answer.retry_after or pause, pause)}
        case Unknown():
            return State.UNCERTAIN, {"reason": answer.reason, "due_at": now}


def tick(app: App) -> None:
    """Bring open work on, then look for arrivals that nobody told of. What is not done in time, the next tick does."""
    with logged("prepare"):
        app.prepare()
    lookout, now = Lookout(app), app.ledger.now()
    work = list[tuple[str, str]]()
    names = app.settings.rule_names()
    with logged("open_work"):
        names = app.rule_names()
    for name in names:
        with logged("open_work", rule=name):
            work += [(name, key) for key, _ in app.ledger.open(name, due=now)]
    random.shuffle(work)  # more than fits one tick: no row is always among the last
    with ThreadPoolExecutor(THREADS, "tick") as pool:
        list(pool.map(lambda item: bring_on(app, lookout, item[0], item[1], now + TICK), work))
    for rule in app.settings.rules:
        if app.settings.limited(rule.name):
            with logged("admit", rule=rule.name):
                admit(app, rule)
        with logged("settle", rule=rule.name):
            for folder in app.ledger.folders(rule.name) if rule.settle else ():
                with logged("settle", rule=rule.name, folder=folder.folder):
                    settle(app, rule, folder)
        with logged("reconcile", rule=rule.name):
            reconcile(app, rule)


def bring_on(app: App, lookout: Lookout, rule: str, key: str, until: datetime) -> None:
    """Do the next thing for one open row. Never raises: the log says what went wrong, and the next tick tries again."""
    if app.ledger.now() > until:
        return
    with logged("open_work", key=key, rule=rule):
        row = app.ledger.get(key, [rule])
        if row is None or row.open_etag is None:
            return
        match row.entry.state:
            case State.WAITING if row.entry.tries or not app.settings.limited(rule):
                resend(app, row)
            case State.WAITING:
                pass  # admit decides
            case State.SENDING | State.UNCERTAIN:
                settle_outcome(app, lookout, row)
            case State.SUBMITTED | State.RUNNING:
                track(app, lookout, row)


def resend(app: App, row: Row) -> Entry:
    """Send once more what surely was not accepted. The row says `sending` first, which excludes everybody else."""
    now = app.ledger.now()
    endpoint, tries = app.endpoint(row.entry.pipeline), row.entry.tries + 1
    changes = {"sent_at": now, "due_at": now + app.settings.grace, "tries": tries, "endpoint": endpoint}
    row = app.ledger.move(row, State.SENDING, **changes)
    log("sending", key=row.entry.key, rule=row.entry.rule, tries=row.entry.tries)
    return record(app, row, submit(app, row.entry))


def settle_outcome(app: App, lookout: Lookout, row: Row) -> None:
    """Find out whether a submission without an answer was accepted: look for its key among the version's runs.

    Found: it is the run. Not found within the grace period: it may still show up. After that `on_uncertain` decides.
    """
    entry = row.entry
    if entry.endpoint and entry.endpoint != app.endpoint(entry.pipeline) != "":
        reason = f"It was sent to {entry.endpoint}, which retrain.toml no longer has: look for its run there."
        app.ledger.move(row, State.HELD, reason=reason, ended_at=app.ledger.now())
        log("held", logging.ERROR, key=entry.key, rule=entry.rule, reason=reason, cure=f"redrive {entry.key}")
        return
    app.pipeline(entry.pipeline)
    found = lookout.find(entry)
    if isinstance(found, Run):
        changes = {"run_id": found.run_id, "run_url": found.run_url, "due_at": app.ledger.now()}
        app.ledger.move(row, State.SUBMITTED, **changes, reason="")
        log("found", key=entry.key, rule=entry.rule, run=found.run_id, was=entry.state)
    elif found.certain:
        evidence = app.ledger.gives_keys_back(entry.pipeline, app.endpoint(entry.pipeline))
        policy = app.settings.pipelines[entry.pipeline].on_uncertain
        if policy == "resubmit" or (policy == "auto" and evidence):
            log("resubmitting", logging.WARNING, key=entry.key, rule=entry.rule, reason=found.reason)
            resend(app, row)
        else:
            seen = {None: "no run was seen yet", False: "it does not", True: "it does"}[evidence]
            reason = f"{found.reason} Whether this pipeline gives keys back: {seen}; on_uncertain is {policy!r}."
            app.ledger.move(row, State.HELD, reason=f"{reason} {entry.reason}".strip(), ended_at=app.ledger.now())
            log("held", logging.ERROR, key=entry.key, rule=entry.rule, reason=reason, cure=f"redrive {entry.key}")


def track(app: App, lookout: Lookout, row: Row) -> None:
    """Read the run and write down where it is; at the first look, prove that it is of the pinned version."""
    entry, now = row.entry, app.ledger.now()
    pipeline = app.pipeline(entry.pipeline)
    run = pipeline.run(entry.run_id)
    if not entry.pipeline_id and run.pipeline_id and run.pipeline_id != (pinned := pipeline.pinned(entry.version)):
        reason = f"Run {run.run_id} is of pipeline {run.pipeline_id}, but version {entry.version} is {pinned}."
        app.ledger.move(row, State.MISPINNED, reason=reason, pipeline_id=run.pipeline_id, ended_at=now)
        log("mispinned", logging.ERROR, key=entry.key, rule=entry.rule, reason=reason, cure="cancel the run")
        return
    with logged("learn", key=entry.key):
        lookout.learn(entry)
    state = STATES[run.phase]
    pause = next((pause for age, pause in TRACK if now - (entry.sent_at or now) < age), TRACK_OLD)
    changes: dict[str, Any] = {"run_status": run.word, "pipeline_id": run.pipeline_id or "", "due_at": now + pause}
    if (state, run.word, bool(entry.pipeline_id)) == (entry.state, entry.run_status, True) and not pause:
        return  # nothing new to write
    if run.started_at:
        changes["started_at"] = run.started_at
    if state not in OPEN:
        changes["ended_at"] = run.ended_at or now
    if state == State.FAILED:
        changes["reason"] = why_failed(app, entry, run)
    app.ledger.move(row, state, **changes)
    if state != entry.state:
        level = logging.WARNING if state in (State.FAILED, State.CANCELED) else logging.INFO
        log(state, level, key=entry.key, rule=entry.rule, run=run.run_id, reason=changes.get("reason") or None)


def why_failed(app: App, entry: Entry, run: Run) -> str:
    """Return why a run failed, as far as the service tells: with its status, or in run history."""
    try:
        return run.error or app.pipelines[entry.pipeline].error_of(run.run_id)
    except EndpointError as error:  # the run's end counts more than its reason
        return f"The reason could not be read: {error}"


def reconcile(app: App, rule: Rule) -> None:
    """Look for arrivals that nobody told of: list what the rule watches, and feed what has no row.

    A pass looks at what was written since the pass before; it goes on in the next tick where the listing is long.
    """
    now = app.ledger.now()
    quiet = min(timedelta(minutes=1), app.settings.grace)  # what is newer is being delivered just now
    since = applicable_since(app, rule, Source.RECONCILE)
    scan = app.ledger.scan(rule.name) or Scan(looked_from=since or now, begun_at=now)
    marker = ""
    listing = app.datastores[rule.datastore].pages(rule.prefix(), scan.marker)
    for page in itertools.islice(listing, PAGES):
        recent = [item for item in page.arrivals if scan.looked_from <= item.last_modified <= now - quiet]
        feed(app, rule, recent, since)
        marker = page.marker
    if marker:
        scan = msgspec.structs.replace(scan, marker=marker)
    else:
        scan = Scan(looked_from=scan.begun_at - quiet - CLOCKS, begun_at=now)
    app.ledger.save_scan(rule.name, scan)


def feed(app: App, rule: Rule, recent: list[Arrival], since: datetime | None) -> None:
    """Start what has no row yet, newest first."""
    if not recent:
        return
    known = app.ledger.keys(rule.name, min(arrival.last_modified for arrival in recent))
    # A folder's run has the time of its newest file in its key; of a folder the newest file counts.
    folders = {path: key[:16] for key, path in sorted(known.items())}
    for arrival in sorted(recent, key=lambda arrival: arrival.last_modified, reverse=True):
        [decision] = match([rule], app.settings.pins, arrival, {rule.name: since} if since else {})
        written = written_text(arrival.last_modified)
        if isinstance(decision, Settling) and folders.get(decision.folder, "") < written:
            folders[decision.folder] = written
            act(app, [decision], arrival)
        if isinstance(decision, RetrainRequest) and decision.key not in known:
            log("missed", logging.WARNING, key=decision.key, rule=rule.name, path=arrival.path)
            act(app, [decision], arrival)


def bury(app: App, datastore: str, path: str, etag: str, told_at: datetime) -> None:
    """Try an arrival once more that the platform has given up on; if that fails too, leave a `dead` row.

    `told_at` stands for the time of the data, which may not be readable. Raises StorageError when not even the row can
    be written: then the message stays in its queue.
    """
    source, rules = Source.POISON, app.settings.rules
    try:
        arrival = app.datastores[datastore].look(path, source)
        since = {rule.name: when for rule in rules if (when := applicable_since(app, rule, source))}
    except NotFoundError as error:
        skipped(Skip(reason=str(error)), datastore, path)
        return
    except StorageError as error:
        arrival = Arrival(
            datastore=datastore, path=path, etag=etag, last_modified=told_at, size=1, source=source, metadata=None
        )
        for decision in match(rules, app.settings.pins, arrival, {}):
            give_up(app, decision, error)
        return
    for decision in match(rules, app.settings.pins, arrival, since):
        try:
            act(app, [decision], arrival)
        except RetrainError as error:
            give_up(app, decision, error)


def give_up(app: App, decision: Decision, error: RetrainError) -> None:
    """Leave a `dead` row for what could not be started; a folder's file is noted, the timer will look at the folder."""
    if isinstance(decision, Settling):
        app.ledger.gather(decision.rule, decision.datastore, decision.folder, app.ledger.now())
    elif isinstance(decision, RetrainRequest):
        entry = app.ledger.bury(again(decision, 0), str(error))
        log("dead", logging.ERROR, key=entry.key, rule=entry.rule, path=entry.path, cure=f"redrive {entry.key}")


def redrive(app: App, key: str, force: bool = False) -> Outcome:
    """Act again on an entry, on an operator's word: a new attempt at the version that is pinned now; history is kept.

    Raises NotFoundError; ConflictError for what could double a live run, unless `force`, and when somebody was first.
    """
    row = app.ledger.get(key, app.rule_names())
    if row is None:
        raise NotFoundError(f"There is no retrain request {key[:100]!r}.")
    entry, original = row.entry, row.entry.retrain_request()
    if entry.redriven and not force:
        raise ConflictError(f"{key} was redriven already, as {entry.redriven}.")
    if (entry.state in OPEN or entry.state == State.FINISHED) and not force:
        raise ConflictError(f"{key} is {entry.state}: another attempt could train twice. If that is meant, force it.")
    arrival = as_it_is_now(app, entry)
    if original.arrival.etag not in ("", arrival.etag):
        raise ConflictError(f"{entry.path!r} has been overwritten since; its new version is an arrival of its own.")
    if entry.state in (State.WAITING, State.UNCERTAIN, State.SENDING):
        row = app.ledger.move(row, State.HELD, reason="Redriven by force.", ended_at=app.ledger.now())
    version = app.settings.pins.get(entry.pipeline, entry.version)
    renewed = msgspec.structs.replace(original, arrival=arrival, version=version)
    attempt = original.attempt + 1
    outcome = start_again(app, renewed, attempt) if force else start(app, again(renewed, attempt))
    assert outcome.entry is not None  # start always has a row
    if outcome.duplicate:
        raise ConflictError(f"{key} was redriven already, as {outcome.entry.key}, which is {outcome.entry.state}.")
    app.ledger.note_redriven(row, outcome.entry.key)
    return outcome


def as_it_is_now(app: App, entry: Entry) -> Arrival:
    """Look at the data of an entry once more: a file's properties, or a folder's content."""
    rule = app.settings.rule(entry.rule)
    if rule.settle is None:
        return app.datastores[entry.datastore].look(entry.path, Source.REDRIVE)
    files = app.datastores[entry.datastore].folder(entry.path)
    data = members(rule, entry.path, files)
    decision = request_of(app, rule, entry.path, data) if data else None
    if not isinstance(decision, RetrainRequest):
        raise NotFoundError(f"Folder {entry.path!r} has no data any more.")
    return decision.arrival


def applicable_since(app: App, rule: Rule, source: Source) -> datetime | None:
    """Return the time before which blobs start nothing.

    A listing has blobs of any age, so where the rule gives no time it is the moment the rule was first seen. An event
    is raised for a new blob only.
    """
    scanned = app.settings.blob_source == "LogsAndContainerScan"
    listed = source in (Source.BLOB_SCAN, Source.RECONCILE) or (source == Source.POISON and scanned)
    return app.first_seen(rule) if rule.since is None and listed else rule.since


def skipped(skip: Skip, datastore: str, path: str) -> Outcome:
    """Write down why an arrival started nothing."""
    log("skipped", datastore=datastore, path=path, rule=skip.rule, reason=skip.reason)
    return Outcome(skip=skip)
