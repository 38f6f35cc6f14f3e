"""A delivery of storage events to the webhook: each one comes to its row, or to a skip with its reason.

Whoever delivers is told that all is well only then; where storage does not answer, it comes again, and what has its row
already costs little. Never judges an event by more than what it tells: what is in storage now counts.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.app import App
from shared.errors import BadRequestError, NotFoundError, RetrainError, StorageError
from shared.flow import send
from shared.flow.arrive import Sender, act, since_of_rules
from shared.flow.outcome import Outcome
from shared.flow.poison import give_up
from shared.flow.skips import skipped
from shared.ledger.watch import ask_for_everything
from shared.rules.arrival import Source, checked_path
from shared.rules.decision import Skip
from shared.rules.events import Announced, Event, announced
from shared.rules.locations import Location
from shared.rules.match import match
from shared.rules.take import announced as is_announcer

THREADS = 8  # events of one delivery at a time


def deliver(app: App, events: list[Event]) -> list[list[Outcome]]:
    """Act on each event; return its outcomes. Raises StorageError when one has neither row nor skip: deliver again."""
    sender = send.promptly()
    with ThreadPoolExecutor(THREADS, "events") as pool:
        done = list(pool.map(lambda event: _tried(lambda: act_on(app, event, sender)), events))
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


def act_on(app: App, event: Event, sender: Sender) -> list[Outcome]:
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
    return [outcome for datastore in datastores for outcome in _blob(app, datastore, told, sender)]


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


def _blob(app: App, datastore: str, told: Announced, sender: Sender) -> list[Outcome]:
    path, source, rules = told.at.path, Source.BLOB_EVENT, app.settings.rules
    if told.early and not any(is_announcer(rule, path) for rule in rules if rule.datastore == datastore):
        return skipped(app, [Skip(reason="it was created, and its data is still to come")], datastore, path)
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
            give_up(app, decision, error)
            outcomes.append(Outcome(rule=decision.rule or "", skip=Skip(rule=decision.rule, reason=str(error))))
    return outcomes
