"""What would be started, before anything is: each rule's decision about a blob, and the exact request.

Never claims and never sends anything; the ledger is only asked whether a request has its row already.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.arrival import Arrival, Source, checked_path
from shared.calls import Call, addressed
from shared.errors import NotFoundError
from shared.pipelines.base import Preview
from shared.rules import Decision, RetrainRequest, Rule, Settling, match
from shared.wiring import App

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # before the first blob


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule would do about one blob."""

    path: str
    rule: str | None
    decision: str
    """`start`, `started` (it has its row already), `settle` or `skip`."""
    reason: str = ""
    key: str = ""
    state: str = ""
    version: str = ""
    data_path: str = ""
    parameters: dict[str, str] = {}
    request: Preview | None = None


def plan_call(app: App, call: Call) -> list[Planned]:
    """Return what a call would do about the blob that it names; one that is not there is taken as if it came now.

    Raises BadRequestError and NotFoundError, as the call itself would.
    """
    rules, datastore = addressed(app, call)
    path = checked_path(call.path)
    try:
        arrival = app.datastores[datastore].look(path, Source.WEBHOOK)
        note = ""
    except NotFoundError:
        now = app.ledger.now().replace(microsecond=0)
        values: dict[str, Any] = {"datastore": datastore, "path": path, "etag": "", "last_modified": now, "size": 1}
        arrival, note = Arrival(**values, source=Source.WEBHOOK), "There is no such blob; as if it came now."
    decisions = match(rules, app.settings.pins, arrival, {}, call.parameters)
    return [_planned(app, arrival, decision, note) for decision in decisions]


def _planned(app: App, arrival: Arrival, decision: Decision, note: str) -> Planned:
    if isinstance(decision, Settling):
        why = note or "It starts when the folder is complete, on what is in it then."
        path = f"{decision.datastore}/{decision.folder}"
        return Planned(path=arrival.path, rule=decision.rule, decision="settle", reason=why, data_path=path)
    if not isinstance(decision, RetrainRequest):
        return Planned(path=arrival.path, rule=decision.rule, decision="skip", reason=decision.reason)
    row = app.ledger.get(decision.key, [decision.rule]) if not note else None
    return Planned(
        path=arrival.path,
        rule=decision.rule,
        decision="started" if row else "start",
        reason=note,
        key=decision.key,
        state=row.entry.state if row else "",
        version=decision.version,
        data_path=f"{decision.data_path.datastore}/{decision.data_path.path}",
        parameters=decision.parameters,
        request=app.pipelines[decision.pipeline].preview(decision),
    )


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A blob that is there already, and what a rule makes of it."""

    arrival: Arrival
    decision: RetrainRequest | Settling


def candidates(app: App, rule: Rule, since: datetime | None) -> Iterator[Candidate]:
    """Yield what a rule would start of what is in its datastore and was written since a time, and has no row yet.

    Oldest names first, as the service lists them; of a folder its first file only.
    """
    known = app.ledger.keys(rule.name, since or EPOCH)
    folders = set[str]()
    for page in app.datastores[rule.datastore].pages(rule.prefix(), ""):
        for arrival in page.arrivals:
            if since is not None and arrival.last_modified < since:
                continue
            arrival = msgspec.structs.replace(arrival, source=Source.BACKFILL)
            [decision] = match([rule], app.settings.pins, arrival, {})
            if isinstance(decision, RetrainRequest) and decision.key not in known:
                yield Candidate(arrival=arrival, decision=decision)
            elif isinstance(decision, Settling) and decision.folder not in folders:
                folders.add(decision.folder)
                yield Candidate(arrival=arrival, decision=decision)


def counts(app: App, datastore: str, since: datetime | None) -> dict[str, int]:
    """Return how many runs each rule of a datastore would start of what is there."""
    rules = [rule for rule in app.settings.rules if rule.datastore == datastore]
    return dict(Counter({rule.name: sum(1 for _ in candidates(app, rule, since)) for rule in rules}))
