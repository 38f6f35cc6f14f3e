"""The ledger over Azurite: claims, changes, reads."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from azure.data.tables import TableClient

from shared.errors import BadRequestError, ConflictError, StorageError
from shared.ledger import folders, learned, watch
from shared.ledger.entries import NEVER, PIECE, Row, State
from shared.ledger.folders import Completed
from shared.ledger.table import Entered, Ledger, Only, Taken
from shared.rules.arrival import LONGEST_PATH, Source
from shared.rules.decision import Settling
from tests.samples import RULE, arrival, retrain_request

GRACE = timedelta(minutes=10)


def claimed(result: Entered | Taken) -> Row:
    """Return the row of a claim that succeeded."""
    assert isinstance(result, Entered)
    return result.row


def test_first_claim_makes_the_table_and_says_sending(ledger: Ledger) -> None:
    """Nobody has to set up anything, and the row announces the submission before it leaves."""
    request = retrain_request()
    row = claimed(ledger.enter(request, State.SENDING))
    assert row.entry.state == State.SENDING
    assert row.entry.retrain_request() == request
    assert ledger.get(request.key, [RULE.name]) == row


def test_second_claim_of_a_key_finds_the_first(ledger: Ledger) -> None:
    """A delivery that comes again gets the row, and claims nothing."""
    request = retrain_request()
    row = claimed(ledger.enter(request, State.SENDING))
    assert ledger.enter(request, State.SENDING) == Taken(row.entry.key)


def test_claim_after_the_end_still_finds_the_row(ledger: Ledger) -> None:
    """An end deletes the open row only: the history row keeps later deliveries out."""
    request = retrain_request()
    ended = ledger.move(claimed(ledger.enter(request, State.SENDING)), State.REFUSED, reason="400 no")
    assert not ended.entry.is_open
    assert ledger.enter(request, State.SENDING) == Taken(ended.entry.key)


def test_of_many_workers_exactly_one_gets_the_claim(ledger: Ledger) -> None:
    """The insert decides, whoever is first."""
    request, start = retrain_request(), threading.Barrier(8)

    def claim(_: int) -> Entered | Taken:
        start.wait()
        return ledger.enter(request, State.SENDING)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(claim, range(8)))
    assert sum(isinstance(result, Entered) for result in results) == 1


def test_claim_whose_answer_was_lost_is_ours(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK repeats the transaction and meets its own rows; the claim's mark tells that they are ours."""
    ledger.table.create_table()
    submit = ledger.table.submit_transaction

    def twice(operations: list[object], sendings: list[object]) -> object:
        submit(operations, sendings=sendings)  # type: ignore[arg-type]
        return submit(operations, sendings=sendings)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.table, "submit_transaction", twice)
    assert claimed(ledger.enter(retrain_request(), State.SENDING)).entry.state == State.SENDING


