"""Blob triggers: the internal queue between what detects a blob and the function that runs for it.

Both detectors (`scan`, `webhook`) put the platform's own message here; every host process on the same storage takes
from it. The content of a blob is read only for a parameter that is not an SDK type.

Never decides that a blob is new; that is the detectors' part.
"""

import base64
import binascii
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobProperties, BlobType
from azure.storage.queue import QueueMessage

from local.host.bindings import BlobTrigger
from local.host.keeper import Keeper
from local.host.messages import Message, blob_reference, json_text, text
from local.host.queues import Listener, Queues, Rules
from local.host.storage import Account, Storage
from local.host.worker import FunctionFailedError, Worker

log = logging.getLogger("host.blob")

POISON_QUEUE = "webjobs-blobtrigger-poison"
LONGEST_MESSAGE = 65_536  # bytes, of any queue
_ID_PREFIX = "Host.Functions."


@dataclass(frozen=True)
class BlobVersion:
    """One version of one blob, as a detector saw it; the ETag has its quotes."""

    container: str
    blob: str
    etag: str
    kind: str = "BlockBlob"


class BlobTriggers:
    """All blob-triggered functions of the app and their queue."""

    def __init__(
        self,
        triggers: Iterable[BlobTrigger],
        worker: Worker,
        storage: Storage,
        queues: Queues,
        host_account: Account,
        host_id: str,
    ) -> None:
        """Start nothing yet."""
        self.by_id = {_ID_PREFIX + trigger.function.name: trigger for trigger in triggers}
        self._worker, self._storage, self._queues = worker, storage, queues
        self._host_account, self._queue = host_account, f"azure-webjobs-blobtrigger-{host_id}"

    async def listener(self, keeper: Keeper, rules: Rules) -> Listener:
        """Make the queue, and return what takes messages from it."""
        client = await self._queues.create(self._host_account, self._queue)
        return Listener(self._queues, self._storage, keeper, client, rules, self._handle, self._poison)

    async def enqueue(self, trigger: BlobTrigger, *versions: BlobVersion) -> None:
        """Put the platform's message for each version; once this returns, a crash cannot lose it.

        Raises ValueError, and puts none, when a message would be longer than a queue takes.
        """
        for message in [_message(trigger, version) for version in versions]:
            await self._queues.put(self._host_account, self._queue, message)

    async def find(self, trigger: BlobTrigger, container: str, blob: str) -> BlobVersion | None:
        """Return the current version of a blob, None when there is no such blob."""
        client = self._client(trigger, container, blob)
        try:
            found = await self._storage.run(client.get_blob_properties)
        except ResourceNotFoundError:
            return None
        return BlobVersion(container, blob, quoted(found.etag), BlobType(found.blob_type).value)

    def _client(self, trigger: BlobTrigger, container: str, blob: str) -> BlobClient:
        return self._storage.account(trigger.connection).blobs.get_blob_client(container, blob)

    async def _handle(self, queued: QueueMessage) -> None:
        """Run the function for one message; return without running it where the platform drops the message."""
        message = decode(queued.content)
        trigger = self.by_id.get(message["FunctionId"])
        container, blob = message["ContainerName"], message["BlobName"]
        if trigger is None:
            log.warning("dropped the message for %s: the app has no such blob function", message["FunctionId"])
            return
        client = self._client(trigger, container, blob)
        try:
            properties = await self._storage.run(client.get_blob_properties)
            if trigger.scans and quoted(properties.etag) != quoted(message["ETag"]):
                log.debug("dropped %s/%s: it has changed, and the scan finds the newer version", container, blob)
                return
            data = await self._data(trigger, client, container, blob)
        except ResourceNotFoundError:
            log.debug("dropped %s/%s: the blob is gone", container, blob)
            return
        captures = trigger.pattern.captures(container, blob) or {}
        metadata = _metadata(client, properties, container, blob) | {
            name: text(found) for name, found in captures.items()
        }
        reason = f"blob {container}/{blob}, attempt {queued.dequeue_count}"
        outcome = await self._worker.invoke(trigger.function, {trigger.parameter: data}, metadata, reason=reason)
        if not outcome.ok:
            raise FunctionFailedError(outcome.error)

    async def _data(self, trigger: BlobTrigger, client: BlobClient, container: str, blob: str) -> Message:
        if trigger.by_reference:
            return blob_reference(trigger.connection.setting, container, blob)
        return Message(bytes=await self._storage.run(lambda: client.download_blob().readall()))

    def _poison(self, queued: QueueMessage) -> tuple[Account, str]:
        """Return the poison queue: in the account of the trigger, the host's account where the trigger is unknown."""
        try:
            trigger = self.by_id.get(decode(queued.content)["FunctionId"])
        except (ValueError, KeyError):
            trigger = None
        return (self._storage.account(trigger.connection) if trigger else self._host_account), POISON_QUEUE


def _message(trigger: BlobTrigger, version: BlobVersion) -> str:
    """Return the platform's message for a version. Raises ValueError when it is longer than a queue takes."""
    message = {
        "Type": "BlobTrigger",
        "FunctionId": _ID_PREFIX + trigger.function.name,
        "BlobType": version.kind,
        "ContainerName": version.container,
        "BlobName": version.blob,
        "ETag": version.etag,
    }
    encoded = base64.b64encode(json.dumps(message, ensure_ascii=False).encode()).decode()
    if len(encoded) > LONGEST_MESSAGE:
        raise ValueError(f"its message has {len(encoded):,} bytes; a queue takes {LONGEST_MESSAGE:,}")
    return encoded


def quoted(etag: str) -> str:
    """Return an ETag with quotes: listings and events have it bare."""
    return '"' + etag.strip('"') + '"'


def decode(content: str) -> dict[str, str]:
    """Read an internal message, base64 or plain JSON. Raises ValueError when it is neither."""
    try:
        plain = base64.b64decode(content, validate=True)
    except binascii.Error:
        plain = content.encode()
    message = json.loads(plain)
    if not isinstance(message, dict):
        raise ValueError(f"not a blob trigger message: {plain[:200]!r}")
    return message


def _metadata(client: BlobClient, properties: BlobProperties, container: str, blob: str) -> dict[str, Message]:
    """Return the platform's trigger metadata."""
    content = properties.content_settings
    described = {
        "LastModified": properties.last_modified.isoformat(),
        "CreatedOn": properties.creation_time.isoformat() if properties.creation_time else None,
        "BlobType": BlobType(properties.blob_type).value,
        "ContentLength": properties.size,
        "ContentType": content.content_type,
        "ContentEncoding": content.content_encoding,
        "ContentLanguage": content.content_language,
        "ETag": quoted(properties.etag),
    }
    return {
        "BlobTrigger": text(f"{container}/{blob}"),
        "Uri": json_text(client.url),
        "Properties": json_text({name: value for name, value in described.items() if value is not None}),
        "Metadata": json_text(properties.metadata or {}),
    }
