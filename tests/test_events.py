"""The stand-in of Event Grid: uploads to a real Azurite, delivered to a webhook that answers as it is told."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, TextBase64DecodePolicy
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.events import Blob, EventGrid, HandshakeError, Schema, Subscription
from local.process import Child, ChildFailedError, free_ports
from local.stack import Ports, Stack, get_json
from local.workspace.server import listen
from shared.rules.arrival import Source
from tests.apps.running import eventually

FAST = 1000.0  # the pauses of 10 and 30 s become 10 and 30 ms


@dataclass
class Delivery:
    """One request as the webhook got it."""

    headers: dict[str, str]
    body: Any
    at: float

    @property
    def event(self) -> dict[str, Any]:
        """The one event in it."""
        events = self.body if isinstance(self.body, list) else [self.body]
        assert len(events) == 1
        event: dict[str, Any] = events[0]
        return event


@dataclass
class Webhook:
    """A receiver: `answers` are given one after the other, then 200."""

    url: str = ""
    answers: list[int | float] = field(default_factory=list)
    """Statuses; a fraction is a pause in seconds before 200."""
    got: list[Delivery] = field(default_factory=list)
    handshakes: list[Delivery] = field(default_factory=list)
    echo: bool = True

    @property
    def names(self) -> list[str]:
        """The blobs it was told of, in order."""
        return [one.event["subject"].partition("/blobs/")[2] for one in self.got]

    async def handle(self, request: Request) -> Response:
        """Answer the handshake, or a notification."""
        body = json.loads(await request.body() or b"null")
        delivery = Delivery(dict(request.headers), body, time.monotonic())
        if request.method == "OPTIONS":
            self.handshakes.append(delivery)
            return Response(headers={"WebHook-Allowed-Origin": "eventgrid.azure.net"} if self.echo else {})
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            self.handshakes.append(delivery)
            code = delivery.event["data"]["validationCode"]
            return JSONResponse({"validationResponse": code} if self.echo else {})
        self.got.append(delivery)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return Response()
        return Response(status_code=answer)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook on a port of its own."""
    made = Webhook()
    app = Starlette(routes=[Route("/", made.handle, methods=["POST", "OPTIONS"])])
    with listen(0) as listener:
        made.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield made
        server.should_exit = True
        thread.join()


@pytest.fixture
def container(storage: str) -> Iterator[ContainerClient]:
    """A container of its own."""
    with BlobServiceClient.from_connection_string(storage) as service:
        client = service.get_container_client(f"c{uuid.uuid4().hex[:12]}")
        client.create_container()
        yield client
        client.delete_container()


@contextmanager
def grid(container: ContainerClient, storage: str, subscription: Subscription, **options: Any) -> Iterator[EventGrid]:
    """Watch the container until the block is left."""
    given: dict[str, Any] = {"watch": [container.container_name], "speed": FAST, "interval_s": 0.05} | options
    with EventGrid(storage, [subscription], **given) as running:
        yield running


@pytest.fixture
def queue(storage: str) -> Iterator[QueueClient]:
    """A queue of its own, whose messages are base64."""
    name = f"q{uuid.uuid4().hex[:12]}"
    with QueueClient.from_connection_string(storage, name, message_decode_policy=TextBase64DecodePolicy()) as client:
        client.create_queue()
        yield client
        client.delete_queue()


def queued(queue: QueueClient) -> list[dict[str, Any]]:
    """Return the events in a queue."""
    return [json.loads(message.content) for message in queue.receive_messages(messages_per_page=32)]


def blob(name: str) -> Blob:
    """A blob to publish without uploading it."""
    return Blob("c", name, "0x1", 3, datetime.now(UTC))


def settled(running: EventGrid, published: int) -> Callable[[], bool]:
    """Return what tells whether all is delivered or given up."""
    return lambda: running.counts["published"] == published and running.pending == 0


# Events


