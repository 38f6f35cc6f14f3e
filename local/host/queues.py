"""Storage queues: put a message, and a listener that gives each message to a handler at least once.

A message is invisible while its handler runs and comes back when the process dies. A failed one is tried again at
once or after a delay, and moved to a poison queue after so many attempts. Never reads what a message says.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage

from local.host.keeper import Keeper
from local.host.storage import Account, Storage
from local.host.worker import FunctionFailedError

log = logging.getLogger("host.queues")

BUSY_S, IDLE_S = 0.05, 0.5  # pause after the first empty answer, doubled up to the second
RECEIVE_AT_MOST = 32  # the service's limit a request
NO_EXPIRY = -1


class Queues:
    """Puts messages, and wakes this process's own listener of the queue at once."""

    def __init__(self, storage: Storage) -> None:
        """Know no listener yet."""
        self._storage = storage
        self._wake: dict[str, asyncio.Event] = {}

    async def put(self, account: Account, queue: str, text: str) -> None:
        """Store a message, making its queue when there is none."""
        client = account.queues.get_queue_client(queue)
        try:
            await self._storage.run(client.send_message, text, time_to_live=NO_EXPIRY)
        except ResourceNotFoundError:
            await self.create(account, queue)
            await self._storage.run(client.send_message, text, time_to_live=NO_EXPIRY)
        self.event(client).set()

    async def create(self, account: Account, queue: str) -> QueueClient:
        """Make a queue unless it is there."""
        client = account.queues.get_queue_client(queue)
        try:
            await self._storage.run(client.create_queue)
        except ResourceExistsError:
            log.debug("queue %s is there already", queue)
        return client

    def event(self, client: QueueClient) -> asyncio.Event:
        """Return what is set when a message was put into this queue."""
        return self._wake.setdefault(client.primary_endpoint, asyncio.Event())


class _Held:
    """A received message, invisible to others while it is held; used from threads."""

    def __init__(self, client: QueueClient, message: QueueMessage, lease_s: float) -> None:
        self._client, self._id, self._lease_s = client, message.id, lease_s
        self._receipt = message.pop_receipt
        self._lock = threading.Lock()
        self._ended = False

    def renew(self) -> None:
        """Stay invisible for another lease."""
        with self._lock:
            if not self._ended:
                self._hide(self._lease_s)

    def release(self, delay_s: float) -> None:
        """Become visible again after `delay_s`."""
        with self._lock:
            self._ended = True
            self._hide(delay_s)

    def _hide(self, seconds: float) -> None:
        updated = self._client.update_message(self._id, pop_receipt=self._receipt, visibility_timeout=round(seconds))
        self._receipt = updated.pop_receipt

    def delete(self) -> None:
        """Be done."""
        with self._lock:
            self._ended = True
            self._client.delete_message(self._id, self._receipt)


@dataclass(frozen=True)
class Rules:
    """How a listener treats its messages."""

    parallelism: int
    attempts: int
    retry_delay_s: float
    lease_s: float
    idle_s: float = IDLE_S


class Listener:
    """Takes messages from one queue and awaits `handle(message)` for each, several at a time."""

    def __init__(
        self,
        queues: Queues,
        storage: Storage,
        keeper: Keeper,
        client: QueueClient,
        rules: Rules,
        handle: Callable[[QueueMessage], Awaitable[None]],
        poison: Callable[[QueueMessage], tuple[Account, str] | None],
    ) -> None:
        """Start nothing yet. `poison` says where a message goes after its last attempt; None: it stays and returns."""
        self._queues, self._storage, self._keeper, self._client = queues, storage, keeper, client
        self._rules, self._handle, self._poison = rules, handle, poison
        self._wake = queues.event(client)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = self._told_absent = False

    def stop(self) -> None:
        """Take no further messages; those being handled go on."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Poll until stopped: at once while there is work, with growing pauses when there is none."""
        pause_s = BUSY_S
        while not self._stopping:
            free = self._rules.parallelism - len(self._tasks)
            if free <= 0:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                continue
            self._wake.clear()
            try:
                messages = await self._storage.run(self._receive, min(free, RECEIVE_AT_MOST))
            except ResourceNotFoundError:
                if not self._told_absent:
                    log.info("queue %s does not exist yet; waiting for it", self._client.queue_name)
                self._told_absent = True
                messages = []
            except AzureError as error:
                log.error("cannot read queue %s, trying again: %s", self._client.queue_name, error)  # noqa: TRY400
                await asyncio.sleep(1)
                continue
            for message in messages:
                task = asyncio.create_task(self._process(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if messages:
                pause_s = BUSY_S
            elif not self._stopping:
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, self._rules.idle_s)

    async def _pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until a message is put by this process."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    def _receive(self, count: int) -> list[QueueMessage]:
        """Ask once for up to `count` messages."""
        pages = self._client.receive_messages(
            messages_per_page=count, visibility_timeout=round(self._rules.lease_s)
        ).by_page()
        return list(next(pages, ()))

    async def _process(self, message: QueueMessage) -> None:
        held = _Held(self._client, message, self._rules.lease_s)
        what = f"message {message.id} of queue {self._client.queue_name}"
        attempt = message.dequeue_count or 1
        try:
            with self._keeper.keep(what, held.renew, self._rules.lease_s / 3):
                # Above the limit: earlier attempts died with their process, so it is not tried once more.
                if attempt <= self._rules.attempts or not self._poison(message):
                    done = await self._attempt(message, what, attempt)
                else:
                    done = False
                if not done:
                    await self._after_failure(message, held, what, attempt)
                    return
            await self._storage.run(held.delete)
        except AzureError as error:
            # Nothing is lost: the message becomes visible again when its lease ends.
            log.warning("%s cannot be finished and will come back: %s", what, error)

    async def _attempt(self, message: QueueMessage, what: str, attempt: int) -> bool:
        try:
            await self._handle(message)
        except FunctionFailedError:
            return False  # the worker has logged it
        except Exception:
            log.exception("%s failed at attempt %d", what, attempt)
            return False
        return True

    async def _after_failure(self, message: QueueMessage, held: _Held, what: str, attempt: int) -> None:
        target = self._poison(message)
        if target is None:
            # As on the platform: what fails in a poison queue stays, invisible until its lease ends.
            log.warning("%s failed %d times; it stays in its queue and comes back", what, attempt)
            await self._storage.run(held.release, self._rules.lease_s)
        elif attempt >= self._rules.attempts:
            account, queue = target
            await self._queues.put(account, queue, message.content)
            await self._storage.run(held.delete)
            log.error("%s failed %d times and went to queue %s", what, attempt, queue)
        else:
            await self._storage.run(held.release, self._rules.retry_delay_s)
            self._wake.set()
