"""THE STORY of an arrival, from top to bottom: arrive = look, match, enter; then send at once.

Four round trips: the blob's properties, the row that claims it, the submission, the record of its answer. Before the
row an error goes to the caller, who comes again; after it the row owns the arrival, and nothing here raises any more.
What is open then, the timer brings to its end (`tick`): it sends what waits (`send`), settles what is uncertain
(`reconcile`), follows runs (`track`), looks into folders (`folders`), and for arrivals that nobody told of (`search`).

Never downloads training data, and never sends what the ledger does not announce first.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from shared.app import App
from shared.errors import BadRequestError, NotFoundError, RetrainError
from shared.flow import enter, folders, send
from shared.flow.outcome import Outcome
from shared.flow.skips import skipped
from shared.ledger.entries import Entry, Row
from shared.log import log
from shared.rules.arrival import Arrival, Source, checked_path
from shared.rules.decision import Decision, RetrainRequest, Settling, Skip
from shared.rules.match import match
from shared.rules.rule import Rule

Sender = Callable[[App, Row], Entry]
"""Sends a row that says `sending`: `send.at_once`, or `send.promptly()` for callers who must be answered soon."""


def arrive(app: App, datastore: str, path: str, source: Source) -> list[Outcome]:
    """Act on a blob that was detected. Raises StorageError when it should be delivered again."""
    try:
        arrival = app.datastores[datastore].look(checked_path(path), source)
    except (NotFoundError, BadRequestError) as error:  # deleted since, or no name that a run could be given
        return skipped(app, [Skip(reason=str(error))], datastore, path)
    return act(app, match(app.settings.rules, arrival, since_of_rules(app, source)), arrival)


def act(app: App, decisions: Iterable[Decision], arrival: Arrival, sender: Sender = send.at_once) -> list[Outcome]:
    """Carry out each decision; one that fails does not stop the others, and is raised at the end."""
    decisions = list(decisions)
    outcomes = skipped(app, [one for one in decisions if isinstance(one, Skip)], arrival.datastore, arrival.path)
    errors = list[RetrainError]()
    for decision in [one for one in decisions if not isinstance(one, Skip)]:
        try:
            outcomes.append(carry_out(app, decision, arrival, sender))
        except RetrainError as error:
            key = decision.key if isinstance(decision, RetrainRequest) else None
            log("not_started", logging.ERROR, key=key, rule=decision.rule, path=arrival.path, reason=error)
            errors.append(error)
    if errors:
        raise errors[0]
    return outcomes


def carry_out(app: App, decision: Decision, arrival: Arrival, sender: Sender = send.at_once) -> Outcome:
    """Start a run, note that a folder gathers, or say why nothing happens."""
    match decision:
        case Skip():
            return skipped(app, [decision], arrival.datastore, arrival.path)[0]
        case Settling():
            # A marker may complete the folder: then it is started on.
            return folders.gather(app, decision, partial(start, sender=sender))
        case RetrainRequest():
            return start(app, decision, sender)


def start(app: App, request: RetrainRequest, sender: Sender = send.at_once) -> Outcome:
    """Enter, submit, record: at most once for a key, whoever else is trying.

    Where the rule limits how many runs are active, the row may have to wait in the queue instead.
    """
    entered = enter.to_send(app, request)
    if isinstance(entered, Row):
        entry = sender(app, entered)
        return Outcome(key=entry.key, rule=entry.rule, entry=entry)
    return entered


def since_of_rules(app: App, source: Source) -> dict[str, datetime]:
    """Return, by rule, the time before which blobs from this source start nothing."""
    return {rule.name: since for rule in app.settings.rules if (since := applicable_since(app, rule, source))}


def applicable_since(app: App, rule: Rule, source: Source) -> datetime | None:
    """Return the time before which blobs start nothing.

    A listing has blobs of any age, so where the rule gives no time it is the moment the rule was first seen. An event
    is raised for a new blob only.
    """
    listed = source in (Source.BLOB_SCAN, Source.SEARCH) or (source == Source.POISON and app.settings.scans)
    return app.first_seen(rule) if rule.since is None and listed else rule.since
