"""The app with much of something: rows, rules, open runs, a queue, blobs. Each act is one turn.

Rows that a test of volume needs are written straight into the ledger. Never sends anything but
what is measured, and runs for the open rows to follow.
"""

import itertools
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.app import App, app
from shared.flow.arrive import arrive
from shared.flow.tick import tick
from shared.ledger.entries import State, entry_of, history_columns, open_columns
from shared.pipelines.base import Submitted
from shared.rules.arrival import Arrival, Source
from shared.rules.decision import RetrainRequest
from shared.rules.match import match
from shared.rules.rule import Settle

ROWS_AT_ONCE = 50  # a transaction holds a hundred
THREADS = 4
WRITTEN = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
numbers = itertools.count()
made = app()
made.prepare()


class Clock:
    """The real time, moved on."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


clock = Clock()
made.ledger.now = clock


class Lines(logging.Handler):
    """Counts the app's log lines."""

    count = 0

    def emit(self, _record: logging.LogRecord) -> None:
        """Count one."""
        self.count += 1


lines = Lines()
logging.getLogger("retrain").addHandler(lines)
logging.getLogger("retrain").setLevel(logging.INFO)


def act(what: str, *words: Any) -> Any:
    """Do one of the acts below."""
    return ACTS[what](*words)


def arrival(path: str) -> str:
    """Let a blob arrive; return the state that it came to."""
    outcomes = arrive(made, "training", path, Source.BLOB_EVENT)
    return ", ".join(str(one.entry.state) if one.entry else "no row" for one in outcomes)


def open_work() -> int:
    """Read the open work of all rules; return how much there is."""
    found = [made.ledger.open(name) for name in made.settings.rule_names()]
    return sum(len(one.active) + len(one.held) + len(one.queued) for one in found)


def history() -> int:
    """Read a page of the history; return how many entries are on it."""
    return len(made.history(100))


def one_tick(minutes: float = 0) -> int:
    """Let the timer tick, so many minutes later; return how many lines it logged."""
    clock.ahead += timedelta(minutes=minutes)
    before = lines.count
    tick(made)
    return lines.count - before


def hours(count: int) -> int:
    """Let the timer tick for so many hours."""
    return sum(one_tick(1) for _ in range(60 * count))


def rules(count: int) -> None:
    """Have so many rules, each about a folder of its own."""
    global made
    [first] = made.settings.rules[:1]
    many = [
        msgspec.structs.replace(first, name=f"rule-{number}", path=f"place-{number}/**/*.csv", examples=())
        for number in range(count)
    ]
    made = with_rules(made, *many)


def with_rules(old: App, *given: Any) -> App:
    """Return the app with other rules."""
    settings = msgspec.structs.replace(old.settings, rules=given)
    return App(settings, old.ledger, old.datastores, old.endpoints, old.memory)


def matched(times: int) -> int:
    """Match an arrival that only the last rule takes, so many times; return how many rules took it."""
    path = f"place-{len(made.settings.rules) - 1}/us/a.csv"
    found = []
    for _ in range(times):
        found = match(made.settings.rules, an_arrival(path), {})
    return sum(isinstance(one, RetrainRequest) for one in found)


def lines_of_a_skip(path: str) -> int:
    """Let a blob arrive that no rule takes; return how many lines that logged."""
    before = lines.count
    arrive(made, "training", path, Source.BLOB_EVENT)
    return lines.count - before


def an_arrival(path: str) -> Arrival:
    """Return an arrival of its own content."""
    return Arrival(
        datastore="training",
        path=path,
        etag=uuid.uuid4().hex,
        last_modified=WRITTEN + timedelta(seconds=next(numbers)),
        size=1,
        source=Source.BLOB_EVENT,
    )


def limited(max_active: int) -> None:
    """Let the rule have so many active runs."""
    global made
    made = with_rules(made, *(msgspec.structs.replace(rule, max_active=max_active) for rule in made.settings.rules))


def whole_folders(marker: str) -> None:
    """Let the rule take folders, complete with a marker."""
    global made
    [rule] = made.settings.rules
    data_path = msgspec.structs.replace(rule.data_path, grain="folder")
    changed = {"data_path": data_path, "settle": Settle(marker=marker), "examples": ()}
    made = with_rules(made, msgspec.structs.replace(rule, **changed))


def fill(state: str, count: int) -> int:
    """Have so many more open entries; those that were submitted have runs, which are of the pinned version."""
    target, now = made.settings.pipelines["income"].target, clock()
    requests = [a_request() for _ in range(count)]
    sent: list[dict[str, Any]] = [{}] * count
    if state == State.SUBMITTED:
        pinned = made.endpoint(target).pinned("1")

        def run_of(request: RetrainRequest) -> dict[str, Any]:
            answer = made.endpoint(target).submit(request, target)
            if not isinstance(answer, Submitted):
                raise RuntimeError(f"not submitted: {answer}")
            told = {"target": target, "version": "1", "tries": 1, "sent_at": now, "due_at": now}
            return {**told, "run_id": answer.run_id, "run_status": "NotStarted", "pipeline_id": pinned}

        with ThreadPoolExecutor(THREADS) as pool:
            sent = list(pool.map(run_of, requests))
    entries = [
        entry_of(request, State(state), uuid.uuid4().hex, now, **columns)
        for request, columns in zip(requests, sent, strict=True)
    ]
    for some in itertools.batched(entries, ROWS_AT_ONCE, strict=False):
        rows = [row for entry in some for row in (history_columns(entry, whole=True), open_columns(entry))]
        made.ledger.table.submit_transaction([("create", row) for row in rows])
    return count


def a_request() -> RetrainRequest:
    """Return a request of the first rule for content of its own."""
    [request] = match(made.settings.rules[:1], an_arrival(f"income/us/filled-{next(numbers)}.csv"), {})
    if not isinstance(request, RetrainRequest):
        raise RuntimeError(f"the shipped rule does not take it: {request}")
    return request


ACTS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        arrival,
        open_work,
        history,
        one_tick,
        hours,
        rules,
        matched,
        lines_of_a_skip,
        limited,
        whole_folders,
        fill,
    )
}
