"""Storage events by way of the queue: what the two functions make of a message, and the app as a whole on a host."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import requests
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from functions.events import POISON, QUEUE
from local.events import Blob, EventGrid, Schema, Subscription
from local.stack import EVENTS_QUEUE, Ports, Stack, make_queue
from shared.app import App
from shared.errors import StorageError
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.operate.status import status
from shared.rules.arrival import Source
from shared.storage.datastores import Datastore
from tests import queued
from tests.fixtures_workspace import LocalWorkspace
from tests.waiting import until

PATH = "income/us/ü #1%.csv"


def runs(workspace: LocalWorkspace) -> list[str]:
    """Return the data paths of all runs."""
    found = workspace.control("GET", "runs")
    return [run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] for run in found]


# What the functions make of a message


FORMS: dict[str, Callable[[str], bytes]] = {
    "Event Grid": lambda url: queued.encoded(queued.grid(url)),
    "CloudEvents": lambda url: queued.encoded(queued.cloud(url)),
    "an array": lambda url: queued.encoded([queued.grid(url)]),
    "plain JSON": lambda url: json.dumps(queued.grid(url)).encode(),
}


@pytest.mark.usefixtures("empty_container")
@pytest.mark.parametrize("form", FORMS)
def test_message_becomes_one_run(app: App, workspace: LocalWorkspace, form: str) -> None:
    """In each form; delivered twice, and once more as poison, it is still one."""
    workspace.upload(PATH, "a\n1\n")
    body = FORMS[form](queued.url_of(app, PATH))
    for deliver in (queued.take, queued.take, queued.bury):
        deliver(app, body)
    [entry] = app.ledger.history("income-files", 10)
    assert (entry.state, entry.source) == (State.SUBMITTED, Source.BLOB_EVENT)
    assert runs(workspace) == [PATH]


@pytest.mark.usefixtures("empty_container")
@pytest.mark.parametrize("deliver", [queued.take, queued.bury])
@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (lambda app: queued.grid(queued.url_of(app, "scratch/a.txt")), "does not match"),
        (lambda app: queued.grid(queued.url_of(app, "income/us/gone.csv")), "no blob"),
        (lambda _: queued.cloud("https://a.blob.core.windows.net/elsewhere/a.csv"), "no datastore of retrain.toml is"),
        (lambda _: {**queued.grid("https://a.blob.core.windows.net/"), "eventTime": 3}, "is no address of a blob"),
        (lambda _: {**queued.grid("x"), "eventType": "Microsoft.Storage.BlobDeleted"}, "tells of no new data"),
        (lambda app: _created_empty(queued.grid(queued.url_of(app, PATH))), "its data is still to come"),
    ],
    ids=["no rule", "no blob", "no datastore", "damaged", "another event", "too early"],
)
def test_event_of_nothing_to_start_is_a_skip(
    app: App, workspace: LocalWorkspace, deliver: Callable[[App, bytes], None], event: Callable[[App], Any], reason: str
) -> None:
    """It is told of in the status, and does not come again."""
    workspace.upload("scratch/a.txt", "x")
    deliver(app, queued.encoded(event(app)))
    assert reason in status(app).skips.last[0].reason
    assert runs(workspace) == []


def _created_empty(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "data": {**event["data"], "api": "CreateFile"}}


@pytest.mark.parametrize(("deliver", "queue"), [(queued.take, QUEUE), (queued.bury, POISON)])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[]",
        b"3",
        b'{"datastore": "training", "path": "income/us/a.csv"}',
        b'{"eventType": "x", "eventType": "y", "data": {}}',
        b'{"eventType": "\\ud800", "data": {}}',
        b"[" * 100_000,
        b"QUFBQQ==",
    ],
    ids=lambda body: str(body[:20]),
)
def test_message_that_is_no_event(
    app: App, caplog: pytest.LogCaptureFixture, deliver: Callable[[App, bytes], None], queue: str, body: bytes
) -> None:
    """It is logged with its queue, its id, the reason and the cure, stands among the skips, and does not come again."""
    deliver(app, body)
    [record] = [one for one in caplog.records if one.message.startswith("event_unreadable")]
    assert record.levelno == logging.ERROR
    assert f"queue={queue} message=m1 reason=" in record.message
    assert "cure=" in record.message
    [skip] = status(app).skips.last
    assert (skip.path, "is no storage event" in skip.reason) == ("m1", True)


@pytest.mark.parametrize("schema", [queued.grid, queued.cloud])
def test_storage_that_is_down_fails_the_delivery(
    app: App, monkeypatch: pytest.MonkeyPatch, schema: Callable[[str, str], Any]
) -> None:
    """So that the platform comes again; as poison it is a `dead` row of the version that was told of, one for all."""
    body = queued.encoded(schema(queued.url_of(app, PATH), '"0x8D1"'))

    def fails(*_: object) -> Any:
        raise StorageError("Properties: 503 ServerBusy", 503)

    monkeypatch.setattr(Datastore, "look", fails)
    with pytest.raises(StorageError):
        queued.take(app, body)
    assert app.ledger.history("income-files", 10) == []
    queued.bury(app, body)
    queued.bury(app, body)
    [entry] = app.ledger.history("income-files", 10)
    assert entry.key.startswith("20261125T160453Z-")
    assert (entry.state, entry.path, entry.retrain_request().arrival.etag) == (State.DEAD, PATH, "0x8D1")
    assert "503 ServerBusy" in entry.reason
    monkeypatch.setattr(app.ledger, "bury", fails)
    with pytest.raises(StorageError):
        queued.bury(app, body)  # the message is all that is left of the arrival


@pytest.mark.usefixtures("empty_container")
def test_one_of_several_events_fails(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others have their runs, and the message comes again."""
    workspace.upload(PATH, "a\n1\n")
    look = Datastore.look

    def fails(datastore: Datastore, path: str, source: Source) -> Any:
        if path == "income/us/bad.csv":
            raise StorageError("Properties: 503 ServerBusy", 503)
        return look(datastore, path, source)

    monkeypatch.setattr(Datastore, "look", fails)
    urls = [queued.url_of(app, path) for path in ("income/us/bad.csv", PATH)]
    with pytest.raises(StorageError):
        queued.take(app, queued.encoded([queued.grid(url) for url in urls]))
    assert runs(workspace) == [PATH]


