"""Which endpoints take nothing at present, by the requests that wait for them. Never asks an endpoint."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from shared.ledger.entries import NEVER, State, Work


class Blocked(msgspec.Struct, kw_only=True):
    """An endpoint that takes nothing at present."""

    endpoint: str
    version: str
    cause: str
    """In its own words, or why it could not be asked."""
    since: datetime
    waiting: int
    """Requests that wait for it."""
    next_try: datetime | None


def blocked(works: Iterable[Work]) -> list[Blocked]:
    """Return the endpoints that take nothing, from the requests that wait for them."""
    found = dict[object, Blocked]()
    for work in works:
        if work.state != State.DEFERRED or work.deferred_since == NEVER or work.target is None:
            continue
        entry = found.setdefault(
            work.target.pin,
            Blocked(
                endpoint=work.target.place,
                version=work.target.version,
                cause=work.reason,
                since=work.deferred_since,
                waiting=0,
                next_try=work.due_at,
            ),
        )
        entry.waiting += 1
        entry.since = min(entry.since, work.deferred_since)
        if work.due_at and (entry.next_try is None or work.due_at > entry.next_try):
            entry.next_try, entry.cause = work.due_at, work.reason
    return list(found.values())
