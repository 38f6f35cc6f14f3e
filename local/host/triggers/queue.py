"""Queue triggers: a listener for each function's queue.

Never makes the queue it listens to, as the platform does not; it waits for it.
"""

import base64
import binascii
import logging

from azure.storage.queue import QueueMessage

from local.host.bindings import QueueTrigger
from local.host.keeper import Keeper
from local.host.messages import json_text, text, text_or_bytes
from local.host.queues import Listener, Queues, Rules
from local.host.storage import Account, Storage
from local.host.worker import FunctionFailedError, Worker

log = logging.getLogger("host.queue")

POISON_SUFFIX = "-poison"


class QueueFunction:
    """One function and its queue."""

    def __init__(
        self, trigger: QueueTrigger, worker: Worker, storage: Storage, queues: Queues, *, as_base64: bool
    ) -> None:
        """Start nothing yet."""
        self._trigger, self._worker, self._as_base64 = trigger, worker, as_base64
        self._storage, self._queues, self._account = storage, queues, storage.account(trigger.connection)

    def listener(self, keeper: Keeper, rules: Rules) -> Listener:
        """Return what takes messages from the queue."""
        client = self._account.queues.get_queue_client(self._trigger.queue)
        return Listener(self._queues, self._storage, keeper, client, rules, self._handle, self._poison)

    async def put(self, content: str) -> None:
        """Put a message as an application would."""
        encoded = base64.b64encode(content.encode()).decode() if self._as_base64 else content
        await self._queues.put(self._account, self._trigger.queue, encoded)

    async def _handle(self, queued: QueueMessage) -> None:
        body = text_or_bytes(self._decode(queued.content))
        metadata = {
            "QueueTrigger": body,
            "Id": text(queued.id),
            "PopReceipt": text(queued.pop_receipt or ""),
            "DequeueCount": json_text(queued.dequeue_count),
        }
        times = {
            "InsertionTime": queued.inserted_on,
            "ExpirationTime": queued.expires_on,
            "NextVisibleTime": queued.next_visible_on,
        }
        metadata |= {name: json_text(time.isoformat()) for name, time in times.items() if time}
        reason = f"queue {self._trigger.queue}, attempt {queued.dequeue_count}"
        outcome = await self._worker.invoke(
            self._trigger.function, {self._trigger.parameter: body}, metadata, reason=reason
        )
        if not outcome.ok:
            raise FunctionFailedError(outcome.error)

    def _decode(self, content: str) -> bytes:
        if not self._as_base64:
            return content.encode()
        try:
            return base64.b64decode(content, validate=True)
        except binascii.Error:
            log.warning(
                "a message of queue %s is not base64 and is taken as it is; the platform would move it to the poison "
                "queue (host.json, extensions.queues.messageEncoding)",
                self._trigger.queue,
            )
            return content.encode()

    def _poison(self, _queued: QueueMessage) -> tuple[Account, str] | None:
        if self._trigger.queue.endswith(POISON_SUFFIX):
            return None
        return self._account, self._trigger.queue + POISON_SUFFIX
