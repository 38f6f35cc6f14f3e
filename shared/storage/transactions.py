"""A table client whose transactions cost half: their multipart body is put together, and a plain success read, by hand.

The SDK does both with Python's mail package, part by part in threads of their own, which was most of what an arrival
cost (docs/benchmarks.md). What is sent stays what the SDK sends (tests/test_transactions.py holds them together), and
what is not plainly a success is read by the SDK itself. Never decides what an error means, and sends nothing twice.
"""

import re
import uuid
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from azure.core.rest import HttpRequest
from azure.data.tables import TableClient

ACCEPTED = 202
PART = re.compile(rb"^HTTP/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)", re.MULTILINE)
ETAG = re.compile(rb"^etag: *([^\r\n]+)", re.MULTILINE | re.IGNORECASE)


class Table(TableClient):
    """The SDK's client, but for how `submit_transaction` writes and reads what goes over the wire."""

    def _batch_send(self, table_name: str, *requests: HttpRequest, **options: Any) -> list[Mapping[str, Any]]:
        """Send the operations of a transaction, which the SDK has prepared; return the metadata of each."""
        outer, inner = f"batch_{uuid.uuid4()}", f"changeset_{uuid.uuid4()}"
        headers = {
            "x-ms-version": self.api_version,
            "DataServiceVersion": "3.0",
            "MaxDataServiceVersion": "3.0;NetFx",
            "Content-Type": f"multipart/mixed; boundary={outer}",
            "Accept": "application/json",
        }
        url = f"{self.scheme}://{self._primary_hostname}/$batch"
        request = HttpRequest("POST", url, headers=headers, content=body(requests, outer, inner))
        response = self._client.send_request(request, stream=True, **options)
        if response.status_code == ACCEPTED and (found := accepted(response.read(), len(requests))) is not None:
            return found

        def answered(expected: HttpRequest, **_: object) -> Any:
            response.request.multipart_mixed_info = expected.multipart_mixed_info
            return response

        there = SimpleNamespace(
            scheme=self.scheme,
            _primary_hostname=self._primary_hostname,
            api_version=self.api_version,
            _client=SimpleNamespace(send_request=answered),
        )
        read: list[Mapping[str, Any]] = TableClient._batch_send(there, table_name, *requests)  # type: ignore[arg-type]
        return read


def body(requests: tuple[HttpRequest, ...], outer: str, inner: str) -> bytes:
    """Return the body: one changeset, in which each operation is a part."""
    lines = [f"--{outer}", f"Content-Type: multipart/mixed; boundary={inner}", ""]
    for number, request in enumerate(requests):
        content = request.content or ""
        lines += [f"--{inner}", "Content-Type: application/http", "Content-Transfer-Encoding: binary"]
        lines += [f"Content-ID: {number}", "", f"{request.method} {request.url} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += ["", content if isinstance(content, str) else content.decode()]
    return "\r\n".join([*lines, f"--{inner}--", "", f"--{outer}--", ""]).encode()


def accepted(answer: bytes, count: int) -> list[Mapping[str, Any]] | None:
    """Return the metadata of each part; None unless there are so many and each of them succeeded."""
    parts = PART.findall(answer)
    if len(parts) != count or any(not status.startswith(b"2") for status, _ in parts):
        return None
    etags = [ETAG.search(headers) for _, headers in parts]
    return [{"etag": etag[1].decode()} if etag else {} for etag in etags]
