"""A caller's request: what may be asked for, whom it is about, and what the caller is told.

Never submits: `flow.py` does, in between.
"""

import time
from collections.abc import Mapping

import msgspec

from shared.errors import BadRequestError, ConflictError, NotFoundError
from shared.ledger import Entry, State
from shared.outcome import Outcome
from shared.rules import Rule
from shared.wiring import App

# A caller who meets a submission under way waits for its answer: so long in all, looking so often (seconds).
PATIENCE_S, LOOK_S = 5.0, 0.2


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
    if any(rule.settle for rule in rules if rule.datastore == datastore) and (call.parameters or call.force):
        raise BadRequestError(
            "A rule of this datastore takes folders, which start when they are complete: neither parameters nor force "
            "can be given for one. Name another rule, or redrive the folder's key."
        )
    clash = {name for rule in rules for name in rule.path_parameters()} & call.parameters.keys()
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


def until_sent(app: App, entry: Entry) -> Entry:
    """Return the entry once the delivery that is sending it has its answer, or as it is after some seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while entry.state == State.SENDING and time.monotonic() < deadline:
        if row := app.ledger.get(entry.key, [entry.rule]):
            entry = row.entry
        if entry.state == State.SENDING:
            time.sleep(LOOK_S)
    return entry
