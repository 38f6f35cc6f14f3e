"""The ledger against a plain dictionary: any order of claims, changes, races and reads, and rows that others wrote."""

import itertools
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import msgspec
import pytest
from azure.data.tables import UpdateMode
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.errors import ConflictError, RowError
from shared.ledger.entries import OPEN, PLACES, Entry, Row, State
from shared.ledger.table import Entered, Ledger, Taken
from shared.rules.decision import RetrainRequest, again
from shared.storage.accounts import table_client
from tests.samples import RULE, retrain_request

GRACE = timedelta(minutes=10)
START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
RULES = ("one", "two")
ENTERED = (State.QUEUED, State.SENDING, State.SKIPPED, State.HELD)
# The arrows of the drawing in shared/ledger/entries.py.
NEXT = {
    State.QUEUED: (State.SENDING, State.HELD, State.SUPERSEDED, State.SKIPPED, State.REFUSED, State.CLOSED),
    State.SENDING: (State.SUBMITTED, State.REFUSED, State.DEFERRED, State.UNCERTAIN, State.HELD, State.CLOSED),
    State.DEFERRED: (State.SENDING, State.HELD, State.REFUSED, State.DEFERRED, State.CLOSED),
    State.UNCERTAIN: (State.SUBMITTED, State.SENDING, State.HELD, State.CLOSED),
    State.SUBMITTED: (State.RUNNING, State.FINISHED, State.FAILED, State.CANCELED, State.MISPINNED, State.LOST_SIGHT),
    State.RUNNING: (State.RUNNING, State.FINISHED, State.FAILED, State.CANCELED, State.LOST_SIGHT, State.CLOSED),
    State.HELD: (State.QUEUED, State.SUBMITTED, State.CLOSED),
}


