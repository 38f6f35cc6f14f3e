"""A delivery of storage events, by webhook or queue: each one comes to its row, or to a skip with its reason.

Whoever delivers is told that all is well only then; where storage does not answer, it comes again, and what has its row
already costs little. Never judges an event by more than what it tells: what is in storage now counts.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from shared.app import App
from shared.errors import BadRequestError, NotFoundError, RetrainError, StorageError
from shared.flow import poison
from shared.flow.arrive import Sender, act, since_of_rules
from shared.flow.outcome import Outcome
from shared.flow.skips import skipped
from shared.ledger.watch import ask_for_everything
from shared.log import log
from shared.rules.arrival import Source, checked_path
from shared.rules.decision import Skip
from shared.rules.events import Announced, Event, announced
from shared.rules.locations import Location
from shared.rules.match import match
from shared.rules.take import announced as is_announcer

THREADS = 8  # events of one delivery at a time
SHOWN = 500  # bytes of a message that is no event

OnBlob = Callable[[str, Announced], list[Outcome]]
"""Acts on a blob of a datastore, of which an event tells."""


def deliver(app: App, events: list[Event], sender: Sender) -> list[list[Outcome]]:
    """Act on each event; return its outcomes. Raises StorageError when one has neither row nor skip: deliver again."""
    return _each(app, events, lambda datastore, told: _blob(app, datastore, told, sender))


def bury(app: App, events: list[Event], told_at: datetime) -> None:
    """Act once more on events that the platform has given up on; what fails again is told by a `dead` row.

    Where an event does not say when the data was written, `told_at` stands for it. Raises StorageError when not even
    the row can be written.
    """

    def on_blob(datastore: str, told: Announced) -> list[Outcome]:
        poison.bury(app, datastore, told.at.path, told.etag, told.time or told_at)
        return []

    _each(app, events, on_blob)


def unreadable(app: App, queue: str, message: str, content: bytes, error: Exception) -> None:
    """Tell of a message that is no event, in the log and among the skips: it is not delivered again."""
    cure = "Let only storage events into this queue. A blob that it was to tell of is found by the search."
    log(
        "event_unreadable",
        logging.ERROR,
        queue=queue,
        message=message,
        reason=error,
        content=content[:SHOWN],
        cure=cure,
    )
    skipped(app, [Skip(reason=f"a message of queue {queue} that is no storage event: {error}")], "", message)


def _each(app: App, events: list[Event], on_blob: OnBlob) -> list[list[Outcome]]:
    """Act on all events, whatever one of them comes to. Raises the first error at the end."""
    with ThreadPoolExecutor(THREADS, "events") as pool:
        done = list(pool.map(lambda event: _tried(lambda: act_on(app, event, on_blob)), events))
    for outcomes in done:
        if isinstance(outcomes, RetrainError):
            raise outcomes
    return [outcomes for outcomes in done if not isinstance(outcomes, RetrainError)]


def _tried[T](what: Callable[[], T]) -> T | RetrainError:
    """Do something; return the error that it comes to, so that it stops none of the others."""
    try:
        return what()
    except RetrainError as error:
        return error


def act_on(app: App, event: Event, on_blob: OnBlob) -> list[Outcome]:
    """Act on one event. Raises StorageError."""
    try:
        told = announced(event)
    except ValueError as error:  # it would be as damaged the next time
        told = Skip(reason=str(error))
    if isinstance(told, Skip):
        return skipped(app, [told], "", event.id)
    datastores = registered_at(app, told.at)
    if not datastores:
        place = f"container {told.at.container!r} of account {told.at.account!r}"
        return skipped(app, [Skip(reason=f"no datastore of retrain.toml is {place}")], "", told.at.path)
    if told.grain == "directory":
        return [_directory(app, datastore, told.at.path) for datastore in datastores]
    outcomes = list[Outcome]()
    for datastore in datastores:
        if told.early and not _may_be_empty(app, datastore, told.at.path):
            skip = Skip(reason="it was created, and its data is still to come")
            outcomes += skipped(app, [skip], datastore, told.at.path)
        else:
            outcomes += on_blob(datastore, told)
    return outcomes


def registered_at(app: App, at: Location) -> list[str]:
    """Return the datastores that are the container; by its account where several containers are called so."""
    named = [name for name, store in app.settings.datastores.items() if store.container == at.container]
    exact = [name for name in named if app.datastores[name].account == at.account]
    return exact or named


def _directory(app: App, datastore: str, path: str) -> Outcome:
    """What was renamed with its directory keeps its dates: only a look at everything finds it."""
    ask_for_everything(app.ledger, app.settings.place(datastore), app.ledger.now())
    skip = Skip(reason="a directory: what is in it is found by the search, at the next tick")
    return skipped(app, [skip], datastore, path)[0]


def _may_be_empty(app: App, datastore: str, path: str) -> bool:
    """Tell whether a blob is a marker or a manifest to some rule."""
    return any(is_announcer(rule, path) for rule in app.settings.rules if rule.datastore == datastore)


def _blob(app: App, datastore: str, told: Announced, sender: Sender) -> list[Outcome]:
    path, source, rules = told.at.path, Source.BLOB_EVENT, app.settings.rules
    try:
        arrival = app.datastores[datastore].look(checked_path(path), source)
    except (NotFoundError, BadRequestError) as error:  # deleted since, or no name that a run could be given
        return skipped(app, [Skip(reason=str(error))], datastore, path)
    decisions = match(rules, arrival, since_of_rules(app, source))
    outcomes = act(app, [one for one in decisions if isinstance(one, Skip)], arrival)
    for decision in [one for one in decisions if not isinstance(one, Skip)]:
        try:
            outcomes += act(app, [decision], arrival, sender)
        except StorageError:
            raise
        except RetrainError as error:  # it would come to the same the next time: told by a `dead` row
            poison.give_up(app, decision, error)
            outcomes.append(Outcome(rule=decision.rule or "", skip=Skip(rule=decision.rule, reason=str(error))))
    return outcomes
