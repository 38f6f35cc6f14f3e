"""THE STORY of an arrival, from top to bottom: arrive (or a request) = look, match, claim, submit, record.

Four round trips: the blob's properties, the claim, the submission, the record of its answer. Before the claim an error
goes to the caller, who comes again; after it the row owns the arrival, and nothing here raises any more.

Never downloads training data, and never sends to an endpoint what the ledger does not announce first.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
import stamina
from azure.core.exceptions import ResourceNotFoundError

from shared import arrival as arrivals
from shared.arrival import Arrival, Source
from shared.errors import BadRequestError, ConflictError, NotFoundError, RetrainError
from shared.events import log
from shared.ledger import Claimed, Entry, Row, State, Taken
from shared.pipelines.base import Answer, NotAccepted, Refused, Submitted, Unknown
from shared.rules import RetrainRequest, Rule, Skip, again, match
from shared.storage import storage_errors
from shared.wiring import App

# A submission that surely was not accepted is due again after this, unless the endpoint asked for longer.
PAUSE = timedelta(minutes=1)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one decision: a row in the ledger, or a skip."""

    entry: Entry | None = None
    skip: Skip | None = None
    duplicate: bool = False
    """The row was there before: this delivery started nothing."""


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller of POST /api/retrain asks for."""

    path: str
    datastore: str | None = None
    """May be left out when `rule` is given."""
    rule: str | None = None
    """Only this rule; left out: every rule of the datastore that matches."""
    parameters: dict[str, str] = {}
    """Further pipeline parameters; they win over the rule's own."""
    force: bool = False
    """Train again on data that has a run already."""


def arrive(app: App, datastore: str, path: str, source: Source) -> list[Outcome]:
    """Act on a blob that was detected. Raises StorageError when it should be delivered again."""
    try:
        arrival = look(app, datastore, path, source)
    except NotFoundError as error:  # deleted since: there is nothing to train on
        return [skipped(Skip(reason=str(error)), datastore, path)]
    since = {rule.name: when for rule in app.settings.rules if (when := applicable_since(app, rule, source))}
    return act(app, match(app.settings.rules, app.settings.pins, arrival, since), arrival)


def request(app: App, call: Call) -> list[Outcome]:
    """Act on a blob that a caller names, whatever its age.

    Raises BadRequestError, NotFoundError (unknown datastore, rule or blob), ConflictError, StorageError.
    """
    rules, datastore = addressed(app, call)
    arrival = look(app, datastore, arrivals.checked_path(call.path), Source.WEBHOOK)
    decisions = match(rules, app.settings.pins, arrival, {}, call.parameters)
    outcomes = act(app, decisions, arrival, force=call.force)
    return [answerable(app, outcome, call.parameters) for outcome in outcomes]


def look(app: App, datastore: str, path: str, source: Source) -> Arrival:
    """Read the blob's properties, never its content. Raises NotFoundError and StorageError."""
    container = app.containers[datastore]
    with storage_errors(f"Properties of {path!r} in datastore {datastore!r}"):
        try:
            properties = container.get_blob_client(path).get_blob_properties()
        except ResourceNotFoundError as error:
            place = f"container {container.container_name!r} of datastore {datastore!r}"
            raise NotFoundError(f"There is no blob {path!r} in {place}.") from error
    return arrivals.from_properties(datastore, source, properties)


def act(app: App, decisions: Iterable[RetrainRequest | Skip], arrival: Arrival, force: bool = False) -> list[Outcome]:
    """Carry out each decision; one that fails does not stop the others, and is raised at the end."""
    outcomes, errors = list[Outcome](), list[RetrainError]()
    for decision in decisions:
        try:
            if isinstance(decision, Skip):
                outcomes.append(skipped(decision, arrival.datastore, arrival.path))
            else:
                outcomes.append(start_again(app, decision) if force else start(app, decision))
        except RetrainError as error:
            log("not_started", logging.ERROR, **names(decision, arrival), reason=error)
            errors.append(error)
    if errors:
        raise errors[0]
    return outcomes


def start(app: App, request: RetrainRequest) -> Outcome:
    """Claim, submit, record: at most once for a key, whoever else is trying."""
    match app.ledger.claim(request):
        case Taken(row):
            log("duplicate", key=request.key, state=row.entry.state, run=row.entry.run_id or None)
            return Outcome(entry=row.entry, duplicate=True)
        case Claimed(row):
            log("claimed", key=request.key, rule=request.rule, path=request.arrival.path, version=request.version)
            return Outcome(entry=record(app, row, submit(app, row.entry)))


def start_again(app: App, request: RetrainRequest) -> Outcome:
    """Start the first attempt that nobody has claimed yet: a person wants the same data trained again."""
    attempt = 1
    while (outcome := start(app, again(request, attempt))).duplicate:
        attempt += 1
    return outcome


def submit(app: App, entry: Entry) -> Answer:
    """Send the submission that the row announces to the endpoint, at the pinned version."""
    return app.pipelines[entry.pipeline].submit(entry.retrain_request())