class LedgerMachine(RuleBasedStateMachine):
    """Everything a worker may do with the ledger, and what a dictionary says it comes to."""

    held = Bundle("held")
    """Rows as some worker has read them: the newest of their key, or stale."""

    def __init__(self, make: Callable[[Callable[[], datetime]], Ledger]) -> None:
        super().__init__()
        self.now, self.number = START, itertools.count()
        self.ledger = make(lambda: self.now)
        self.rows = dict[str, Row]()
        """The newest row of each key."""

    @initialize(target=held)
    def begin(self) -> Row:
        """The first claim makes the table."""
        return self.claim("one", START)

    @rule(minutes=st.integers(1, 40))
    def time_passes(self, minutes: int) -> None:
        """The clock goes on."""
        self.now += timedelta(minutes=minutes)

    @rule(target=held, name=st.sampled_from(RULES), age=st.integers(-2, 2), state=st.sampled_from(ENTERED))
    def claimed(self, name: str, age: int, state: State) -> Row:
        """A new arrival is entered, in any state that it may begin with; it may be older than others."""
        return self.claim(name, START + timedelta(days=age), state)

    @rule(target=held, row=held)
    def claimed_again(self, row: Row) -> Row:
        """The key is taken, and whoever comes is told what became of it."""
        newest = self.rows[row.entry.key]
        assert self.ledger.enter(row.entry.retrain_request(), State.SENDING) == Taken(newest.entry.key)
        return newest

    @rule(target=held, name=st.sampled_from(RULES))
    def claimed_by_two_at_once(self, name: str) -> Row:
        """One of them gets it."""
        request = retrain_request(name)
        results = self.at_once(lambda _: self.ledger.enter(request, State.SENDING))
        [row] = [result.row for result in results if isinstance(result, Entered)]
        assert Taken(row.entry.key) in results
        return self.kept(row)

    @rule(target=held, row=held, data=st.data())
    def moved(self, row: Row, data: st.DataObject) -> Row:
        """Whoever holds the newest row of open work changes it; a stale one changes nothing."""
        key, newest = row.entry.key, self.rows[row.entry.key]
        if not row.entry.is_open:
            return newest
        state = data.draw(st.sampled_from(NEXT[row.entry.state]))
        changes = self.changes(data.draw(st.sampled_from((None, 0, 5, 30))))
        if row != newest:
            with pytest.raises(ConflictError, match=f"{key} was to become {state}"):
                self.ledger.move(row, state, **changes)
            return newest
        moved = self.ledger.move(row, state, **changes)
        wanted = msgspec.structs.replace(
            row.entry, state=state, changed_at=self.now, change=moved.entry.change, **changes
        )
        assert moved.entry == wanted
        return self.kept(moved)

    @rule(target=held, row=held)
    def moved_by_two_at_once(self, row: Row) -> Row:
        """Of two who read the same row, one changes it; the other is told."""
        newest = self.rows[row.entry.key]
        if not newest.entry.is_open:
            return newest
        state = NEXT[newest.entry.state][0]
        wishes = [self.changes(5), self.changes(5)]

        def move(number: int) -> Row | None:
            try:
                return self.ledger.move(newest, state, **wishes[number])
            except ConflictError:
                return None

        [moved] = [result for result in self.at_once(move) if result]
        return self.kept(moved)

    @rule(name=st.sampled_from(RULES), times=st.integers(1, 2))
    def buried(self, name: str, times: int) -> None:
        """What never got a row is dead; buried again it stays as it is."""
        request = again(retrain_request(name), 0)
        self.ledger.bury(request, "the first reason")
        for _ in range(times - 1):
            self.ledger.bury(request, "another reason")
        row = self.ledger.get(request.key, [name])
        assert row is not None
        assert (row.entry.state, row.entry.reason) == (State.DEAD, "the first reason")
        self.kept(row)

    @rule(target=held, row=held)
    def noted_as_redriven(self, row: Row) -> Row:
        """The note is in the row; who read it before has a stale one."""
        newest, successor = self.rows[row.entry.key], again(row.entry.retrain_request(), 2).key
        self.ledger.note_redriven(row.entry, successor)
        noted = self.ledger.get(row.entry.key, RULES)
        assert noted is not None
        assert noted.entry == msgspec.structs.replace(newest.entry, redriven=successor)
        return self.kept(noted)

    @rule(row=held, limit=st.integers(1, 5), age=st.integers(-3, 3))
    def read(self, row: Row, limit: int, age: int) -> None:
        """Reads tell what was written: one row, open and due work, history, keys."""
        assert self.ledger.get(row.entry.key, RULES) == self.rows[row.entry.key]
        since = START + timedelta(days=age)
        for name in RULES:
            entries = [kept.entry for kept in self.rows.values() if kept.entry.rule == name]
            work = self.ledger.open(name)
            placed = {"o": work.active, "p": work.held, "q": work.queued}
            for place, found in placed.items():
                wanted = {entry.key for entry in entries if PLACES.get(entry.state) == place}
                assert [one.key for one in found] == sorted(wanted)
            for one in [*work.active, *work.held, *work.queued]:
                entry = self.rows[one.key].entry
                assert (one.state, one.due_at, one.tries) == (entry.state, entry.due_at, entry.tries)
            assert [one.key for one in self.ledger.queue(name, limit)] == [one.key for one in work.queued][:limit]
            assert [one.key for one in self.ledger.open(name, queued=1).queued] == [one.key for one in work.queued][:1]
            history = self.ledger.history(name, limit)
            newest = sorted((written(entry) for entry in entries), reverse=True)[:limit]
            assert [written(entry) for entry in history] == newest
            assert all(entry == self.rows[entry.key].entry for entry in history)
            known = {one.key: one.path for one in self.ledger.known(name, since)}
            assert known == {entry.key: entry.path for entry in entries if written(entry) >= since}
            for state in (State.HELD, State.REFUSED):
                in_state = {entry.key for entry in entries if entry.state == state}
                assert {entry.key for entry in self.ledger.in_state(name, state)} == in_state

    @invariant()
    def ended_work_is_not_open(self) -> None:
        """An entry is open as long as it is in an open state."""
        assert all(row.entry.is_open == (row.entry.state in OPEN) for row in self.rows.values())

    def claim(self, name: str, last_modified: datetime, state: State = State.SENDING) -> Row:
        """Enter a new arrival."""
        request = retrain_request(name, last_modified=last_modified)
        result = self.ledger.enter(request, state, due_at=self.now + GRACE)
        assert isinstance(result, Entered)
        assert result.row.entry.retrain_request() == request
        return self.kept(result.row)

    def kept(self, row: Row) -> Row:
        """Note the newest row of a key."""
        self.rows[row.entry.key] = row
        return row

    def changes(self, minutes: int | None) -> dict[str, Any]:
        """Return changes that nobody else makes; due so long from now on."""
        due = {} if minutes is None else {"due_at": self.now + timedelta(minutes=minutes)}
        return {"reason": f"change {next(self.number)}", **due}

    @staticmethod
    def at_once[T](act: Callable[[int], T]) -> list[T]:
        """Have two workers do something at the same moment."""
        start = Barrier(2)

        def worker(number: int) -> T:
            start.wait()
            return act(number)

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(worker, range(2)))


