"""Blob functions fed by Event Grid, on the local host: the webhook's answers and what runs after them."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient

from local.host.triggers.webhook import blob_of
from tests.apps.running import Host, Place, eventually, running

HOOK = "/runtime/webhooks/blobs?functionName=Host.Functions.announced"


@pytest.fixture(scope="module")
def container(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, ContainerClient]]:
    """One host for all tests of this file."""
    place = Place(storage, tmp_path_factory.mktemp("host"))
    with BlobServiceClient.from_connection_string(storage) as service, running("events", place) as host:
        client = service.get_container_client(place.name)
        client.create_container()
        yield host, client


def runs(host: Host, name: str) -> int:
    """Return how often the function ran for a blob."""
    return sum(one["name"] == name for one in host.place.seen("announced"))


def notify(host: Host, content: Any, hook: str = HOOK) -> httpx.Response:
    """Deliver as Event Grid does."""
    return host.post(hook, headers={"aeg-event-type": "Notification"}, json=content)


def event_grid(url: str) -> dict[str, Any]:
    """A BlobCreated event in Event Grid's own schema."""
    return {
        "id": "1",
        "topic": "/subscriptions/s",
        "subject": "/blobServices/default/containers/c/blobs/b",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-11-23T00:00:00Z",
        "dataVersion": "",
        "metadataVersion": "1",
        "data": {"api": "PutBlob", "url": url, "eTag": "0x8D0000000000000", "blobType": "BlockBlob"},
    }


def cloud_event(url: str) -> dict[str, Any]:
    """The same event in the schema of CloudEvents."""
    return {
        "specversion": "1.0",
        "id": "1",
        "source": "/subscriptions/s",
        "type": "Microsoft.Storage.BlobCreated",
        "time": "2026-11-23T00:00:00Z",
        "data": {"api": "PutBlob", "url": url, "eTag": "0x8D0000000000000", "blobType": "BlockBlob"},
    }


def test_the_handshake_of_event_grid(container: tuple[Host, ContainerClient]) -> None:
    """The validation code is given back."""
    host, _ = container
    event = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}]
    answer = host.post(HOOK, headers={"aeg-event-type": "SubscriptionValidation"}, json=event)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})