def test_change_whose_answer_was_lost_is_ours(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated change finds what it wanted to write, and that is success."""
    row = claimed(ledger.enter(retrain_request(), State.SENDING))
    submit = ledger.table.submit_transaction

    def twice(operations: list[object]) -> object:
        submit(operations)  # type: ignore[arg-type]
        return submit(operations)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.table, "submit_transaction", twice)
    assert ledger.move(row, State.SUBMITTED, run_id="r").entry.run_id == "r"
    monkeypatch.undo()
    got = ledger.get(row.entry.key, [RULE.name])
    assert got is not None
    assert ledger.move(got, State.FINISHED).entry.state == State.FINISHED


def test_change_of_a_row_that_somebody_changed_first_is_a_conflict(ledger: Ledger) -> None:
    """The second worker is told what the row says now, and changes nothing."""
    row = claimed(ledger.enter(retrain_request(), State.SENDING))
    ledger.move(row, State.SUBMITTED, run_id="theirs")
    with pytest.raises(ConflictError, match="another worker was first: it is submitted"):
        ledger.move(row, State.UNCERTAIN)
    got = ledger.get(row.entry.key, [RULE.name])
    assert got is not None
    assert got.entry.run_id == "theirs"


def test_change_of_a_row_that_came_to_its_end_is_a_conflict(ledger: Ledger) -> None:
    """An end is an end, although its open row is gone."""
    row = claimed(ledger.enter(retrain_request(), State.SENDING))
    ledger.move(row, State.REFUSED)
    with pytest.raises(ConflictError, match="it is refused"):
        ledger.move(row, State.SUBMITTED)


def test_history_is_newest_data_first_and_by_rule(ledger: Ledger) -> None:
    """Order is by the time the data was written, whatever the order of claims."""
    day = datetime(2026, 1, 1, tzinfo=UTC)
    for number in (2, 0, 1):
        ledger.enter(
            retrain_request(last_modified=day + timedelta(days=number), path=f"income/{number}.csv"), State.QUEUED
        )
    ledger.enter(retrain_request("other"), State.QUEUED)
    assert [entry.path for entry in ledger.history(RULE.name, 10)] == ["income/2.csv", "income/1.csv", "income/0.csv"]
    assert len(ledger.history(RULE.name, 2)) == 2


@pytest.mark.parametrize("only", [lambda text: Only(path=text), lambda text: Only(prefix=text)], ids=["path", "prefix"])
@pytest.mark.parametrize("character", ["a", "\U0001f600"])
def test_history_of_a_path_of_any_length(ledger: Ledger, only: Callable[[str], Only], character: str) -> None:
    """The longest that a blob may have is found; what none can have is not asked for: storage refuses the filter."""
    longest = character * LONGEST_PATH
    requests = [retrain_request(), retrain_request()]
    for request, path in zip(requests, (longest, f"{longest[:-1]}b"), strict=True):
        ledger.enter(msgspec.structs.replace(request, arrival=arrival(path)), State.QUEUED)
    assert [one.key for one in ledger.history(RULE.name, 9, only(longest))] == [requests[0].key]
    for never in (character * (LONGEST_PATH + 1), character * 20_000, "\ud800", "a\n"):
        assert ledger.history(RULE.name, 9, only(never)) == []
    assert len(ledger.history(RULE.name, 9, Only(prefix=character * 9))) == 2


def test_reads_before_anything_was_written(ledger: Ledger) -> None:
    """No table, no rows, no error."""
    assert ledger.history(RULE.name, 10) == []
    assert ledger.get(retrain_request().key, [RULE.name]) is None
    ledger.table.create_table()


@pytest.mark.parametrize("key", ["", "nonsense", "20261301T000000Z-" + "0" * 32, "a/b?c#d"])
def test_keys_that_never_were(ledger: Ledger, key: str) -> None:
    """They are not found, whatever they look like."""
    ledger.table.create_table()
    assert ledger.get(key, [RULE.name]) is None


PLACE = "TrainingStorage/training-data"


def test_since_is_when_the_first_process_started_and_stays(ledger: Ledger) -> None:
    """A later process, which has run for less time, reads the mark of the first."""
    first = watch.watched_since(ledger, RULE, PLACE, timedelta(seconds=30))
    assert watch.watched_since(ledger, RULE, PLACE, timedelta()) == first
    age = datetime.now(UTC) - first
    assert timedelta(seconds=29) < age < timedelta(seconds=60)


@pytest.mark.parametrize("reached", [None, NEVER, datetime(2026, 11, 2, tzinfo=UTC)])
def test_since_of_a_pattern_that_changed(ledger: Ledger, reached: datetime | None) -> None:
    """It goes on from where the search with the old one had come, whatever pass is under way; never from before."""
    first = watch.watched_since(ledger, RULE, PLACE, timedelta(days=400_000 // 24))
    if reached:
        watch.save_search(ledger, PLACE, watch.Search(begun_at=first, looked_from=NEVER, reached=reached))
    changed = msgspec.structs.replace(RULE, path="all/**")
    assert watch.watched_since(ledger, changed, PLACE, timedelta()) == max(first, reached or NEVER)
    assert watch.watched_since(ledger, RULE, PLACE, timedelta()) == max(first, reached or NEVER)


def test_since_of_a_rule_that_watches_another_container(ledger: Ledger) -> None:
    """What is in that one was there before anybody asked for it."""
    first = watch.watched_since(ledger, RULE, PLACE, timedelta(days=1))
    watch.save_search(ledger, PLACE, watch.Search(begun_at=first, reached=first))
    assert watch.watched_since(ledger, RULE, "Other/container", timedelta()) > first + timedelta(hours=23)


def test_since_that_layout_1_kept(ledger: Ledger) -> None:
    """The mark of the version before counts."""
    ledger.table.create_table()
    origin = hashlib.sha256(f"{RULE.datastore}\n{RULE.path}".encode()).hexdigest()[:12]
    mark = {"PartitionKey": RULE.name, "RowKey": f"since|{origin}", "Path": RULE.path, "Uptime": 86_400.0}
    ledger.table.create_entity(mark)
    assert watch.watched_since(ledger, RULE, PLACE, timedelta()) < datetime.now(UTC) - timedelta(hours=23)


# What is too large


@pytest.mark.parametrize("character", ["x", "ü", "🙂", '"'])
def test_request_of_many_pieces(ledger: Ledger, character: str) -> None:
    """It is kept whole, also where a character of two units lies on the border of a piece."""
    text = "y" + character * (PIECE * 2 + 1)
    request = msgspec.structs.replace(retrain_request(), parameters={"note": text})
    row = claimed(ledger.enter(request, State.QUEUED))
    read = ledger.get(request.key, [RULE.name])
    assert read == row
    assert read.entry.retrain_request() == request
    moved = ledger.move(read, State.CLOSED, reason="r" * 100_000)
    assert moved.entry.retrain_request() == request
    assert len(moved.entry.reason) == 4000
    assert ledger.history(RULE.name, 1) == [moved.entry]


def test_request_that_no_row_can_hold(ledger: Ledger) -> None:
    """It is refused before anything is written."""
    ledger.table.create_table()
    request = msgspec.structs.replace(retrain_request(), parameters={"note": "x" * 500_000})
    with pytest.raises(BadRequestError, match="Shorten its parameters"):
        ledger.enter(request, State.QUEUED)
    assert ledger.get(request.key, [RULE.name]) is None


# The gate


def test_of_two_at_one_gate_one_is_let_in(ledger: Ledger) -> None:
    """The other one is told, and has no row."""
    gate = ledger.gate(RULE.name, "2026-11-01")
    first = ledger.enter(retrain_request(), State.SENDING, gate)
    assert isinstance(first, Entered)
    assert first.gate is not None
    assert first.gate.begun == 1
    second = retrain_request()
    with pytest.raises(ConflictError, match="let in"):
        ledger.enter(second, State.SENDING, gate)
    assert ledger.get(second.key, [RULE.name]) is None
    assert isinstance(ledger.enter(second, State.SENDING, first.gate), Entered)
    assert ledger.gate(RULE.name, "2026-11-01").begun == 2
    assert ledger.gate(RULE.name, "2026-11-02").begun == 0


def test_waiting_entry_is_admitted_once(ledger: Ledger) -> None:
    """With a gate that somebody else has passed meanwhile nothing changes."""
    rows = [claimed(ledger.enter(retrain_request(), State.QUEUED)) for _ in range(2)]
    gate = ledger.gate(RULE.name, "2026-11-01")
    ledger.admit(rows[0], gate, State.SENDING)
    with pytest.raises(ConflictError):
        ledger.admit(rows[1], gate, State.SENDING)
    work = ledger.open(RULE.name)
    assert ([one.key for one in work.active], [one.key for one in work.queued]) == (
        [rows[0].entry.key],
        [rows[1].entry.key],
    )


# Folders


def settling(etag: str = "e") -> Settling:
    """Return the decision to wait for a folder."""
    file = arrival("income/us/a.csv", etag=etag, source=Source.BLOB_EVENT)
    return Settling(rule=RULE.name, datastore="training", folder="income/us", arrival=file)


def test_folder_gathers_until_it_is_forgotten(ledger: Ledger) -> None:
    """Begun once, touched by each file; then what completed it is kept."""
    ledger.table.create_table()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    assert not folders.touch(ledger, settling(), at)
    assert folders.begin(ledger, settling(), at)
    assert not folders.begin(ledger, settling(), at + timedelta(hours=1))
    assert folders.touch(ledger, settling(), at + timedelta(hours=2))
    [folder] = folders.gathering(ledger, RULE.name)
    assert (folder.first_at, folder.last_at, folder.source) == (at, at + timedelta(hours=2), "blob_event")
    done = Completed(content="digest", marker="m", covers=at)
    assert folders.forget(ledger, folder, done)
    assert folders.gathering(ledger, RULE.name) == []
    assert folders.completed(ledger, RULE.name, "training", "income/us") == done
    assert folders.is_gathering(ledger, RULE.name, "training", "income/us") is None


def test_file_that_comes_before_the_folder_is_forgotten(ledger: Ledger) -> None:
    """It goes on gathering, and is waited for anew; what completed it is kept all the same."""
    ledger.table.create_table()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    folders.begin(ledger, settling(), at)
    [folder] = folders.gathering(ledger, RULE.name)
    folders.touch(ledger, settling(), at + timedelta(minutes=1))
    folders.look_again(ledger, folder, at + timedelta(days=1), "this comes too late")
    assert not folders.forget(ledger, folder, Completed(content="digest"))
    [on] = folders.gathering(ledger, RULE.name)
    assert on.first_at > at
    assert (on.due_at, on.missing) == (at + timedelta(minutes=1), "")
    assert folders.completed(ledger, RULE.name, "training", "income/us").content == "digest"


# What was learned


def test_endpoint_that_could_not_be_read(ledger: Ledger) -> None:
    """Since the first time; forgotten when it can be read again."""
    ledger.table.create_table()
    first, later = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)
    assert learned.unreadable_since(ledger, "place", first) == first
    assert learned.unreadable_since(ledger, "place", later) == first
    learned.readable(ledger, "place")
    learned.readable(ledger, "place")
    assert learned.unreadable_since(ledger, "place", later) == later


def test_storage_that_does_not_answer_is_a_storage_error(storage: str) -> None:
    """The error says which table and which step, and holds no key."""
    nowhere = storage.replace("TableEndpoint=http://127.0.0.1:", "TableEndpoint=http://127.0.0.1:1")
    ledger = Ledger(TableClient.from_connection_string(nowhere, "retrains", retry_total=0))
    with pytest.raises(StorageError, match="Ledger table 'retrains', read") as caught:
        ledger.get(retrain_request().key, [RULE.name])
    assert "AccountKey" not in str(caught.value)