def written(entry: Entry) -> datetime:
    """Return when the data was written, as the key tells it."""
    return datetime.strptime(entry.key[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_any_order_of_claims_changes_and_reads(storage: str) -> None:
    """The ledger does what a dictionary does, and tells every worker whose row is stale."""
    ledgers = list[Ledger]()

    def make(now: Callable[[], datetime]) -> Ledger:
        ledgers.append(Ledger(table_client("S", f"t{uuid.uuid4().hex}", {"S": storage}), now))
        return ledgers[-1]

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        lambda: LedgerMachine(make),  # type: ignore[arg-type] # a class or what makes one, says its documentation
        settings=settings(
            max_examples=20, stateful_step_count=25, derandomize=True, deadline=None, suppress_health_check=checks
        ),
    )
    for ledger in ledgers:
        ledger.table.close()


# Rows that another version of the app wrote, or that were damaged.


def replace(ledger: Ledger, request: RetrainRequest, **columns: Any) -> None:
    """Write a history row anew with other columns; None takes one away."""
    row = next(iter(ledger.table.query_entities(f"Key eq '{request.key}'")))
    entity = {name: value for name, value in {**row, **columns}.items() if value is not None}
    ledger.table.update_entity(entity, mode=UpdateMode.REPLACE)


DAMAGES: dict[str, dict[str, Any]] = {
    "a state of a newer version": {"State": "paused", "Layout": 3},
    "a newer layout without a column": {"Change": None, "Layout": 3},
    "a state that nobody knows": {"State": "paused"},
    "a missing column": {"Change": None},
    "a column of another type": {"Tries": "many"},
    "a request cut short": {"Request": '{"key": "2026'},
    "a request that is no JSON": {"Request": "\x00"},
    "a request without a key": {"Request": "{}"},
    "no request": {"Request": None},
}


@pytest.fixture
def damaged(request: pytest.FixtureRequest, ledger: Ledger) -> RetrainRequest:
    """A claimed request whose history row is damaged, between two that are sound."""
    requests = [retrain_request(path=f"income/{number}.csv") for number in range(3)]
    for made in requests:
        ledger.enter(made, State.SENDING)
    replace(ledger, requests[1], **DAMAGES[request.param])
    return requests[1]


@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
def test_row_that_cannot_be_read_says_why(ledger: Ledger, damaged: RetrainRequest) -> None:
    """The error names the row and what is wrong with it, and is nobody's crash."""
    with pytest.raises(RowError, match=rf"{damaged.key}.* of rule '{RULE.name}' cannot be read"):
        ledger.get(damaged.key, [RULE.name])
    assert ledger.enter(damaged, State.SENDING) == Taken(damaged.key)  # it is taken, whatever the row says


@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
def test_row_that_cannot_be_read_is_in_nobodys_way(
    ledger: Ledger, damaged: RetrainRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are listed, the log names this one, its key stays taken, and nothing of it is lost."""
    before = next(iter(ledger.table.query_entities(f"RowKey eq 'o|{damaged.key}'")))
    with caplog.at_level(logging.ERROR, "retrain"):
        assert [entry.path for entry in ledger.history(RULE.name, 10)].count(damaged.arrival.path) == 0
    assert len(ledger.history(RULE.name, 10)) == 2
    assert damaged.key in caplog.text
    assert len(ledger.open(RULE.name).active) == 3
    assert damaged.key in {one.key for one in ledger.known(RULE.name, damaged.arrival.last_modified)}
    assert next(iter(ledger.table.query_entities(f"RowKey eq 'o|{damaged.key}'"))) == before


def test_open_row_of_a_newer_version_is_in_nobodys_way(ledger: Ledger) -> None:
    """Its state is not known here; the other open work still is done."""
    requests = [retrain_request(path=f"income/{number}.csv") for number in range(2)]
    for request in requests:
        ledger.enter(request, State.SENDING)
    entity = {"PartitionKey": RULE.name, "RowKey": f"o|{requests[0].key}", "State": "paused", "Layout": 3}
    ledger.table.update_entity(entity, mode=UpdateMode.MERGE)
    assert [one.key for one in ledger.open(RULE.name).active] == [requests[1].key]


def test_columns_of_a_newer_version_are_kept(ledger: Ledger) -> None:
    """A row with columns that are not known here is read and changed, and keeps them."""
    request = retrain_request()
    ledger.enter(request, State.SENDING)
    replace(ledger, request, Invented="later", Layout=3)
    row = ledger.get(request.key, [RULE.name])
    assert row is not None
    ledger.move(row, State.SUBMITTED, run_id="r")
    entity = next(iter(ledger.table.query_entities(f"Key eq '{request.key}'")))
    assert (entity["Invented"], entity["Layout"], entity["RunId"]) == ("later", 3, "r")


def test_row_of_an_older_version(ledger: Ledger) -> None:
    """Columns that came later have their defaults."""
    request = retrain_request()
    ledger.enter(request, State.SENDING)
    newer = ("DueAt", "RunStatus", "PipelineId", "Redriven", "Layout", "Reason", "RunUrl", "Target", "UnreadSince")
    replace(ledger, request, **dict.fromkeys(newer, None))
    row = ledger.get(request.key, [RULE.name])
    assert row is not None
    assert (row.entry.due_at, row.entry.redriven) == (None, "")
    assert ledger.move(row, State.SUBMITTED, run_id="r").entry.run_id == "r"