def test_upload_as_an_event_grid_event(storage: str, container: ContainerClient, webhook: Webhook) -> None:
    """It has all that the service sends."""
    with grid(container, storage, Subscription([webhook.url])):
        written = container.upload_blob("income/us/a b.csv", b"a,b\n1,2\n").get_blob_properties()
        [delivery] = eventually(lambda: webhook.got)
    event, data = delivery.event, delivery.event["data"]
    assert isinstance(delivery.body, list)
    assert delivery.headers["aeg-event-type"] == "Notification"
    assert delivery.headers["aeg-delivery-count"] == "0"
    assert event["topic"].endswith("/providers/Microsoft.Storage/storageAccounts/devstoreaccount1")
    assert event["subject"] == f"/blobServices/default/containers/{container.container_name}/blobs/income/us/a b.csv"
    assert event["eventType"] == "Microsoft.Storage.BlobCreated"
    assert datetime.fromisoformat(event["eventTime"]) == written.last_modified
    assert (event["dataVersion"], event["metadataVersion"]) == ("", "1")
    assert (data["api"], data["blobType"], data["contentLength"]) == ("PutBlob", "BlockBlob", 8)
    assert data["contentType"] == "application/octet-stream"
    assert data["eTag"] == written.etag.strip('"')
    assert data["url"] == f"{container.url}/income/us/a%20b.csv"
    assert {"clientRequestId", "requestId", "sequencer", "storageDiagnostics"} <= data.keys()


def test_upload_as_a_cloud_event(storage: str, container: ContainerClient, webhook: Webhook) -> None:
    """One object, in the names of CloudEvents; the handshake is OPTIONS."""
    with grid(container, storage, Subscription([webhook.url], schema=Schema.CLOUD_EVENTS)):
        container.upload_blob("a.csv", b"1")
        [delivery] = eventually(lambda: webhook.got)
    assert isinstance(delivery.body, dict)
    assert delivery.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert (delivery.event["specversion"], delivery.event["type"]) == ("1.0", "Microsoft.Storage.BlobCreated")
    assert {"id", "source", "subject", "time"} <= delivery.event.keys()
    assert "aeg-event-type" not in webhook.handshakes[0].headers
    assert webhook.handshakes[0].headers["webhook-request-origin"] == "eventgrid.azure.net"


def test_upload_in_blocks(storage: str, container: ContainerClient, webhook: Webhook) -> None:
    """The event names the call that made the blob."""
    with grid(container, storage, Subscription([webhook.url])):
        client = container.get_blob_client("blocks.csv")
        client.stage_block("MQ==", b"1")
        client.commit_block_list([BlobBlock("MQ==")])
        [delivery] = eventually(lambda: webhook.got)
    assert delivery.event["data"]["api"] == "PutBlockList"


def test_blobs_that_were_there_before(storage: str, container: ContainerClient, webhook: Webhook) -> None:
    """They raise none; a new version of one of them does, and so does a blob that comes back after its deletion."""
    for name in ("old.csv", "overwritten.csv", "deleted.csv"):
        container.upload_blob(name, b"1")
    with grid(container, storage, Subscription([webhook.url])):
        container.upload_blob("overwritten.csv", b"2", overwrite=True)
        eventually(lambda: webhook.names == ["overwritten.csv"])
        container.delete_blob("deleted.csv")
        time.sleep(0.3)
        container.upload_blob("deleted.csv", b"2")
        eventually(lambda: webhook.names == ["overwritten.csv", "deleted.csv"])


def test_container_comes_later(storage: str, container: ContainerClient, webhook: Webhook) -> None:
    """It is watched from then on."""
    name = f"{container.container_name}-later"
    with (
        BlobServiceClient.from_connection_string(storage) as service,
        grid(container, storage, Subscription([webhook.url]), watch=[name]),
    ):
        later = service.create_container(name)
        later.upload_blob("a.csv", b"1")
        eventually(lambda: webhook.names == ["a.csv"])
        later.delete_container()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"subject_begins_with": "/blobServices/default/containers/c/blobs/income/"}, ["income/a.csv", "income/b.CSV"]),
        ({"subject_ends_with": ".csv"}, ["income/a.csv", "income/b.CSV", "c.csv"]),
        ({"event_types": frozenset({"Microsoft.Storage.BlobDeleted"})}, []),
    ],
)
def test_filters(storage: str, webhook: Webhook, filters: dict[str, Any], expected: list[str]) -> None:
    """Subjects by prefix and suffix, in any case, and the type of event."""
    with EventGrid(storage, [Subscription([webhook.url], **filters)], speed=FAST) as running:
        for name in ("income/a.csv", "income/b.CSV", "c.csv", "income"):
            running.publish(blob(name))
        eventually(settled(running, 4))
    assert sorted(webhook.names) == sorted(expected)


