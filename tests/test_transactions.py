"""Transactions that are put together and read without the SDK's mail parser: the SDK and Azurite are the referees."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient, TableErrorCode, TableTransactionError, UpdateMode

from shared.storage.transactions import Table, accepted

ODD = {"Text": "ü ☃\r\nHTTP/1.1 500 x\r\nETag: y\r\n\r\n--batch", "Number": 1, "Long": 2**31 - 1, "Flag": True}
NOW = datetime(2026, 11, 25, tzinfo=UTC)
DIFFERS = re.compile(rb"(?:batch|changeset)_[0-9a-f-]{36}|(?:x-ms-date|Date): [^\r]+\r\n")
"""Boundaries, and the time, which the SDK says in each part once more."""


class Recorder(RequestsTransport):  # type: ignore[misc] # the package has no type for it
    """Keeps the bodies of transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = list[bytes]()

    def send(self, request: Any, **options: Any) -> Any:
        """Send one, and keep its body."""
        if request.url.endswith("$batch"):
            self.sent.append(request.content)
        return super().send(request, **options)


@pytest.fixture
def clients(storage: str) -> Iterator[list[tuple[TableClient, Recorder]]]:
    """The SDK's own client and ours, each with a table of its own name's length."""
    made = []
    for kind, name in ((TableClient, "transactionsA"), (Table, "transactionsB")):
        recorder = Recorder()
        client = kind.from_connection_string(storage, name, transport=recorder)
        client.create_table()
        made.append((client, recorder))
    yield made
    for client, _ in made:
        client.delete_table()
        client.close()


def operations(etag: str = "") -> list[Any]:
    """Return one of each kind that the ledger uses."""
    row = {"PartitionKey": "rule ä'1", "RowKey": "h|1"}
    if not etag:
        return [("create", {**row, **ODD, "At": NOW}), ("create", {**row, "RowKey": "o|1"})]
    unchanged = {"etag": etag, "match_condition": MatchConditions.IfNotModified, "mode": UpdateMode.MERGE}
    return [
        ("update", {**row, "Number": 2}, unchanged),
        ("upsert", {**row, "RowKey": "q|1"}, {"mode": UpdateMode.REPLACE}),
        ("delete", {**row, "RowKey": "o|1"}),
    ]


def test_it_is_what_the_sdk_sends(clients: list[tuple[TableClient, Recorder]]) -> None:
    """Byte for byte, but for boundaries and times; and the metadata that comes back is of the same form."""
    seen = []
    for client, recorder in clients:
        etags = client.submit_transaction(operations())
        changed = client.submit_transaction(operations(etags[0]["etag"]))
        rows = sorted(row["RowKey"] for row in client.list_entities())
        bodies = [DIFFERS.sub(b"", body).replace(client.table_name.encode(), b"") for body in recorder.sent]
        bodies = [re.sub(rb"(?<=datetime')[^']+", b"", body) for body in bodies]
        seen.append(([sorted(one) for one in (*etags, *changed)], rows, bodies))
    assert seen[0] == seen[1]
    assert seen[1][1] == ["h|1", "q|1"]


def test_text_that_looks_like_an_answer_comes_back(clients: list[tuple[TableClient, Recorder]]) -> None:
    """A row may hold what a part begins with."""
    for client, _ in clients:
        client.submit_transaction(operations())
        found = client.get_entity("rule ä'1", "h|1")
        assert {name: found[name] for name in ODD} == ODD


def test_refusals_are_the_sdks_own(clients: list[tuple[TableClient, Recorder]]) -> None:
    """Conflict, a condition that does not hold, what is not there, nothing at all: the same in each way."""
    seen = []
    for client, recorder in clients:
        etag = client.submit_transaction(operations())[0]["etag"]
        client.submit_transaction(operations(etag))
        gone = [("update", {"PartitionKey": "a", "RowKey": "b"}, {"mode": UpdateMode.MERGE})]
        told: list[Any] = []
        for refused in (operations(), operations(etag), gone, []):
            before = len(recorder.sent)
            try:
                told.append(client.submit_transaction(refused))
            except HttpResponseError as error:
                code = getattr(error, "error_code", None)
                told.append((type(error).__name__, error.status_code, code, len(recorder.sent) - before))
        seen.append(told)
    assert seen[0] == seen[1]
    assert seen[1][0][2] == TableErrorCode.ENTITY_ALREADY_EXISTS


def test_table_that_is_not_there(storage: str) -> None:
    """Its error says so: the very first transaction makes the table."""
    with (
        Table.from_connection_string(storage, "neverMade") as client,
        pytest.raises(TableTransactionError) as refused,
    ):
        client.submit_transaction(operations())
    assert getattr(refused.value, "error_code", None) == TableErrorCode.TABLE_NOT_FOUND


ANSWER = b"--batchresponse_1\r\nContent-Type: multipart/mixed\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b"", 1),
        (ANSWER, 1),
        (ANSWER + b"HTTP/1.1 204 No Content\r\nETag: a\r\n\r\n", 2),
        (ANSWER + b"HTTP/1.1 204 No Content\r\nETag: a\r\n\r\nHTTP/1.1 409 Conflict\r\n\r\n", 2),
        (ANSWER + b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 1),
    ],
)
def test_what_is_no_plain_success(answer: bytes, count: int) -> None:
    """Too few parts, too many, one that failed: not for us to read."""
    assert accepted(answer, count) is None


def test_plain_success() -> None:
    """The ETag of each part, in whatever case; none where there is none, and not that of the next part."""
    parts = b'HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n\r\nHTTP/1.1 201 Created\r\nETAG: W/"x\'y"\r\n\r\n{}'
    assert accepted(ANSWER + parts, 2) == [{}, {"etag": 'W/"x\'y"'}]