def record(app: App, row: Row, answer: Answer) -> Entry:
    """Write down what the endpoint answered.

    Never raises: when the table cannot be written the row still says `sending`, and the log says what is missing.
    """
    state, changes = recorded(answer, app.ledger.now(), app.settings.grace)
    entry = row.entry
    log(
        state,
        logging.INFO if state == State.SUBMITTED else logging.WARNING,
        key=entry.key,
        rule=entry.rule,
        version=entry.version,
        run=changes.get("run_id"),
        reason=changes.get("reason"),
    )
    try:
        return app.ledger.move(row, state, **changes).entry
    except RetrainError as error:
        log("not_recorded", logging.ERROR, key=entry.key, state=state, run=changes.get("run_id"), reason=error)
        return msgspec.structs.replace(entry, state=state, **changes)


def recorded(answer: Answer, now: datetime, grace: timedelta) -> tuple[State, dict[str, str | datetime]]:
    """Return the state and the columns that an answer leads to."""
    match answer:
        case Submitted():
            return State.SUBMITTED, {"run_id": answer.run_id, "run_url": answer.run_url}
        case Refused():
            return State.REFUSED, {"reason": answer.reason, "ended_at": now}
        case NotAccepted():
            return State.WAITING, {"reason": answer.reason, "due_at": now + max(answer.retry_after or PAUSE, PAUSE)}
        case Unknown():
            return State.UNCERTAIN, {"reason": answer.reason, "due_at": now + grace}


def addressed(app: App, call: Call) -> tuple[list[Rule], str]:
    """Return the rules and the datastore that a call is about."""
    rules = list(app.settings.rules)
    if call.rule is not None:
        rules = [rule for rule in rules if rule.name == call.rule]
        if not rules:
            known = ", ".join(rule.name for rule in app.settings.rules)
            raise NotFoundError(f"There is no rule {call.rule!r}; known are: {known}.")
    datastore = call.datastore or (rules[0].datastore if call.rule else None)
    if datastore is None:
        raise BadRequestError("Give the datastore, or a rule.")
    if datastore not in app.settings.datastores:
        known = ", ".join(app.settings.datastores)
        raise NotFoundError(f"There is no datastore {datastore!r}; known are: {known}.")
    if call.rule and rules[0].datastore != datastore:
        raise BadRequestError(f"Rule {call.rule!r} is for datastore {rules[0].datastore!r}, not {datastore!r}.")
    clash = {rule.data_path.parameter for rule in rules} & call.parameters.keys()
    if clash:
        raise BadRequestError(f"Parameter {clash.pop()!r} takes the data path; it cannot be given a value here.")
    return rules, datastore


def answerable(app: App, outcome: Outcome, parameters: Mapping[str, str]) -> Outcome:
    """Return `outcome` as a caller can be told: with the run, where another delivery is just being sent.

    Raises ConflictError when a run is there already and was started with other parameters than the caller asks for.
    """
    if not outcome.duplicate or outcome.entry is None:
        return outcome
    entry = outcome.entry
    started_with = entry.retrain_request().parameters
    differing = sorted(name for name, value in parameters.items() if started_with.get(name) != value)
    if differing:
        raise ConflictError(
            f"This data has a run already, {entry.run_id or entry.key}, with another {' and '.join(differing)}. "
            'To train on it again as asked, add "force": true.'
        )
    return msgspec.structs.replace(outcome, entry=until_sent(app, entry))


class _StillSendingError(Exception):
    """The delivery that has the claim is waiting for the endpoint's answer."""


def until_sent(app: App, entry: Entry) -> Entry:
    """Return the entry once the delivery that is sending it has its answer, or as it is after some seconds."""
    try:
        for attempt in stamina.retry_context(
            on=_StillSendingError, attempts=None, timeout=5, wait_initial=0.1, wait_max=1
        ):
            with attempt:
                if entry.state == State.SENDING and (row := app.ledger.get(entry.key, [entry.rule])):
                    entry = row.entry
                if entry.state == State.SENDING:
                    raise _StillSendingError
    except _StillSendingError:
        log("still_sending", key=entry.key)
    return entry


def applicable_since(app: App, rule: Rule, source: Source) -> datetime | None:
    """Return the time before which blobs start nothing.

    A scan sees blobs of any age, so where the rule gives no time it is the moment the rule was first seen. An event is
    raised for a new blob only.
    """
    if rule.since is None and source == Source.BLOB_SCAN:
        return app.first_seen(rule)
    return rule.since


def skipped(skip: Skip, datastore: str, path: str) -> Outcome:
    """Write down why an arrival started nothing."""
    log("skipped", datastore=datastore, path=path, rule=skip.rule, reason=skip.reason)
    return Outcome(skip=skip)


def names(decision: RetrainRequest | Skip, arrival: Arrival) -> dict[str, object]:
    """Return what a log line about a decision begins with."""
    key = decision.key if isinstance(decision, RetrainRequest) else None
    return {"key": key, "rule": decision.rule, "datastore": arrival.datastore, "path": arrival.path}