# Handshake


@pytest.mark.parametrize("schema", [*Schema])
def test_webhook_that_fails_the_handshake(storage: str, webhook: Webhook, schema: Schema) -> None:
    """Nothing starts; the message names the webhook and its answer."""
    webhook.echo = False
    with (
        pytest.raises(HandshakeError, match=r"http://127\.0\.0\.1.* failed the handshake of .*Schema.*: 200"),
        EventGrid(storage, [Subscription([webhook.url], schema=schema)]),
    ):
        pass
    assert len(webhook.handshakes) == 1


def test_webhook_that_is_not_there(storage: str) -> None:
    """Nothing starts."""
    nowhere = f"http://127.0.0.1:{free_ports()}/"
    with pytest.raises(HandshakeError, match="does not answer"), EventGrid(storage, [Subscription([nowhere])]):
        pass


def test_webhook_elsewhere(storage: str) -> None:
    """It is refused before anything is sent: events are delivered on this machine only."""
    with pytest.raises(ValueError, match="not on this machine"):
        EventGrid(storage, [Subscription(["https://example.com/hook"])])


# Delivery


@pytest.mark.parametrize("answer", [404, 429, 500, 503])
def test_failed_deliveries(storage: str, webhook: Webhook, answer: int) -> None:
    """They are made again after 10 s, 30 s and a minute (here a thousandth), and say how many went before."""
    webhook.answers = [answer] * 3
    with EventGrid(storage, [Subscription([webhook.url])], speed=FAST) as running:
        running.publish(blob("a.csv"))
        eventually(settled(running, 1))
    assert [one.headers["aeg-delivery-count"] for one in webhook.got] == ["0", "1", "2", "3"]
    assert len({one.event["id"] for one in webhook.got}) == 1
    for pause, (earlier, later) in zip((0.01, 0.03, 0.06), pairwise(webhook.got), strict=True):
        assert later.at - earlier.at >= pause
    assert running.counts["delivered"] == 1


@pytest.mark.parametrize("answer", [400, 401, 403, 413])
def test_answers_that_end_an_event(storage: str, webhook: Webhook, answer: int) -> None:
    """There is one attempt, and without a dead-letter container nothing is left of it."""
    webhook.answers = [answer]
    with EventGrid(storage, [Subscription([webhook.url])], speed=FAST) as running:
        running.publish(blob("a.csv"))
        eventually(settled(running, 1))
    assert len(webhook.got) == 1
    assert running.counts["dropped"] == 1


def test_webhook_that_does_not_answer_in_time(storage: str, webhook: Webhook) -> None:
    """It counts as failed, though it may have worked: the event comes again."""
    webhook.answers = [0.5]
    with EventGrid(storage, [Subscription([webhook.url])], speed=FAST, wait_s=0.2) as running:
        running.publish(blob("a.csv"))
        eventually(settled(running, 1))
    assert webhook.names == ["a.csv", "a.csv"]


def test_dead_letter_of_a_refused_event(storage: str, container: ContainerClient, webhook: Webhook) -> None:
    """It is written where the service writes it, with the reason."""
    webhook.answers = [401]
    subscription = Subscription([webhook.url], name="mine", dead_letter=container.container_name)
    with EventGrid(storage, [subscription]) as running:
        running.publish(blob("a.csv"))
        eventually(settled(running, 1))
        [name] = container.list_blob_names()
    now = datetime.now(UTC)
    assert name.startswith(f"MINE/{now.year}/{now.month}/{now.day}/")
    [letter] = json.loads(container.download_blob(name).readall())
    assert letter["subject"] == "/blobServices/default/containers/c/blobs/a.csv"
    assert letter["deadLetterReason"] == "UndeliverableDueToHttpUnauthorized"
    assert (letter["deliveryAttempts"], letter["lastHttpStatusCode"]) == (1, 401)


