"""What would be started, before anything is: each rule's decision about a blob, and the exact request.

Never claims and never sends anything; the ledger is only asked whether a request has its row already.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from shared.app import App
from shared.errors import NotFoundError
from shared.ledger.entries import NEVER
from shared.ledger.folders import is_gathering
from shared.operate.calls import Call, addressed, decided, looked_at
from shared.pipelines.base import Preview
from shared.rules.arrival import Arrival, Source, checked_path
from shared.rules.decision import Decision, RetrainRequest, Settling
from shared.rules.match import match
from shared.rules.rule import Rule


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule would do about one blob."""

    path: str
    rule: str | None
    decision: Literal["start", "started", "settle", "skip"]
    """`started`: it has its row already."""
    reason: str = ""
    key: str = ""
    state: str = ""
    version: str = ""
    data_path: str = ""
    parameters: dict[str, str] = {}
    request: Preview | None = None


def plan_call(app: App, call: Call, offline: bool = False) -> list[Planned]:
    """Return what a call would do about the blob that it names; one that is not there is taken as if it came now.

    `offline`: nothing is asked, and each is taken so.
    Raises BadRequestError and NotFoundError, as the call itself would.
    """
    rules, datastore = addressed(app, call)
    arrival, note = _arrival(app, call, datastore, offline)
    return [_planned(app, arrival, decision, note) for decision in decided(rules, arrival, call)]


def _arrival(app: App, call: Call, datastore: str, offline: bool) -> tuple[Arrival, str]:
    """Return the blob that a call names; one that was not found as if it came now, and why."""
    told = "Storage was not asked."
    if not offline:
        try:
            return looked_at(app, call.path, datastore), ""
        except NotFoundError as error:
            told = str(error)
    arrival = Arrival(
        datastore=datastore,
        path=checked_path(call.path),
        etag="",
        last_modified=app.ledger.now().replace(microsecond=0),
        size=1,
        source=Source.WEBHOOK,
    )
    return arrival, f"{told} As if it came now."


def _planned(app: App, arrival: Arrival, decision: Decision, note: str) -> Planned:
    if isinstance(decision, Settling):
        why = note or waits_for(app, decision) or "It starts when that is complete, on what is there then."
        path = f"{decision.datastore}/{decision.folder}"
        return Planned(path=arrival.path, rule=decision.rule, decision="settle", reason=why, data_path=path)
    if not isinstance(decision, RetrainRequest):
        return Planned(
            path=arrival.path,
            rule=decision.rule,
            decision="skip",
            reason=f"{decision.reason}. {note}" if note else decision.reason,
        )
    row = app.ledger.of(decision) if not note else None
    target = app.target_of(decision)
    assert not isinstance(target, str)  # the rule that decided is in retrain.toml
    return Planned(
        path=arrival.path,
        rule=decision.rule,
        decision="started" if row else "start",
        reason=row.entry.reason if row else note,
        key=decision.key,
        state=row.entry.state if row else "",
        version=target.version,
        data_path=f"{decision.data_path.datastore}/{decision.data_path.path}",
        parameters=decision.parameters,
        request=app.endpoint(target).preview(decision, target),
    )


def waits_for(app: App, decision: Settling) -> str:
    """Return what a folder that gathers waits for, and since when; empty when it does not gather."""
    found = is_gathering(app.ledger, decision.rule, decision.datastore, decision.folder)
    if found is None:
        return ""
    missing = found.missing or "nobody has looked yet"
    return f"It gathers since {found.first_at:%Y-%m-%d %H:%M} UTC; missing: {missing}."


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A blob that is there already, and what a rule makes of it."""

    arrival: Arrival
    decision: RetrainRequest | Settling


def candidates(app: App, rule: Rule, since: datetime | None) -> Iterator[Candidate]:
    """Yield what a rule would start of what is in its datastore and was written since a time, and has no row yet.

    Oldest names first, as the service lists them; of a folder its first file only.
    """
    known = {one.key for one in app.ledger.known(rule.name, since or NEVER)}
    folders = set[str]()
    for page in app.datastores[rule.datastore].pages(rule.prefix(), ""):
        for arrival in page.arrivals:
            if since is not None and arrival.last_modified < since:
                continue
            arrival = msgspec.structs.replace(arrival, source=Source.BACKFILL)
            [decision] = match([rule], arrival, {})
            if isinstance(decision, RetrainRequest) and decision.key not in known:
                if decision.content and app.ledger.of(decision):
                    continue
                yield Candidate(arrival=arrival, decision=decision)
            elif isinstance(decision, Settling) and decision.folder not in folders:
                folders.add(decision.folder)
                yield Candidate(arrival=arrival, decision=decision)


def counts(app: App, datastore: str, since: datetime | None) -> dict[str, int]:
    """Return how many runs each rule of a datastore would start of what is there."""
    rules = [rule for rule in app.settings.rules if rule.datastore == datastore]
    return dict(Counter({rule.name: sum(1 for _ in candidates(app, rule, since)) for rule in rules}))
