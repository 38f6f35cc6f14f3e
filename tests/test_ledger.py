"""The ledger over Azurite: claims, changes, reads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableClient

from shared.errors import ConflictError, StorageError
from shared.ledger import Claimed, Ledger, Row, State, Taken
from tests.samples import RULE, retrain_request

GRACE = timedelta(minutes=10)


def claimed(result: Claimed | Taken) -> Row:
    """Return the row of a claim that succeeded."""
    assert isinstance(result, Claimed)
    return result.row


def test_first_claim_makes_the_table_and_says_sending(ledger: Ledger) -> None:
    """Nobody has to set up anything, and the row announces the submission before it leaves."""
    request = retrain_request()
    row = claimed(ledger.claim(request, GRACE))
    assert row.entry.state == State.SENDING
    assert row.entry.retrain_request() == request
    assert ledger.get(request.key, [RULE.name]) == row


def test_second_claim_of_a_key_finds_the_first(ledger: Ledger) -> None:
    """A delivery that comes again gets the row, and claims nothing."""
    request = retrain_request()
    row = claimed(ledger.claim(request, GRACE))
    assert ledger.claim(request, GRACE) == Taken(row)


def test_claim_after_the_end_still_finds_the_row(ledger: Ledger) -> None:
    """An end deletes the open row only: the history row keeps later deliveries out."""
    request = retrain_request()
    ended = ledger.move(claimed(ledger.claim(request, GRACE)), State.REFUSED, reason="400 no")
    assert ended.open_etag is None
    assert ledger.claim(request, GRACE) == Taken(ended)


def test_of_many_workers_exactly_one_gets_the_claim(ledger: Ledger) -> None:
    """The insert decides, whoever is first."""
    request, start = retrain_request(), threading.Barrier(8)

    def claim(_: int) -> Claimed | Taken:
        start.wait()
        return ledger.claim(request, GRACE)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(claim, range(8)))
    assert sum(isinstance(result, Claimed) for result in results) == 1


def test_claim_whose_answer_was_lost_is_ours(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK repeats the transaction and meets its own rows; the claim's mark tells that they are ours."""
    ledger.table.create_table()
    submit = ledger.table.submit_transaction

    def twice(operations: list[object]) -> object:
        submit(operations)  # type: ignore[arg-type]
        return submit(operations)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.table, "submit_transaction", twice)
    assert claimed(ledger.claim(retrain_request(), GRACE)).entry.state == State.SENDING


def test_change_whose_answer_was_lost_is_ours(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated change finds what it wanted to write, and that is success."""
    row = claimed(ledger.claim(retrain_request(), GRACE))
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
    row = claimed(ledger.claim(retrain_request(), GRACE))
    ledger.move(row, State.SUBMITTED, run_id="theirs")
    with pytest.raises(ConflictError, match="another worker was first: it is submitted"):
        ledger.move(row, State.UNCERTAIN)
    got = ledger.get(row.entry.key, [RULE.name])
    assert got is not None
    assert got.entry.run_id == "theirs"


def test_change_of_a_row_that_came_to_its_end_is_a_conflict(ledger: Ledger) -> None:
    """An end is an end, although its open row is gone."""
    row = claimed(ledger.claim(retrain_request(), GRACE))
    ledger.move(row, State.REFUSED)
    with pytest.raises(ConflictError, match="it is refused"):
        ledger.move(row, State.SUBMITTED)


def test_history_is_newest_data_first_and_by_rule(ledger: Ledger) -> None:
    """Order is by the time the data was written, whatever the order of claims."""
    day = datetime(2026, 1, 1, tzinfo=UTC)
    for number in (2, 0, 1):
        ledger.claim(retrain_request(last_modified=day + timedelta(days=number), path=f"income/{number}.csv"), GRACE)
    ledger.claim(retrain_request("other"), GRACE)
    assert [entry.path for entry in ledger.history(RULE.name, 10)] == ["income/2.csv", "income/1.csv", "income/0.csv"]
    assert len(ledger.history(RULE.name, 2)) == 2


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


def test_since_is_when_the_first_process_started_and_stays(ledger: Ledger) -> None:
    """A later process, which has run for less time, reads the mark of the first."""
    first = ledger.since(RULE, uptime=timedelta(seconds=30))
    assert ledger.since(RULE, uptime=timedelta()) == first
    age = datetime.now(UTC) - first
    assert timedelta(seconds=29) < age < timedelta(seconds=60)


def test_since_of_a_rule_that_watches_something_else_now(ledger: Ledger) -> None:
    """A changed pattern may cover old data that nobody asked to train on: it counts from now."""
    first = ledger.since(RULE, uptime=timedelta(hours=1))
    changed = type(RULE)(
        name=RULE.name, datastore="training", path="all/**", pipeline="income", data_path=RULE.data_path
    )
    assert ledger.since(changed, uptime=timedelta()) > first


def test_storage_that_does_not_answer_is_a_storage_error(storage: str) -> None:
    """The error says which table and which step, and holds no key."""
    nowhere = storage.replace("TableEndpoint=http://127.0.0.1:", "TableEndpoint=http://127.0.0.1:1")
    ledger = Ledger(TableClient.from_connection_string(nowhere, "retrains", retry_total=0))
    with pytest.raises(StorageError, match="Ledger table 'retrains', read") as caught:
        ledger.get(retrain_request().key, [RULE.name])
    assert "AccountKey" not in str(caught.value)
