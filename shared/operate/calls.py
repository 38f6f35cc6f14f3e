"""A caller's request: what may be asked for, whom it is about, acting on it, and what the caller is told.

Never sends by itself: `flow/arrive.py` does.
"""

import time
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.errors import BadRequestError, ConflictError, NotFoundError
from shared.flow import arrive, send
from shared.flow.outcome import Outcome
from shared.ledger.entries import Entry, State
from shared.rules.arrival import Arrival, Source, checked_path
from shared.rules.decision import Decision, RetrainRequest, Settling, again, once_of
from shared.rules.fill import parameter_faults
from shared.rules.hints import hint
from shared.rules.match import match
from shared.rules.rule import Rule

# A caller who meets a submission under way waits for its answer: so long in all, looking so often (seconds).
PATIENCE_S, LOOK_S = 5.0, 0.2


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller of POST /api/retrain asks for."""

    path: Annotated[str, Meta(min_length=1)]
    datastore: str | None = None
    """May be left out when `rule` is given."""
    rule: str | None = None
    """Only this rule; left out: every rule of the datastore that matches."""
    parameters: dict[str, str] = {}
    """Further pipeline parameters; they win over the rule's own."""
    force: bool = False
    """Train again on data that has a run already."""


def request(app: App, call: Call, once: str = "") -> list[Outcome]:
    """Act on a blob that a caller names, whatever its age.

    With `once`, the caller's own key of this call, a forced one that is repeated starts nothing more.
    Raises BadRequestError, NotFoundError (unknown datastore, rule or blob), ConflictError, StorageError.
    """
    rules, datastore = addressed(app, call)
    arrival = looked_at(app, call.path, datastore)
    decisions = decided(rules, arrival, call)
    sender = send.promptly()
    if call.force:
        return [_forced(app, decision, arrival, once, sender) for decision in decisions]
    outcomes = arrive.act(app, decisions, arrival, sender)
    return [answerable(app, outcome, call) for outcome in outcomes]


def looked_at(app: App, path: str, datastore: str) -> Arrival:
    """Return the blob that a caller names.

    Raises BadRequestError, NotFoundError, each with what may have been meant; StorageError.
    """
    try:
        return app.datastores[datastore].look(checked_path(path), Source.WEBHOOK)
    except (BadRequestError, NotFoundError) as error:
        told = hint(path, app.settings.datastores[datastore].container, datastore)
        raise type(error)(f"{error} {told}".rstrip()) from error


def decided(rules: Iterable[Rule], arrival: Arrival, call: Call) -> list[Decision]:
    """Return what each rule decides about a call. Raises BadRequestError for what cannot be given for a folder."""
    decisions = match(rules, arrival, {}, call.parameters)
    for decision in decisions:
        if isinstance(decision, Settling) and (call.parameters or call.force):
            raise BadRequestError(
                f"Rule {decision.rule!r} waits until {decision.folder!r} is complete: neither parameters nor force can "
                "be given for that. Name another rule, or redrive its key."
            )
    return decisions


def addressed(app: App, call: Call) -> tuple[list[Rule], str]:
    """Return the rules and the datastore that a call is about. Raises BadRequestError and NotFoundError."""
    rules = list(app.settings.rules)
    if call.rule is not None:
        names = app.settings.rule_names(call.rule)
        rules = [rule for rule in rules if rule.name in names]
    datastore = call.datastore or (rules[0].datastore if call.rule else None)
    if datastore is None:
        raise BadRequestError("Give the datastore, or a rule.")
    if datastore not in app.settings.datastores:
        known = ", ".join(app.settings.datastores)
        raise NotFoundError(f"There is no datastore {datastore!r}; known are: {known}.")
    if call.rule and rules[0].datastore != datastore:
        raise BadRequestError(f"Rule {call.rule!r} is for datastore {rules[0].datastore!r}, not {datastore!r}.")
    if faults := parameter_faults(call.parameters):
        raise BadRequestError(f"{faults[0]}.")
    clash = {name for rule in rules for name in rule.path_parameters()} & call.parameters.keys()
    if clash:
        raise BadRequestError(f"Parameter {clash.pop()!r} takes the data path; it cannot be given a value here.")
    return rules, datastore


def _forced(app: App, decision: Decision, arrival: Arrival, once: str, sender: arrive.Sender) -> Outcome:
    """Start the first attempt that nobody has: a person wants the same data trained again."""
    if not isinstance(decision, RetrainRequest):
        return arrive.carry_out(app, decision, arrival)
    outcome = start_again(app, decision, 1, once, sender)
    row = app.ledger.get(outcome.key, [outcome.rule]) if outcome.duplicate else None
    if row is None:
        return outcome
    if row.entry.path != arrival.path:
        raise ConflictError(f"This Idempotency-Key was used for {row.entry.path!r} already; give each call its own.")
    return msgspec.structs.replace(outcome, entry=until_sent(app, row.entry))


def start_again(
    app: App, request: RetrainRequest, attempt: int, once: str = "", sender: arrive.Sender = send.at_once
) -> Outcome:
    """Start the first attempt, from `attempt` on, that nobody has; with `once`, only if none was started for it yet."""
    while True:
        made = again(request, attempt)
        if once:  # stands in the row's place for the content: what is asked once is one request
            made = msgspec.structs.replace(made, content=once_of(request.rule, once))
        outcome = arrive.start(app, made, sender)
        if not outcome.duplicate or outcome.key != made.key:
            return outcome
        attempt += 1


def answerable(app: App, outcome: Outcome, call: Call) -> Outcome:
    """Return `outcome` as a caller can be told: with the row, and the run where another delivery is just being sent.

    Raises ConflictError when a run is there already and was started with other parameters than the caller asks for.
    """
    if not outcome.duplicate or not outcome.key:
        return outcome
    row = app.ledger.get(outcome.key, [outcome.rule])
    if row is None:
        raise NotFoundError(f"The row of {outcome.key} is gone.")
    entry = row.entry
    started_with = entry.retrain_request().parameters
    differing = sorted(name for name, value in call.parameters.items() if started_with.get(name) != value)
    if differing:
        raise ConflictError(
            f"This data has a run already, {entry.run_id or entry.key}, with another {' and '.join(differing)}. "
            'To train on it again as asked, add "force": true.'
        )
    return msgspec.structs.replace(outcome, entry=until_sent(app, entry))


def until_sent(app: App, entry: Entry) -> Entry:
    """Return the entry once the delivery that is sending it has its answer, or as it is after some seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while entry.state == State.SENDING and time.monotonic() < deadline:
        if row := app.ledger.get(entry.key, [entry.rule]):
            entry = row.entry
        if entry.state == State.SENDING:
            time.sleep(LOOK_S)
    return entry
