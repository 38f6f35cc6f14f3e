"""Tells somebody what needs a person: what has come to a bad end, or waits for one; and endpoints that take nothing.

What is to be told stands in the ledger (`ledger/notes.py`); here it is sent, from the timer, within a time of its own,
with growing pauses, for days. A message keeps its id: what was told, and not written down as told before the process
died, is told again under the same id. Never keeps anything else waiting, and never changes an entry.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from shared import notices
from shared.app import App
from shared.flow.blocked import Blocked, blocked
from shared.ledger import notes
from shared.ledger.entries import Entry, State, Work
from shared.ledger.notes import Note
from shared.log import log, logged
from shared.notices import Notice
from shared.settings.model import Notify

BLOCKED_FOR = timedelta(minutes=5)  # before it is told: a moment's throttling needs nobody
PAUSE, LONGEST_PAUSE, GIVES_UP = timedelta(minutes=1), timedelta(hours=1), timedelta(days=3)
MOST, THREADS, STRIKES = 50, 4, 3  # messages in a tick, at once; failures after which the rest waits for the next tick
PASSING = (State.UNCERTAIN, State.HELD)  # what may be settled before it is told


def notify(app: App, names: Iterable[str], works: Iterable[Work], until: datetime) -> None:
    """Tell what is due, of these rules and of the endpoints that take none of these works."""
    to = app.settings.notify
    if to is None:
        return
    now, strikes = app.ledger.now(), list[str]()
    waiting = [note for name in names for note in notes.of_rule(app.ledger, name)]
    due = sorted((note for note in waiting if note.due_at <= now), key=lambda note: note.due_at)
    told = [(note, None) for note in due] + (_endpoints(app, works, now) if "blocked" in to.on else [])

    def tell(one: tuple[Note, Blocked | None]) -> None:
        note, endpoint = one
        with logged("notify", note=note.row):
            if len(strikes) >= STRIKES or app.ledger.now() > until:
                return
            if notice := _of_endpoint(note, endpoint) if endpoint else _of_entry(app, note):
                _send(app, to, note, notice, strikes)

    with ThreadPoolExecutor(THREADS, "notify") as pool:
        list(pool.map(tell, told[:MOST]))


def _send(app: App, to: Notify, note: Note, notice: Notice, strikes: list[str]) -> None:
    sent = notices.send(notice, to.url, to.form, to.secret)
    if sent.verdict == "told":
        notes.done(app.ledger, note)
        log("notified", about=notice.type, id=notice.id)
        return
    if sent.verdict == "gone" or app.ledger.now() - note.made_at > GIVES_UP:
        notes.done(app.ledger, note)
        cure = "RETRAIN_NOTIFY_URL: is it still right?"
        log("not_notified", logging.ERROR, about=notice.type, id=notice.id, reason=sent.reason, cure=cure)
        return
    strikes.append(sent.reason)
    pause = max(min(PAUSE * 2 ** min(note.tries, 10), LONGEST_PAUSE), sent.retry_after or PAUSE)
    notes.put_off(app.ledger, note, pause)
    log("notify_put_off", logging.WARNING, about=notice.type, id=notice.id, reason=sent.reason, tries=note.tries + 1)


def _of_entry(app: App, note: Note) -> Notice | None:
    """Return what is told of an entry; None, and no note any more, when that has passed or is older than it matters."""
    row = app.ledger.get(note.key, [note.partition])
    passed = row is None or (note.state in PASSING and row.entry.state != note.state)
    if row is None or passed or app.ledger.now() - note.made_at > GIVES_UP + LONGEST_PAUSE:
        notes.done(app.ledger, note)
        log("not_notified", note=note.row, reason="it has passed" if passed else "it is older than anybody wants")
        return None
    entry = row.entry
    at, version = entry.changed_at, f", version {entry.version}" if entry.version else ""
    text = f"{entry.rule}: {entry.path} is {note.state}{version}."
    text = f"{text} {entry.reason}".strip()
    return Notice(id=f"{entry.key}.{note.state}", type=f"retrain.{note.state}", at=at, text=text, data=_data(entry))


def _data(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "state": str(entry.state),
        "rule": entry.rule,
        "pipeline": entry.pipeline,
        "version": entry.version,
        "datastore": entry.datastore,
        "path": entry.path,
        "data_path": entry.data_path,
        "attempt": entry.attempt,
        "run_id": entry.run_id,
        "run_url": entry.run_url,
        "reason": entry.reason,
    }


def _endpoints(app: App, works: Iterable[Work], now: datetime) -> list[tuple[Note, Blocked | None]]:
    """Return the endpoints that are to be told of; forget those that take something again."""
    known, found = notes.of_endpoints(app.ledger), list[tuple[Note, Blocked | None]]()
    for endpoint in blocked(works):
        row = notes.endpoint_row(endpoint.endpoint, endpoint.version)
        note = known.pop(row, None)
        if note is None and now - endpoint.since >= BLOCKED_FOR:
            note = notes.begin(app.ledger, row, endpoint.since, now)
        if note and not note.told and note.due_at <= now:
            found.append((note, endpoint))
    for note in known.values():
        notes.forget(app.ledger, note)
    return found


def _of_endpoint(note: Note, endpoint: Blocked) -> Notice:
    text = f"Endpoint {endpoint.endpoint}, version {endpoint.version}, takes nothing since "
    text += f"{endpoint.since:%Y-%m-%d %H:%M} UTC; {endpoint.waiting} waiting. {endpoint.cause}"
    data = {"endpoint": endpoint.endpoint, "version": endpoint.version, "waiting": endpoint.waiting}
    data |= {"since": endpoint.since.isoformat(), "reason": endpoint.cause}
    id_ = f"{note.row}.blocked.{note.made_at:%Y%m%dT%H%M%SZ}"
    return Notice(id=id_, type="retrain.blocked", at=endpoint.since, text=text, data=data)