@pytest.mark.parametrize(
    ("limits", "attempts", "reason"),
    [
        ({"most_attempts": 3}, 3, "MaxDeliveryAttemptsExceeded"),
        ({"life_s": 300}, 4, "TimeToLiveExceeded"),  # 10 s + 30 s + 60 s; then 5 minutes
        ({}, 11, "TimeToLiveExceeded"),  # the tenth comes after nearly 11 hours, the next one after nearly 23
    ],
)
def test_dead_letter_after_many_attempts(
    storage: str, container: ContainerClient, webhook: Webhook, limits: dict[str, Any], attempts: int, reason: str
) -> None:
    """Whichever limit is met first ends it."""
    webhook.answers = [503] * 99
    subscription = Subscription([webhook.url], dead_letter=container.container_name, **limits)
    with EventGrid(storage, [subscription], speed=1e6) as running:
        running.publish(blob("a.csv"))
        eventually(settled(running, 1))
        [name] = container.list_blob_names()
    [letter] = json.loads(container.download_blob(name).readall())
    assert (letter["deadLetterReason"], letter["deliveryAttempts"]) == (reason, attempts)
    assert letter["lastDeliveryOutcome"] == "ServiceUnavailable"
    assert len(webhook.got) == attempts


def test_duplicates_and_disorder_on_order(storage: str, webhook: Webhook) -> None:
    """Some come twice and some late; which ones, the seed says; all come."""
    names = [f"{number:03}.csv" for number in range(100)]

    def deliver(seed: int) -> list[str]:
        webhook.got.clear()
        options = {"speed": 50.0, "duplicates": 0.2, "disorder": 0.2, "seed": seed}
        with EventGrid(storage, [Subscription([webhook.url])], **options) as running:  # type: ignore[arg-type]
            for name in names:
                running.publish(blob(name))
            eventually(settled(running, 100))
        assert {*webhook.names} == {*names}
        assert webhook.names != sorted(webhook.names)
        return sorted(webhook.names)

    first = deliver(1)
    assert 105 < len(first) < 140
    assert deliver(1) == first
    assert deliver(2) != first


def test_several_instances_behind_one_webhook(storage: str, webhook: Webhook) -> None:
    """Each attempt goes to one of them; what one does not take, another may."""
    nowhere = f"http://127.0.0.1:{free_ports()}/"
    with EventGrid(storage, [Subscription([webhook.url, webhook.url])], speed=FAST) as running:
        running._subscriptions = [Subscription([webhook.url, nowhere])]  # one dies after the handshake
        for number in range(20):
            running.publish(blob(f"{number}.csv"))
        eventually(settled(running, 20))
    assert len({*webhook.names}) == 20
    assert running.counts["attempts"] > 0


# To a queue


@pytest.mark.parametrize("schema", [*Schema])
def test_upload_becomes_a_message(storage: str, container: ContainerClient, queue: QueueClient, schema: Schema) -> None:
    """One object as base64, in the subscription's schema; nobody asks for a handshake."""
    with grid(container, storage, Subscription(queue=queue.queue_name, schema=schema)) as running:
        written = container.upload_blob("a b.csv", b"1").get_blob_properties()
        eventually(lambda: running.counts["delivered"])
    [event] = queued(queue)
    assert ("specversion" in event) == (schema is Schema.CLOUD_EVENTS)
    assert event["data"]["url"] == f"{container.url}/a%20b.csv"
    assert event["data"]["eTag"] == written.etag.strip('"')


def test_duplicates_and_disorder_in_a_queue(storage: str, queue: QueueClient) -> None:
    """As for a webhook: some twice, some late, all there."""
    names = [f"{number:03}.csv" for number in range(20)]
    options: dict[str, Any] = {"speed": FAST, "duplicates": 0.5, "disorder": 0.5}
    with EventGrid(storage, [Subscription(queue=queue.queue_name)], **options) as running:
        for name in names:
            running.publish(blob(name))
        eventually(settled(running, 20))
    found = [event["subject"].partition("/blobs/")[2] for event in queued(queue)]
    assert {*found} == {*names}
    assert len(found) > 20
    assert found != sorted(found)


def test_queue_that_is_not_there(storage: str) -> None:
    """No subscription is made to it; one that goes away later keeps its events waiting, and takes them again."""
    with pytest.raises(HandshakeError, match="no queue nowhere"), EventGrid(storage, [Subscription(queue="nowhere")]):
        pass
    with QueueClient.from_connection_string(storage, f"q{uuid.uuid4().hex[:12]}") as client:
        client.create_queue()
        with EventGrid(storage, [Subscription(queue=client.queue_name)], speed=FAST) as running:
            client.delete_queue()
            running.publish(blob("a.csv"))
            eventually(lambda: running.counts["attempts"])
            client.create_queue()
            eventually(settled(running, 1))
            assert running.counts["delivered"] == 1
        client.delete_queue()


