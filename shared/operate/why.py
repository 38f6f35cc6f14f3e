"""The whole story of one blob: is it there, which rules take it, what has become of it, and if nothing has, why not.

Never changes anything. Each link of the way is told, also where storage does not answer for one of them.
"""

from datetime import datetime
from typing import Literal

import msgspec

from shared.app import App
from shared.errors import BadRequestError, NotFoundError
from shared.flow.arrive import since_of_rules
from shared.ledger.entries import Entry, State
from shared.ledger.table import Only
from shared.ledger.watch import search_of
from shared.operate.calls import looked_at
from shared.operate.plan import waits_for
from shared.operate.views import View, view
from shared.rules.arrival import Arrival, Source
from shared.rules.decision import Decision, RetrainRequest, Settling
from shared.rules.match import match

EARLIER = 5  # requests for other versions of the blob that are told


Verdict = Literal["started", "waiting", "missed", "skipped"]


class ByRule(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule makes of the blob."""

    rule: str | None
    """None: it is no data to any rule."""
    verdict: Verdict
    """`missed`: it has no request, and will be found."""
    reason: str
    request: View | None = None
    """The row, where it has one."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one blob."""

    datastore: str
    path: str
    there: bool
    told: str = ""
    """What storage says, where it is not there."""
    size: int | None = None
    etag: str | None = None
    written: datetime | None = None
    rules: list[ByRule] = []
    earlier: list[View] = []
    """Requests for other versions of it, newest data first."""


def why(app: App, datastore: str, path: str) -> Story:
    """Return the story of a blob. Raises NotFoundError for a datastore that there is none of; StorageError."""
    if datastore not in app.settings.datastores:
        raise NotFoundError(f"There is no datastore {datastore!r}; known are: {', '.join(app.settings.datastores)}.")
    names = [rule.name for rule in app.settings.rules if rule.datastore == datastore]
    rows = [entry for name in names for entry in app.ledger.history(name, EARLIER, Only(path=path))]
    try:
        arrival = looked_at(app, path, datastore)
    except (BadRequestError, NotFoundError) as error:
        return Story(datastore=datastore, path=path, there=False, told=str(error), earlier=[view(one) for one in rows])
    source = Source.BLOB_SCAN if app.settings.scans else Source.BLOB_EVENT
    decisions = match(app.settings.rules, arrival, since_of_rules(app, source))
    told = [_by_rule(app, arrival, decision) for decision in decisions]
    current = {one.request.key for one in told if one.request}
    return Story(
        datastore=datastore,
        path=path,
        there=True,
        size=arrival.size,
        etag=arrival.etag,
        written=arrival.last_modified,
        rules=told,
        earlier=[view(entry) for entry in rows if entry.key not in current],
    )


def _by_rule(app: App, arrival: Arrival, decision: Decision) -> ByRule:
    if isinstance(decision, Settling):
        waits = waits_for(app, decision)
        if waits:
            return ByRule(rule=decision.rule, verdict="waiting", reason=f"Its folder {decision.folder!r}: {waits}")
        rows = app.ledger.history(decision.rule, 1, Only(path=decision.folder))
        if rows and rows[0].written_at >= arrival.last_modified.replace(microsecond=0):
            told = f"Its folder {decision.folder!r} has a request since: {_told(rows[0])}"
            return ByRule(rule=decision.rule, verdict="started", reason=told, request=view(rows[0]))
        return _missed(app, decision.rule, arrival)
    if not isinstance(decision, RetrainRequest):
        return ByRule(rule=decision.rule, verdict="skipped", reason=decision.reason)
    row = app.ledger.of(decision)
    if row is None:
        return _missed(app, decision.rule, arrival)
    ended_or_sent = row.entry.state not in (State.QUEUED, State.DEFERRED, State.HELD, State.UNCERTAIN)
    return ByRule(
        rule=decision.rule,
        verdict="started" if ended_or_sent else "waiting",
        reason=_told(row.entry),
        request=view(row.entry),
    )


def _told(entry: Entry) -> str:
    """Return how a request stands, in a sentence."""
    run = f", run {entry.run_id}" if entry.run_id else ""
    return f"{entry.key} is {entry.state}{run}{f': {entry.reason}' if entry.reason else ''}"


def _missed(app: App, rule: str, arrival: Arrival) -> ByRule:
    """Nobody told of it, or its delivery is still under way: the search finds it, and says when it looks next."""
    found = app.settings.find(rule)
    search = search_of(app.ledger, app.settings.place(found.datastore)) if found else None
    if search is None:
        when = "The search has not looked into the container yet: does the timer run?"
    elif search.fault:
        when = f"The search cannot list the container: {search.fault}"
    else:
        when = f"The search looked last at {search.begun_at:%H:%M:%S} UTC, and looks again at the tick after "
        when += f"{max(search.rests_until, search.begun_at):%H:%M:%S}."
    reason = f"The rule takes it, and it has no request: nobody told the app of this version ({arrival.etag}). {when}"
    return ByRule(rule=rule, verdict="missed", reason=reason)
