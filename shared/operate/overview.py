"""What the status page shows: the state of the app, what was started last, and how the last days went.

Reads the ledger, with a bound on each read. Never decides anything, and knows nothing of pages.
"""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from shared.app import App
from shared.ledger.entries import OPEN, State
from shared.ledger.table import Only
from shared.operate import status
from shared.operate.redrive import REDRIVEN
from shared.operate.views import View, view

SHOWN = 50  # requests, one by one
COUNTED, OF_EACH = 1000, 50  # requests that the picture is made of: of all rules, and of each at least
DAYS = 14

Group = Literal["good", "bad", "open", "other"]
BAD = frozenset(
    {State.FAILED, State.REFUSED, State.DEAD, State.LOST_SIGHT, State.MISPINNED, State.UNCERTAIN, State.HELD}
)


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests were for data that was written on a day, by how they stand."""

    day: date
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All that is shown."""

    at: datetime
    status: status.Status
    recent: list[View]
    days: list[Day]
    """The last ones, oldest first, empty ones among them."""
    states: dict[str, int]
    """Of all that was started in these days, and of what is open from before."""
    is_whole: bool
    """All of these days was counted, not only the newest."""


def group_of(state: State) -> Group:
    """Return how a request stands, in four words."""
    if state == State.FINISHED:
        return "good"
    if state in BAD:
        return "bad"
    return "open" if state in OPEN else "other"


def may_be_redriven(state: State) -> bool:
    """Tell whether acting again on a request is offered."""
    return state in REDRIVEN


def may_be_closed(state: State) -> bool:
    """Tell whether ending a request without acting is offered: it is open, and nobody has a run to cancel instead."""
    return state in OPEN and state not in (State.SENDING, State.SUBMITTED, State.RUNNING)


def overview(app: App) -> Overview:
    """Return what is to be shown. Raises StorageError."""
    told, now = status.status(app), app.ledger.now()
    today = now.date()
    first = today - timedelta(days=DAYS - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=now.tzinfo)
    names, only = app.rule_names(), Only(written_since=since)
    of_each = max(COUNTED // max(len(names), 1), OF_EACH)
    by_rule = [app.ledger.history(name, of_each, only) for name in names]
    entries = [entry for found in by_rule for entry in found]
    recent = app.history(SHOWN)
    by_day = Counter((entry.written_at.date(), str(group_of(entry.state))) for entry in entries)
    days = [first + timedelta(days=number) for number in range(DAYS)]
    groups: tuple[Group, ...] = ("good", "bad", "open", "other")
    still_open = Counter[str]()
    for states in told.states.values():
        still_open.update(states)
    ended = Counter(str(entry.state) for entry in entries if not entry.is_open)
    return Overview(
        at=now,
        status=told,
        recent=[view(entry) for entry in recent],
        days=[
            Day(day=day, counts={group: by_day[day, group] for group in groups if by_day[day, group]}) for day in days
        ],
        states=dict(still_open + ended),
        is_whole=all(len(found) < of_each for found in by_rule),
    )