def test_webhook_and_queue_at_once(storage: str) -> None:
    """A subscription has one target: exit code 1, and the reason."""
    command = [sys.executable, "-m", "local.events", "--storage", storage, "--container", "c"]
    for target in ([], ["--to", "http://127.0.0.1:1/", "--queue", "q"]):
        done = subprocess.run([*command, *target], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "Give --to or --queue" in done.stderr) == (1, True)


# As a process, and with the app


def test_as_a_process(storage: str, container: ContainerClient, webhook: Webhook, tmp_path: Path) -> None:
    """It says when it is ready, delivers, and ends when it is asked to."""
    command = [sys.executable, "-m", "local.events", "--storage", storage, "--container", container.container_name]
    command += ["--to", webhook.url, "--schema", "CloudEventSchemaV1_0", "--subject-ends-with", ".csv", "--speed", "60"]
    with Child("events", command, log=tmp_path / "log") as child:
        child.wait_until(lambda: "events ready\n" in child.log.read_text())
        container.upload_blob("a.txt", b"1")
        container.upload_blob("a.csv", b"1")
        eventually(lambda: webhook.names == ["a.csv"])
        child.stop()
        assert child.process.returncode == 0


def test_blob_whose_name_would_forge_the_log(
    storage: str, container: ContainerClient, webhook: Webhook, tmp_path: Path
) -> None:
    """Its line in the log is one line, whether it is delivered or given up; the event has the name as it is."""
    command = [sys.executable, "-m", "local.events", "--storage", storage, "--container", container.container_name]
    webhook.answers = [200, 400]
    names = [f"{number}\nINFO delivered FORGED\u2028\u2029\x85\x9b\u202e\u2066.csv" for number in range(2)]
    with Child("events", [*command, "--to", webhook.url], log=tmp_path / "log") as child:
        child.wait_until(lambda: "events ready\n" in child.log.read_text())
        container.upload_blob(names[0], b"1")
        child.wait_until(lambda: "INFO delivered" in child.log.read_text())
        container.upload_blob(names[1], b"1")
        child.wait_until(lambda: "ERROR gave up" in child.log.read_text())
    lines = child.log.read_text().split("\n")
    assert [line for line in lines if line.startswith("INFO delivered FORGED")] == []
    assert [line.split(" ")[0] for line in lines if "FORGED" in line] == ["INFO", "ERROR"]
    assert all(line.isprintable() for line in lines)
    assert webhook.names == names


def test_as_a_process_without_a_webhook(storage: str) -> None:
    """Exit code 1, and the reason."""
    command = [sys.executable, "-m", "local.events", "--storage", storage, "--container", "c"]
    command += ["--to", f"http://127.0.0.1:{free_ports()}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not answer" in done.stderr


@pytest.mark.parametrize(
    ("events", "setting", "value"),
    [("grid", "RETRAIN_BLOB_SOURCE", "LogsAndContainerScan"), ("queue", "RETRAIN_EVENTS", "blob")],
)
def test_app_that_waits_for_no_such_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: str, setting: str, value: str
) -> None:
    """`--events` is refused when the environment has the last word and says otherwise: nobody would take them."""
    monkeypatch.setenv(setting, value)
    stack = Stack(Ports.free(), logs=tmp_path, host="builtin", events=events, environment=os.environ)
    with pytest.raises(ChildFailedError, match=setting), stack:
        pass


@pytest.mark.parametrize("events", ["grid", "queue"])
def test_app_that_is_told_of_events(tmp_path: Path, events: str) -> None:
    """An upload becomes a run though no container is scanned: the stand-in told the app, or its queue."""
    with Stack(Ports.free(), logs=tmp_path, host="builtin", events=events) as stack:
        with BlobServiceClient.from_connection_string(stack.storage) as service:
            service.get_blob_client("training-data", "income/us/a.csv").upload_blob(b"1")

        def retrains() -> Any:
            return get_json(f"{stack.app_url}/api/retrains")[1]["retrains"]

        [retrain] = eventually(retrains)
        assert retrain["source"] == Source.BLOB_EVENT
        assert "delivered /blobServices/default/containers/training-data/blobs/income/us/a.csv" in eventually(
            lambda: stack.children["events"].log.read_text()
        )