def test_the_handshake_of_cloud_events(container: tuple[Host, ContainerClient]) -> None:
    """The origin that asks is allowed."""
    host, _ = container
    answer = host.request("OPTIONS", HOOK, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
    assert (answer.status_code, answer.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")


def test_uploads_that_nobody_announces(container: tuple[Host, ContainerClient]) -> None:
    """Nothing runs: an upload announced after them runs, they do not."""
    host, client = container
    client.upload_blob("silent.csv", b"1")
    notify(host, [event_grid(client.upload_blob("loud.csv", b"1").url)])
    eventually(lambda: runs(host, "loud.csv"))
    assert runs(host, "silent.csv") == 0
    assert "host.scan" not in host.log


@pytest.mark.parametrize("schema", [event_grid, cloud_event])
@pytest.mark.parametrize("as_list", [True, False])
def test_notifications_in_both_schemas(container: tuple[Host, ContainerClient], schema: Any, as_list: bool) -> None:
    """A list and a single event both answer 202 and run the function once."""
    host, client = container
    name = f"{schema.__name__}/{as_list} ü.csv"
    event = schema(client.upload_blob(name, b"1").url)
    assert notify(host, [event] if as_list else event).status_code == 202
    eventually(lambda: runs(host, name))
    assert runs(host, name) == 1


def test_several_events_at_once(container: tuple[Host, ContainerClient]) -> None:
    """Each blob runs."""
    host, client = container
    urls = [client.upload_blob(f"batch/{number}", b"1").url for number in range(20)]
    assert notify(host, [event_grid(url) for url in urls]).status_code == 202
    eventually(lambda: sum(runs(host, f"batch/{number}") for number in range(20)) == 20)


def test_the_same_event_twice(container: tuple[Host, ContainerClient]) -> None:
    """The function runs twice: duplicates are the app's business, as on the platform."""
    host, client = container
    event = event_grid(client.upload_blob("duplicate.csv", b"1").url)
    notify(host, [event])
    notify(host, [event])
    eventually(lambda: runs(host, "duplicate.csv") == 2)


def test_a_blob_that_is_gone_when_its_turn_comes(container: tuple[Host, ContainerClient]) -> None:
    """Its message is dropped without a run, and the next one runs."""
    host, client = container
    blob = client.upload_blob("gone.csv", b"1")
    blob.delete_blob()
    notify(host, [event_grid(blob.url), event_grid(client.upload_blob("there.csv", b"1").url)])
    eventually(lambda: runs(host, "there.csv"))
    assert runs(host, "gone.csv") == 0


def test_an_event_for_an_unknown_function(container: tuple[Host, ContainerClient]) -> None:
    """202, and nothing is queued, as on the platform."""
    host, client = container
    event = event_grid(client.upload_blob("unknown.csv", b"1").url)
    hook = "/runtime/webhooks/blobs?functionName=Host.Functions.nobody"
    assert notify(host, [event], hook).status_code == 202
    assert runs(host, "unknown.csv") == 0


def test_a_queued_message_for_an_unknown_function(container: tuple[Host, ContainerClient], storage: str) -> None:
    """It is completed with a word in the log; plain JSON is read as well as base64."""
    host, _ = container
    message = {
        "Type": "BlobTrigger",
        "FunctionId": "Host.Functions.old",
        "ContainerName": "c",
        "BlobName": "b",
        "ETag": "",
    }
    queue = f"azure-webjobs-blobtrigger-{host.place.name}"
    with QueueClient.from_connection_string(storage, queue) as client:
        client.send_message(json.dumps(message))
        client.send_message(base64.b64encode(json.dumps(message).encode()).decode())
        eventually(lambda: host.log.count("dropped the message for Host.Functions.old") == 2)
        eventually(lambda: client.get_queue_properties().approximate_message_count == 0)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("", "[]"),
        ("SomethingElse", "[]"),
        ("Notification", "{"),
        ("Notification", "[1]"),
        ("Notification", '[{"data": {}}]'),
        ("Notification", '[{"data": {"url": "https://account.blob.core.windows.net/only-container"}}]'),
        ("SubscriptionValidation", "[]"),
    ],
)
def test_requests_that_are_no_delivery(container: tuple[Host, ContainerClient], kind: str, content: str) -> None:
    """400 with the reason."""
    host, _ = container
    answer = host.post(HOOK, headers={"aeg-event-type": kind}, content=content)
    assert (answer.status_code, bool(answer.text)) == (400, True)


def test_unsubscribe(container: tuple[Host, ContainerClient]) -> None:
    """202, and nothing else."""
    host, _ = container
    assert host.post(HOOK, headers={"aeg-event-type": "Unsubscribe"}).status_code == 202


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.blob.core.windows.net/c/x/y.csv", "x/y.csv"),
        ("http://127.0.0.1:10000/devstoreaccount1/c/x/y.csv", "x/y.csv"),
        ("http://localhost:10000/devstoreaccount1/c/y.csv", "y.csv"),
        ("http://[::1]:10000/devstoreaccount1/c/y.csv", "y.csv"),
        ("https://a.blob.core.windows.net/c/a%20b%2Bc+d%23%25.csv", "a b+c+d#%.csv"),
        ("https://a.blob.core.windows.net/c/a#b.csv", "a#b.csv"),
        ("https://a.blob.core.windows.net/c/a.csv?snapshot=1", "a.csv"),
    ],
)
def test_urls_of_blobs(url: str, name: str) -> None:
    """Container and name, unescaped, whatever account the URL names."""
    assert blob_of(url) == ("c", name)
