"""Events as Event Grid puts them into a queue, and the functions that take them, in this process. Holds no tests."""

import base64
from typing import Any
from unittest import mock

import msgspec
from azure.functions.queue import QueueMessage

from functions import events
from shared.app import App

CREATED = "Microsoft.Storage.BlobCreated"


TIME = "2026-11-25T16:04:53.1234567Z"


def grid(url: str, etag: str = "") -> dict[str, Any]:
    """Return the event of a new blob in Event Grid's own schema."""
    data = {"api": "PutBlob", "url": url, "eTag": etag, "blobType": "BlockBlob"}
    return {"id": "1", "topic": "/t", "subject": "/s", "eventType": CREATED, "eventTime": TIME, "data": data}


def cloud(url: str, etag: str = "") -> dict[str, Any]:
    """Return the same as a CloudEvent."""
    told = grid(url, etag)
    return {"specversion": "1.0", "id": "1", "source": "/t", "type": CREATED, "time": TIME, "data": told["data"]}


def url_of(app: App, path: str) -> str:
    """Return a blob's address."""
    [datastore] = app.datastores.values()
    return datastore.container.get_blob_client(path).url


def encoded(event: Any) -> bytes:
    """Return the body of a message."""
    return base64.b64encode(msgspec.json.encode(event))


def take(app: App, body: bytes) -> None:
    """Have the function `events` take a message. Raises what it raises."""
    with mock.patch.object(events, "app", return_value=app):
        events.events(QueueMessage(id="m1", body=body))


def bury(app: App, body: bytes) -> None:
    """Have the function `events_poison` take a message. Raises what it raises."""
    with mock.patch.object(events, "app", return_value=app):
        events.events_poison(QueueMessage(id="m1", body=body))