# What Event Grid gives up


@pytest.mark.usefixtures("empty_container")
@pytest.mark.parametrize("way", ["queue", "webhook"])
def test_event_that_was_dead_lettered(
    app: App, workspace: LocalWorkspace, storage: str, way: Literal["queue", "webhook"]
) -> None:
    """The app does not read the container: the search starts what has no row, once, whoever sends the letter again."""
    app.prepare()
    name = f"d{app.ledger.table.table_name}"
    with (
        QueueClient.from_connection_string(storage, name) as queue,
        ContainerClient.from_connection_string(storage, name) as letters,
        _refusing() as refusing,
    ):
        queue.create_queue()
        letters.create_container()
        target: dict[str, Any] = {"queue": name} if way == "queue" else {"to": [refusing]}
        subscription = Subscription(**target, dead_letter=name, most_attempts=1)
        with EventGrid(storage, [subscription]) as grid:
            queue.delete_queue()
            workspace.upload(PATH, "a\n1\n")
            blob = app.datastores["training"].container.get_blob_client(PATH)
            grid.publish(Blob.of(blob.get_blob_properties()))
            until(lambda: grid.counts["dead-lettered"])
        [letter] = letters.list_blob_names()
        [event] = json.loads(letters.download_blob(letter).readall())
        letters.delete_container()
    now = app.ledger.now
    app.ledger.now = lambda: now() + timedelta(minutes=2)  # what is new is left to its delivery at first
    assert runs(workspace) == []
    tick(app)
    assert runs(workspace) == [PATH]
    [entry] = app.ledger.history("income-files", 10)
    assert entry.source == Source.SEARCH
    queued.take(app, queued.encoded(event))  # somebody puts the letter into the queue
    tick(app)
    assert runs(workspace) == [PATH]


@contextmanager
def _refusing() -> Iterator[str]:
    """A webhook that takes the handshake, and refuses every event."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            [event] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = event["data"].get("validationCode")
            body = json.dumps({"validationResponse": code}).encode()
            self.send_response(200 if code else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# The app on a host


class Running:
    """Storage and workspace, an app that is started and ended at will, and a subscription that fills its queue."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.queue = stack, QueueClient.from_connection_string(stack.storage, QUEUE)
        self.container = ContainerClient.from_connection_string(stack.storage, "training-data")

    def start(self, **settings: str) -> None:
        """Start the app, whose timer does nothing by itself."""
        always: dict[str, Any] = {
            "RETRAIN_EVENTS": "queue",
            "RETRAIN_TIMER_SCHEDULE": "0 0 0 1 1 *",
            "RETRAIN_GRACE": "10s",
            "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:00",
        }
        self.stack.start_app(**always | settings)

    def upload(self, *paths: str) -> None:
        """Upload files."""
        for path in paths:
            self.container.upload_blob(path, b"age\n1\n")

    def runs(self, path: str) -> list[Any]:
        """Return the runs of a file."""
        found = requests.get(f"{self.stack.workspace_url}/_control/runs", timeout=30).json()
        return [run for run in found if run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == path]

    def entries(self, path: str) -> list[Any]:
        """Return the requests of a file."""
        found = requests.get(f"{self.stack.app_url}/api/retrains?limit=100", timeout=30).json()["retrains"]
        return [one for one in found if one["path"] == path]

    def order(self, **fault: Any) -> None:
        """Have the workspace misbehave at the next submission."""
        fault = {"on": "submit", **fault}
        requests.post(f"{self.stack.workspace_url}/_control/faults", json=[fault], timeout=30).raise_for_status()

    def tick(self) -> None:
        """Fire the timer."""
        requests.post(f"{self.stack.app_url}/admin/functions/tick", json={"input": ""}, timeout=30).raise_for_status()

    def empty(self) -> bool:
        """Tell whether everything in the queue was taken."""
        return self.queue.get_queue_properties().approximate_message_count == 0

    @property
    def log(self) -> str:
        """All that the app has said."""
        return self.stack.children["app"].log.read_text()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything but the app, with two subscriptions that deliver twice, late and in both schemas."""
    with Stack(Ports.free(), logs=tmp_path_factory.mktemp("logs"), parts=("storage", "workspace")) as stack:
        make_queue(stack.storage)
        subscriptions = [Subscription(queue=QUEUE, schema=schema) for schema in Schema]
        options: dict[str, Any] = {"watch": ["training-data"], "duplicates": 0.5, "disorder": 0.5, "speed": 50}
        with EventGrid(stack.storage, subscriptions, **options):
            made = Running(stack)
            with made.queue, made.container:
                yield made


def test_the_queue_has_one_name() -> None:
    """The stand-in's wiring names what the app listens to."""
    assert EVENTS_QUEUE == QUEUE


