"""Arrivals that the platform has given up on: tried once more, else a `dead` row. Never lets one vanish."""

import logging
from datetime import datetime

from shared.app import App
from shared.errors import BadRequestError, NotFoundError, RetrainError, StorageError
from shared.flow.arrive import act, since_of_rules
from shared.flow.skips import skipped
from shared.ledger import folders
from shared.log import log
from shared.rules.arrival import Arrival, Source, checked_path
from shared.rules.decision import Decision, RetrainRequest, Settling, Skip, again
from shared.rules.match import match


def bury(app: App, datastore: str, path: str, etag: str, told_at: datetime) -> None:
    """Try an arrival once more that the platform has given up on; if that fails too, leave a `dead` row.

    `told_at` stands for the time of the data, which may not be readable. Raises StorageError when not even the row can
    be written: then the message stays in its queue.
    """
    source, rules = Source.POISON, app.settings.rules
    try:
        arrival = app.datastores[datastore].look(checked_path(path), source)
        since = since_of_rules(app, source)
    except (NotFoundError, BadRequestError) as error:
        skipped(app, [Skip(reason=str(error))], datastore, path)
        return
    except StorageError as error:
        arrival = Arrival(
            datastore=datastore, path=path, etag=etag, last_modified=told_at, size=1, source=source, metadata=None
        )
        for decision in match(rules, arrival, {}):
            give_up(app, decision, error)
        return
    decisions = match(rules, arrival, since)
    act(app, [one for one in decisions if isinstance(one, Skip)], arrival)
    for decision in [one for one in decisions if not isinstance(one, Skip)]:
        try:
            act(app, [decision], arrival)
        except RetrainError as error:
            give_up(app, decision, error)


def give_up(app: App, decision: Decision, error: RetrainError) -> None:
    """Leave a `dead` row for what could not be started; a folder's file is noted, the timer will look at the folder."""
    if isinstance(decision, Settling):
        now = app.ledger.now()
        if not folders.touch(app.ledger, decision, now):
            folders.begin(app.ledger, decision, now)
    elif isinstance(decision, RetrainRequest):
        entry = app.ledger.bury(again(decision, 0), str(error))
        log("dead", logging.ERROR, key=entry.key, rule=entry.rule, path=entry.path, cure=f"redrive {entry.key}")
