"""Files gather in a folder; when it is complete, it is entered. A file that may still change gathers in the same way.

A folder is looked into when a file came, when the clock alone may have completed it, and now and then: never at each
tick. Never sends anything: who asks says how a complete folder is started on, an arrival's invocation to send it at
once, the timer into the queue.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from shared import reading
from shared.app import App
from shared.errors import NotFoundError, StorageError
from shared.flow import enter
from shared.flow.outcome import Outcome
from shared.flow.skips import skipped
from shared.ledger import folders as ledger
from shared.ledger.folders import Completed, Gathering
from shared.log import log, logged
from shared.rules import manifest
from shared.rules.arrival import Source
from shared.rules.complete import GiveUp, NotYet, Ready, earliest, readiness
from shared.rules.decision import RetrainRequest, Settling, Skip, again
from shared.rules.folder import Content, folder_request
from shared.rules.match import file_request
from shared.rules.rule import Rule

Enter = Callable[[App, RetrainRequest], Outcome]

LONGEST_LOOK = timedelta(minutes=3)  # into one folder; a larger one has no end, and the timer has one
NEWS = timedelta(minutes=10)  # a file that is older was told of before, or was renamed into the folder
KNOWN = timedelta(minutes=10)  # until the one look that is about such files of a complete folder
LOOKS = timedelta(minutes=1), timedelta(hours=1)  # the pause after a look that found nothing new, doubled each time


def gather(app: App, settling: Settling, start: Enter) -> Outcome:
    """Note that a file of a folder came. A marker or a manifest may complete the folder at once: then it is started on.

    Raises StorageError.
    """
    arrival, now = settling.arrival, app.ledger.now()
    missed, is_news = arrival.source == Source.SEARCH, now - arrival.last_modified < NEWS
    if missed or not ledger.touch(app.ledger, settling, now, soon=is_news):
        done = ledger.completed(app.ledger, settling.rule, settling.datastore, settling.folder)
        if settling.is_marker and arrival.etag == done.marker:
            skip = Skip(rule=settling.rule, reason="this marker has completed a run already")
            return skipped(app, [skip], settling.datastore, settling.folder)[0]
        # Most likely it is part of the content that was started on, and told once more. A file that was renamed into
        # the folder has an old date, too: one look, later, tells for all of them.
        known = arrival.last_modified < done.covers
        at = arrival.last_modified if missed else now
        begun = ledger.begin(app.ledger, settling, at, due_at=now + KNOWN if known else at)
        if not begun and not missed and not known:  # another file was first
            ledger.touch(app.ledger, settling, now)
    log("gathers", rule=settling.rule, folder=settling.folder, path=arrival.path, source=arrival.source)
    if settling.is_marker or settling.is_manifest:
        with logged("look", rule=settling.rule, folder=settling.folder):  # the timer would look, too
            folder = ledger.is_gathering(app.ledger, settling.rule, settling.datastore, settling.folder)
            rule = app.settings.find(settling.rule)
            if folder and rule and (outcome := look(app, rule, folder, start)):
                return outcome
    return Outcome(rule=settling.rule, settling=settling)


def look_round(app: App, until: datetime) -> set[str]:
    """Look into the folders that are due, those due longest first; return the rules that have something queued now.

    What is not reached, the next tick does.
    """
    due, found = list[tuple[Rule, Gathering]](), set[str]()
    for rule in app.settings.rules:
        with logged("look", rule=rule.name):
            gathering = ledger.gathering(app.ledger, rule.name) if rule.settle else []
            known = [folder for folder in gathering if folder.datastore in app.settings.datastores]
            due += [(rule, folder) for folder in known if folder.due_at <= app.ledger.now()]
    for rule, folder in sorted(due, key=lambda one: one[1].due_at):
        if app.ledger.now() > until:
            break
        with logged("look", rule=rule.name, folder=folder.folder):
            try:
                outcome = look(app, rule, folder, enter.queued)
            except StorageError as error:  # it must not be the first one that is looked into at each tick
                wait(app, folder, None, str(error))
                raise
            found |= {rule.name} if outcome and outcome.entry else set()
    return found


def look(app: App, rule: Rule, folder: Gathering, start: Enter) -> Outcome | None:
    """Start on a folder when it is complete: on what is really in it now. None while it is not.

    A file that comes meanwhile changes the folder's row, which then stays and gathers on: the file belongs to this run
    or to the next. A folder that has not changed since its last run has its key already, and starts nothing.
    """
    settle, now = rule.settle, app.ledger.now()
    assert settle is not None  # only such rules have folders
    if at := earliest(settle, folder.first_at, folder.last_at, now):
        wait(app, folder, at, f"{settle.quiet} of quiet")
        return None
    if rule.data_path.grain == "file":
        return look_at_file(app, rule, folder, start)
    begun = time.monotonic()
    content = contents(app, rule, folder.datastore, folder.folder)
    took = timedelta(seconds=time.monotonic() - begun)
    if not content.files and not content.marker and not content.not_yet:
        return end(app, folder, Skip(rule=rule.name, reason="the folder has no data that the rule takes (any more)"))
    done = ledger.completed(app.ledger, folder.rule, folder.datastore, folder.folder)
    listed, unreadable = listed_in_manifest(app, folder, content)
    ready = readiness(
        settle,
        content,
        first_at=folder.first_at,
        last_at=folder.last_at,
        now=now,
        listed=listed,
        unreadable=unreadable,
        completed_by=done.marker,
    )
    if isinstance(ready, NotYet):
        if content.digest() == done.content:
            return end(app, folder, Skip(rule=rule.name, reason="nothing new since its last run"))
        wait(app, folder, ready.again_at, ready.missing)
        return None
    request = folder_request(rule, folder.folder, folder.datastore, source_of(folder), content)
    if isinstance(request, Skip):
        return end(app, folder, request)
    # What was written before the listing began is in it: by the storage service's clock, whose stamps the files have.
    covers = request.arrival.last_modified - took - timedelta(seconds=1)
    marker = content.marker.etag if content.marker else ""
    outcome = begin(app, rule, folder, content, request, ready, start)
    if not ledger.forget(app.ledger, folder, Completed(content=request.arrival.etag, marker=marker, covers=covers)):
        log("gathers_on", rule=rule.name, folder=folder.folder, reason="another file came meanwhile")
    return outcome


def begin(
    app: App,
    rule: Rule,
    folder: Gathering,
    content: Content,
    request: RetrainRequest,
    ready: Ready | GiveUp,
    start: Enter,
) -> Outcome:
    """Start on a folder that is waited for no longer; where the run is to get a list of its files, write the list."""
    if isinstance(ready, GiveUp):
        reason = f"Gave up on the folder after its max_wait: there was not {ready.missing}."
        entry = app.ledger.bury(again(request, 0), reason)
        log("dead", logging.ERROR, key=entry.key, rule=rule.name, folder=folder.folder, reason=reason)
        return Outcome(key=entry.key, rule=rule.name, entry=entry)
    if rule.data_path.grain == "manifest":
        app.datastores[folder.datastore].write(request.data_path.path, content.lines())
    log("complete", rule=rule.name, folder=folder.folder, files=content.files, started_without=ready.missing or None)
    return start(app, request)


def look_at_file(app: App, rule: Rule, folder: Gathering, start: Enter) -> Outcome | None:
    """Start on a file that has not changed for long enough."""
    assert rule.settle is not None
    assert rule.settle.quiet_for is not None  # a file has no other way to be complete
    try:
        arrival = app.datastores[folder.datastore].look(folder.folder, source_of(folder))
    except NotFoundError as error:
        return end(app, folder, Skip(rule=rule.name, reason=str(error)))
    quiet_at, now = arrival.last_modified + rule.settle.quiet_for, app.ledger.now()
    wait_end = folder.first_at + rule.settle.longest_wait if rule.settle.longest_wait else None
    if quiet_at > now and (wait_end is None or now < wait_end):
        wait(app, folder, quiet_at, f"{rule.settle.quiet} of quiet")
        return None
    request = file_request(rule, arrival)
    if isinstance(request, Skip):
        return end(app, folder, request)
    outcome = start(app, request)
    ledger.forget(app.ledger, folder)
    return outcome


def contents(app: App, rule: Rule, datastore: str, folder: str) -> Content:
    """List what is in a folder. Raises StorageError, also when there is no end of it."""
    content, until = Content(rule, folder), time.monotonic() + LONGEST_LOOK.total_seconds()
    for page in app.datastores[datastore].pages(f"{folder}/", ""):
        for arrival in page.arrivals:
            content.add(arrival)
        if time.monotonic() > until:
            raise StorageError(
                f"Folder {folder!r} in datastore {datastore!r} could not be listed within "
                f"{LONGEST_LOOK}: let the rule take smaller folders, by its data_path.folder."
            )
    return content


def listed_in_manifest(app: App, folder: Gathering, content: Content) -> tuple[list[str] | None, str]:
    """Read which blobs the folder's manifest lists; or None, and why it cannot be read. Raises StorageError."""
    if content.manifest is None:
        return None, ""
    if content.manifest.size > manifest.LARGEST:
        return None, f"it has {content.manifest.size:,} bytes; at most {manifest.LARGEST:,} are read"
    try:
        return manifest.names(app.datastores[folder.datastore].manifest(content.manifest.path), folder.folder), ""
    except ValueError as error:
        log("manifest_unreadable", logging.ERROR, rule=folder.rule, path=content.manifest.path, reason=error)
        return None, str(error)


def wait(app: App, folder: Gathering, at: datetime | None, missing: str) -> None:
    """Keep what is missing, and when to look again: `at`, or after a pause that grows while nothing comes."""
    shortest, longest = LOOKS
    later = app.ledger.now() + min(shortest * 2 ** min(folder.looks, 10), longest)
    ledger.look_again(app.ledger, folder, at or later, missing)
    if missing != folder.missing:
        log("waits", rule=folder.rule, folder=folder.folder, missing=missing)


def end(app: App, folder: Gathering, skip: Skip) -> Outcome:
    """Forget a folder that starts nothing, and say why."""
    ledger.forget(app.ledger, folder)
    return skipped(app, [skip], folder.datastore, folder.folder)[0]


def source_of(folder: Gathering) -> Source:
    """Return who told of the folder's latest file; an older version of the app did not keep it."""
    return reading.convert(folder.source or Source.SEARCH, Source)