def test_events_wait_while_the_app_is_down(running: Running) -> None:
    """One run for each file, though each event comes twice or more; a file that comes later has one as well."""
    paths = [f"income/us/{number}.csv" for number in range(4)]
    running.upload(*paths)
    until(lambda: len(running.queue.peek_messages(32)) >= 8)
    running.start()
    until(lambda: all(running.runs(path) for path in paths))
    running.upload("income/us/later.csv")
    until(lambda: running.runs("income/us/later.csv"))
    until(running.empty)
    for path in [*paths, "income/us/later.csv"]:
        assert len(running.runs(path)) == 1
        [entry] = running.entries(path)
        assert entry["source"] == Source.BLOB_EVENT
    assert requests.get(f"{running.stack.app_url}/api/status", timeout=30).json()["events"] == "queue"


def test_host_is_killed_while_an_event_is_at_work(running: Running) -> None:
    """The message comes back when its lease ends, and finds the row; the run that was under way is found by its key."""
    path = "income/us/killed.csv"
    running.start()
    running.order(kind="delay", delay_s=3)
    running.upload(path)
    until(lambda: [one for one in running.entries(path) if one["state"] == "sending"])
    running.stack.children["app"].kill()
    until(lambda: running.runs(path))
    running.start()
    until(running.empty)

    def recorded() -> bool:
        running.tick()
        return [bool(one["run_id"]) for one in running.entries(path)] == [True]

    until(recorded)
    assert len(running.runs(path)) == 1


def test_storage_that_fails_a_delivery(running: Running) -> None:
    """503 until the SDK gives up, then not any more: the event comes again by itself, and is one run."""
    path = "income/us/busy.csv"
    with _busy(running.stack.storage, 4) as (training, left):
        running.start(TrainingStorage=training)
        running.upload(path)
        until(lambda: running.runs(path))
        until(running.empty)
    assert left() == 0
    assert len(running.runs(path)) == 1


def test_events_that_fail_each_time(running: Running) -> None:
    """After the last attempt it is a `dead` row; a message that is no event is told of and gone; redrive is one run."""
    path = "income/us/poison.csv"
    wrong = running.stack.storage.replace("AccountKey=E", "AccountKey=F")
    assert wrong != running.stack.storage
    running.start(TrainingStorage=wrong)
    running.queue.send_message("no event")
    running.upload(path)
    [dead] = until(lambda: [one for one in running.entries(path) if one["state"] == "dead"])
    assert "403" in dead["reason"]
    until(lambda: f"event_unreadable queue={QUEUE}" in running.log)
    with QueueClient.from_connection_string(running.stack.storage, POISON) as poison:
        until(lambda: running.empty() and poison.get_queue_properties().approximate_message_count == 0)
    running.start()
    requests.post(f"{running.stack.app_url}/api/retrains/{dead['key']}/redrive", timeout=30).raise_for_status()
    running.tick()
    assert len(running.runs(path)) == 1


@contextmanager
def _busy(storage: str, times: int) -> Iterator[tuple[str, Callable[[], int]]]:
    """Blob storage that answers 503 so many times; its connection string, and how often it still will."""
    parts = dict(part.split("=", 1) for part in storage.strip(";").split(";"))
    there = urlsplit(parts["BlobEndpoint"])
    left = [None] * times

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            if left:
                left.pop()
                self.send_response(503)
                self.send_header("x-ms-error-code", "ServerBusy")
            else:
                connection = HTTPConnection(there.netloc)
                connection.request("HEAD", self.path, headers=dict(self.headers))
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                connection.close()
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _serving(Handler) as url:
        yield ";".join(f"{k}={v}" for k, v in {**parts, "BlobEndpoint": url + there.path}.items()), lambda: len(left)
