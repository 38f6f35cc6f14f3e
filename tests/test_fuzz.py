"""`./retrain fuzz` with few requests; and each kind of request that was once answered with a 5xx."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.printable import Lines, in_one_line, printable
from tests.apps.running import Host, Place, eventually, running

ROOT = Path(__file__).parent.parent
ODD: list[Any] = [5, ["x"], {"a": 1}, "\ud800", None]
URLS: list[Any] = [*ODD, "", "x", "http://", "http://a/c/" + "a" * 50_000]
EVENTS: list[Any] = [1, "x", [1], [[]], [None], {"data": 1}, {"data": []}, {}]
HOOK = "/runtime/webhooks/blobs?functionName=Host.Functions.announced"


def test_fuzz() -> None:
    """No answer is a 5xx, and an upload afterwards becomes a run."""
    line = [sys.executable, "-m", "local", "fuzz", "--requests", "600", "--seed", "7", "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    told = json.loads(done.stdout)
    assert (told["bad"], told["upload_works"], done.returncode) == ([], True, 0)
    assert told["statuses"]["400"] > 0


@pytest.fixture(scope="module")
def host(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with a blob function that waits for events."""
    with running("events", Place(storage, tmp_path_factory.mktemp("host"))) as made:
        yield made


def event(**data: Any) -> dict[str, Any]:
    """Return an event with this data."""
    url = "http://127.0.0.1:10000/devstoreaccount1/c/a.csv"
    return {"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": url, "eTag": "0x1", **data}}


@pytest.mark.parametrize(
    "content",
    [
        *[json.dumps(event(url=url)) for url in URLS],
        *[json.dumps(event(eTag=etag)) for etag in (*ODD[:-1], "x" * 50_000)],
        *[json.dumps(event(blobType=kind)) for kind in ODD[:-1]],
        *[json.dumps(made) for made in EVENTS],
        *["", "{", "[" * 100_000, '{"data":' * 5000 + "1" + "}" * 5000, "\x00"],
    ],
)
def test_events_that_are_none(host: Host, content: str) -> None:
    """400 with words, whatever they are; nothing is stored of them."""
    answer = host.post(HOOK, headers={"aeg-event-type": "Notification"}, content=content.encode())
    assert (answer.status_code, answer.text.startswith("not a blob event")) == (400, True)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", ["", "x", "Host.Functions.", "Host.Functions.%ud800", "%00", "%ff", "a" * 5000])
def test_function_names_that_are_none(host: Host, name: str) -> None:
    """202, and the event is lost: as on the platform."""
    hook = f"/runtime/webhooks/blobs?functionName={name}"
    answer = host.post(hook, headers={"aeg-event-type": "Notification"}, json=[event()])
    assert answer.status_code == 202


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "1", '{"input": 5}', '{"input": "x"}', "\ud800"])
def test_admin_requests_that_are_none(host: Host, content: str) -> None:
    """A 4xx with words."""
    answer = host.post("/admin/functions/announced", content=content.encode("utf-8", "surrogatepass"))
    assert 400 <= answer.status_code < 500


HOSTILE = ["a\nFAKE", "a\u2028b", "a\u2029b", "a\x85b", "a\x9bb", "a\u202eb", "a\x1b[31mb", "a\ud800b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_in_a_line_of_the_log(text: str) -> None:
    """Nothing of it ends the line, hides it or turns its direction; what can be printed stays as it is."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s of %d, %s", (text, 5, ValueError(text)), None)
    assert in_one_line(record)
    assert record.getMessage().isprintable()
    assert record.getMessage().isascii()
    assert printable("income/ü 100%.csv") == "income/ü 100%.csv"
    kept = logging.LogRecord("x", logging.INFO, "", 0, "%s", (Lines("a\nb"),), None)
    assert in_one_line(kept)
    assert kept.getMessage() == "a\nb"


def test_hosts_log_has_one_line_for_a_hostile_address(host: Host) -> None:
    """A path is decoded by the server; the log shows it escaped."""
    host.get("/api/echo/a%0AFAKE%E2%80%A8line%C2%85%E2%80%AE")
    host.post(HOOK, headers={"aeg-event-type": "Notification"}, json=[event(url="http://a/b\nFAKE\u2028")])
    eventually(lambda: "webhook refused" in host.log)
    assert not [line for line in host.log.split("\n") if line.startswith("FAKE")]
    assert not {"\u2028", "\x85", "\u202e"} & set(host.log)
