"""A stand-in for Event Grid, which has no emulator: turns uploads to Azurite into `BlobCreated` events, and delivers.

    python -m local.events --storage "<connection string>" --container training-data --to "<webhook>"
    python -m local.events --storage "<connection string>" --container training-data --queue retrain-events

prints `events ready` once the webhook has passed the handshake, or the queue was found; `./retrain start --events grid`
and `--events queue` start it. As a library: `EventGrid(...)` as a context manager, and `publish(blob)` where nothing is
to be watched.

As the service does it: an event is sent alone, at least once, in no order; delivered is what is answered 200 to 204
within 30 s; 400, 401, 403 and 413 end it at once; all else is tried again on the service's schedule, up to 24 hours or
30 attempts; what ends undelivered goes to the dead-letter container, where there is one. In a queue each event is a
message of its own, one object as base64; 400, 403 and 413 end it there. Source: Microsoft Learn, "Event Grid message
delivery and retry", "Azure Blob Storage as an Event Grid source", "Webhook event delivery", "Storage queue as an event
handler".

Differs: it finds uploads by listing containers, so of two versions within one interval the first raises no event, and a
change of metadata alone does; deletions raise none, and renames only by `publish`; only the handshake answered at
once is done; dead letters are written at once; no batches; a webhook that is down is not put on probation; a queue is
in the account of the blobs, and no identity is asked for.

Never remembers anything over a restart, and never calls anything but loopback.
"""

import asyncio
import base64
import ipaddress
import itertools
import json
import logging
import random
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import click
import httpx
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobProperties, BlobServiceClient, BlobType
from azure.storage.queue import QueueServiceClient

from local.printable import handler

log = logging.getLogger("events")

CREATED, RENAMED = "Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobRenamed"
WAIT_S = 30.0  # for a webhook's answer; never sped up, since the webhook is not
PAUSES_S = (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600)  # before the second attempt, the third, ...
LATER_S = 43200  # before each attempt after those
SPREAD = 0.1  # "a small randomization to all retry steps"
LATE_S = 10.0  # a duplicate, or an event out of order, comes up to so much later
DELIVERED = {200, 201, 202, 203, 204}
FINAL = {400, 401, 403, 413}
FINAL_OF_QUEUES = {400, 403, 413}
AT_ONCE = 32  # deliveries under way at the same time
ORIGIN = "eventgrid.azure.net"
TOPIC = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/retrain-local"
    "/providers/Microsoft.Storage/storageAccounts/"
)


class HandshakeError(RuntimeError):
    """A webhook did not prove that it wants events, or there is no such queue; the message says how it answered."""


class Schema(StrEnum):
    """The form of events; the names are Azure's."""

    EVENT_GRID = "EventGridSchema"
    CLOUD_EVENTS = "CloudEventSchemaV1_0"


@dataclass(frozen=True)
class Blob:
    """One version of one blob that was just written."""

    container: str
    name: str
    etag: str
    size: int
    written: datetime
    content_type: str = "application/octet-stream"
    blob_type: str = "BlockBlob"
    api: str = "PutBlob"
    renamed_from: str = ""
    """Its name before, where it was not written but renamed, as hierarchical accounts do."""

    @classmethod
    def of(cls, properties: BlobProperties, api: str = "PutBlob") -> Self:
        """Read what the storage SDK says of a blob."""
        return cls(
            container=str(properties.container),
            name=str(properties.name),
            etag=str(properties.etag).strip('"'),
            size=properties.size,
            written=properties.last_modified,
            content_type=properties.content_settings.content_type or "application/octet-stream",
            blob_type=BlobType(properties.blob_type).value,
            api=api,
        )

    @property
    def event_type(self) -> str:
        """What has happened to it."""
        return RENAMED if self.renamed_from else CREATED

    @property
    def subject(self) -> str:
        """What subscriptions filter by."""
        return f"/blobServices/default/containers/{self.container}/blobs/{self.name}"


@dataclass(frozen=True)
class Subscription:
    """Who gets which events, and in which form."""

    to: Sequence[str] = ()
    """The webhook. Several addresses stand for the instances behind one: each attempt goes to one, by chance."""
    queue: str = ""
    """The Storage queue, in place of a webhook."""
    name: str = "local"
    schema: Schema = Schema.EVENT_GRID
    subject_begins_with: str = ""
    subject_ends_with: str = ""
    BLOBS: ClassVar = (CREATED, RENAMED)
    """All that this stand-in raises."""
    event_types: frozenset[str] = frozenset({CREATED})
    dead_letter: str | None = None
    """Container for what could not be delivered."""
    most_attempts: int = 30
    life_s: float = 86400
    """An event is given up when its next attempt would be later than this."""

    def wants(self, event_type: str, subject: str) -> bool:
        """Tell whether an event passes the filters; subjects are compared in any case, as by default in Azure."""
        subject = subject.lower()
        return (
            event_type in self.event_types
            and subject.startswith(self.subject_begins_with.lower())
            and subject.endswith(self.subject_ends_with.lower())
        )


class EventGrid:
    """The stand-in, running in a thread of its own; a context manager."""

    def __init__(
        self,
        storage: str,
        subscriptions: Sequence[Subscription],
        *,
        watch: Sequence[str] = (),
        speed: float = 1,
        duplicates: float = 0,
        disorder: float = 0,
        seed: int = 0,
        interval_s: float = 0.25,
        wait_s: float = WAIT_S,
    ) -> None:
        """Start nothing yet. Raises ValueError for an address that is not loopback.

        `watch`: containers whose uploads raise events. `speed` divides the pauses between attempts. `duplicates` and
        `disorder`: the share of events that are delivered twice, or late; which ones, `seed` says.
        """
        self._storage = storage
        services = [kind.from_connection_string(storage).url for kind in (BlobServiceClient, QueueServiceClient)]
        for address in [*services, *(to for s in subscriptions for to in s.to)]:
            _require_loopback(address)
        self._subscriptions, self._watched = subscriptions, {container: dict[str, str]() for container in watch}
        self._speed, self._duplicates, self._disorder, self._seed = speed, duplicates, disorder, seed
        self._interval_s, self._wait_s = interval_s, wait_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="events", daemon=True)
        self._tasks, self._watching = set[asyncio.Task[None]](), set[asyncio.Task[None]]()
        self._published = Counter[str]()
        self._sequence = 0
        self.counts = Counter[str]()
        """Events by what came of them, `published`, `delivered`, `dropped`, `dead-lettered`; and failed `attempts`."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Validate the targets, note what is in the containers, and watch. Raises HandshakeError and AzureError."""
        self._thread.start()
        try:
            self._call(self._begin())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End; what is not delivered yet is forgotten."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def publish(self, blob: Blob) -> None:
        """Raise the event of a blob, whether its container is watched or not; waits for no delivery."""

        async def accept() -> None:
            self._accept(blob)

        self._call(accept())

    @property
    def pending(self) -> int:
        """How many deliveries are under way, or wait for their next attempt."""
        return len(self._tasks)

    def _call[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _begin(self) -> None:
        self._blobs = BlobServiceClient.from_connection_string(self._storage)
        self._queues = QueueServiceClient.from_connection_string(self._storage, retry_total=0)  # we try again
        self._http = httpx.AsyncClient(timeout=self._wait_s, trust_env=False)
        self._free = asyncio.Semaphore(AT_ONCE)
        for subscription in self._subscriptions:
            for address in subscription.to:
                await self._validate(subscription, address)
            if subscription.queue:
                await self._find(subscription.queue)
        for container, known in self._watched.items():
            known |= {str(blob.name): str(blob.etag) for blob in await asyncio.to_thread(self._list, container)}
        if self._watched:
            self._watching.add(asyncio.create_task(self._watch()))

    async def _end(self) -> None:
        for task in self._tasks | self._watching:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._watching, return_exceptions=True)
        await self._http.aclose()
        self._queues.close()
        self._blobs.close()

    # Finding uploads

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            for container, known in self._watched.items():
                try:
                    for blob in await asyncio.to_thread(self._news, container, known):
                        self._accept(blob)
                except AzureError as error:
                    log.error("cannot list container %s, trying again: %s", container, error)  # noqa: TRY400

    def _list(self, container: str) -> list[BlobProperties]:
        """List a container; one that is not there yet is empty."""
        try:
            return list(self._blobs.get_container_client(container).list_blobs())
        except ResourceNotFoundError:
            return []

    def _news(self, container: str, known: dict[str, str]) -> list[Blob]:
        """Return the new versions in a container, oldest first, and note them as known."""
        listed = self._list(container)
        new = [blob for blob in listed if known.get(str(blob.name)) != blob.etag]
        # What is appended to, or written page by page, raises an event when it is created only.
        new = [blob for blob in new if blob.blob_type == BlobType.BLOCKBLOB or str(blob.name) not in known]
        found = [Blob.of(blob, self._api(blob)) for blob in sorted(new, key=lambda blob: blob.last_modified)]
        known.clear()
        known |= {str(blob.name): str(blob.etag) for blob in listed}
        return found

    def _api(self, blob: BlobProperties) -> str:
        """Return how a blob was written: a block list has been committed, or the content came in one piece."""
        if blob.blob_type != BlobType.BLOCKBLOB:
            return "PutBlob"
        client = self._blobs.get_blob_client(str(blob.container), str(blob.name))
        try:
            committed, _ = client.get_block_list("committed")
        except ResourceNotFoundError:  # gone already
            return "PutBlob"
        return "PutBlockList" if committed else "PutBlob"

    # Events

    def _accept(self, blob: Blob) -> None:
        """Begin the deliveries of a blob's event."""
        self._published[blob.subject] += 1
        # By name and not by moment: the same uploads meet the same fate, in whichever order they come.
        chance = random.Random(f"{self._seed} {blob.subject} {self._published[blob.subject]}")
        self._sequence += 1
        self.counts["published"] += 1
        identity, data = str(uuid.UUID(int=chance.getrandbits(128), version=4)), self._data(blob)
        for subscription in self._subscriptions:
            if not subscription.wants(blob.event_type, blob.subject):
                continue
            event = _event(subscription.schema, identity, self._topic, blob, data)
            late = [chance.uniform(0, LATE_S) if chance.random() < self._disorder else 0.0]
            if chance.random() < self._duplicates:
                late.append(chance.uniform(0, LATE_S))
            for delay in late:
                task = self._loop.create_task(
                    self._deliver(subscription, event, delay / self._speed, random.Random(chance.random()))
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    @property
    def _topic(self) -> str:
        return TOPIC + str(self._blobs.account_name)

    def _data(self, blob: Blob) -> dict[str, Any]:
        url = self._blobs.get_blob_client(blob.container, blob.name).url
        if blob.renamed_from:
            source = self._blobs.get_blob_client(blob.container, blob.renamed_from).url
            return {"api": blob.api, "sourceUrl": source, "destinationUrl": url, "sequencer": f"{self._sequence:032x}"}
        return {
            "api": blob.api,
            "clientRequestId": str(uuid.uuid4()),
            "requestId": str(uuid.uuid4()),
            "eTag": blob.etag,
            "contentType": blob.content_type,
            "contentLength": blob.size,
            "blobType": blob.blob_type,
            "url": url,
            "sequencer": f"{self._sequence:032x}",
            "storageDiagnostics": {"batchId": str(uuid.uuid4())},
        }

    # Delivery

    async def _validate(self, subscription: Subscription, address: str) -> None:
        """Do the handshake of the subscription's schema. Raises HandshakeError."""
        try:
            async with asyncio.timeout(self._wait_s):
                if subscription.schema is Schema.CLOUD_EVENTS:
                    headers = {"WebHook-Request-Origin": ORIGIN, "WebHook-Request-Rate": "120"}
                    answer = await self._http.options(address, headers=headers)
                    proven = answer.headers.get("WebHook-Allowed-Origin") in (ORIGIN, "*")
                else:
                    code = str(uuid.uuid4())
                    event = _validation(self._topic, code)
                    answer = await self._post(subscription, address, "SubscriptionValidation", event)
                    proven = _echo(answer) == code
        except (httpx.HTTPError, TimeoutError) as error:
            raise HandshakeError(f"{address} does not answer: {type(error).__name__} {error}") from error
        if answer.status_code != HTTPStatus.OK or not proven:
            raise HandshakeError(
                f"{address} failed the handshake of {subscription.schema}: {answer.status_code} {answer.text[:200]!r}"
            )

    async def _find(self, queue: str) -> None:
        """Look whether a queue is there, as making a subscription does. Raises HandshakeError."""
        try:
            await asyncio.to_thread(self._queues.get_queue_client(queue).get_queue_properties)
        except ResourceNotFoundError as error:
            raise HandshakeError(f"There is no queue {queue} at {self._queues.url}; make it first.") from error

    async def _deliver(
        self, subscription: Subscription, event: dict[str, Any], delay: float, chance: random.Random
    ) -> None:
        """Bring one event to its end: delivered, dead-lettered or dropped."""
        await asyncio.sleep(delay)
        age, published = 0.0, datetime.now(UTC)
        for attempt in itertools.count(1):
            status, outcome = await self._attempt(subscription, event, attempt, chance)
            if status in DELIVERED:
                self.counts["delivered"] += 1
                log.info("delivered %s", event["subject"])
                return
            self.counts["attempts"] += 1
            pause = float(PAUSES_S[attempt - 1] if attempt <= len(PAUSES_S) else LATER_S)
            pause *= 1 + chance.uniform(0, SPREAD)
            age += pause
            if reason := _given_up(subscription, status, outcome, attempt, age):
                break
            pause /= self._speed
            log.warning("attempt %d of %s: %s; again in %.1f s", attempt, event["subject"], outcome, pause)
            await asyncio.sleep(pause)
        log.error("gave up %s after %d attempts: %s (%s)", event["subject"], attempt, reason, outcome)
        now = _time(datetime.now(UTC))
        note: dict[str, Any] = {"deadLetterReason": reason, "deliveryAttempts": attempt, "lastDeliveryOutcome": outcome}
        note |= {"publishTime": _time(published), "lastDeliveryAttemptTime": now}
        note |= {"lastHttpStatusCode": status} if status else {}
        await self._bury(subscription, {**event, **note})

    async def _attempt(
        self, subscription: Subscription, event: dict[str, Any], attempt: int, chance: random.Random
    ) -> tuple[int, str]:
        """Send an event once; return the status (0: none) and the outcome in a word."""
        try:
            async with self._free, asyncio.timeout(self._wait_s):
                if subscription.queue:
                    status = await self._put(subscription.queue, event)
                else:
                    address = chance.choice(subscription.to)
                    status = (await self._post(subscription, address, "Notification", event, attempt)).status_code
        except TimeoutError:
            return 0, "TimedOut"
        except (httpx.HTTPError, AzureError) as error:
            log.debug("%s: %s", event["subject"], error)
            return 0, "SocketError"
        known = status in {status.value for status in HTTPStatus}
        phrase = HTTPStatus(status).phrase if known else f"Status {status}"
        return status, phrase.replace(" ", "")

    async def _put(self, queue: str, event: dict[str, Any]) -> int:
        """Put an event into a queue; return the status. Raises AzureError where there is none."""
        text = base64.b64encode(json.dumps(event).encode()).decode()
        try:
            await asyncio.to_thread(self._queues.get_queue_client(queue).send_message, text)
        except HttpResponseError as error:
            if error.status_code is None:
                raise
            return error.status_code
        return HTTPStatus.CREATED

    async def _post(
        self, subscription: Subscription, address: str, kind: str, event: dict[str, Any], attempt: int = 1
    ) -> httpx.Response:
        cloud = subscription.schema is Schema.CLOUD_EVENTS
        headers = {
            "Content-Type": f"application/{'cloudevents+' if cloud else ''}json; charset=utf-8",
            "aeg-event-type": kind,
            "aeg-subscription-name": subscription.name.upper(),
            "aeg-delivery-count": str(attempt - 1),
        }
        if not cloud:
            versions = {"aeg-data-version": "dataVersion", "aeg-metadata-version": "metadataVersion"}
            headers |= {header: str(event[member]) for header, member in versions.items()}
        return await self._http.post(address, headers=headers, content=json.dumps(event if cloud else [event]))

    async def _bury(self, subscription: Subscription, letter: dict[str, Any]) -> None:
        """Write an event that could not be delivered to the dead-letter container; without one it is lost."""
        if subscription.dead_letter is None:
            self.counts["dropped"] += 1
            return
        now = datetime.now(UTC)
        folder = f"{subscription.name.upper()}/{now.year}/{now.month}/{now.day}/{now.hour}"
        client = self._blobs.get_blob_client(subscription.dead_letter, f"{folder}/{uuid.uuid4()}.json")
        try:
            await asyncio.to_thread(client.upload_blob, json.dumps([letter]))
        except AzureError as error:
            self.counts["dropped"] += 1
            log.error("cannot dead-letter %s: %s", letter["subject"], error)  # noqa: TRY400
        else:
            self.counts["dead-lettered"] += 1


def _given_up(subscription: Subscription, status: int, outcome: str, attempt: int, next_at: float) -> str:
    """Return why an event is not tried again after a failed attempt; empty: it is, at the age of `next_at`."""
    if status in (FINAL_OF_QUEUES if subscription.queue else FINAL):
        return f"UndeliverableDueToHttp{outcome}"
    if attempt >= subscription.most_attempts:
        return "MaxDeliveryAttemptsExceeded"
    return "TimeToLiveExceeded" if next_at > subscription.life_s else ""


def _event(schema: Schema, identity: str, topic: str, blob: Blob, data: dict[str, Any]) -> dict[str, Any]:
    """Return the event in the form of a schema."""
    kind, subject, time = blob.event_type, blob.subject, _time(blob.written)
    if schema is Schema.CLOUD_EVENTS:
        head = {"source": topic, "subject": subject, "type": kind, "time": time, "id": identity}
        return {**head, "specversion": "1.0", "data": data}
    told = {"topic": topic, "subject": subject, "eventType": kind, "eventTime": time, "id": identity}
    return {**told, "data": data, "dataVersion": "", "metadataVersion": "1"}


def _validation(topic: str, code: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "topic": topic,
        "subject": "",
        "data": {"validationCode": code},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": _time(datetime.now(UTC)),
        "metadataVersion": "1",
        "dataVersion": "2",
    }


def _echo(answer: httpx.Response) -> object:
    """Return the validation code that a webhook gives back, None where there is none."""
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get("validationResponse") if isinstance(body, dict) else None


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _require_loopback(address: str) -> None:
    """Raise ValueError unless an address is on this machine: a stand-in has no business elsewhere."""
    host = urlsplit(address).hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"{address} is not on this machine; events are delivered over loopback only.")


@click.command(help="Stand in for Event Grid: deliver an event for each upload to a container of Azurite.")
@click.option("--storage", required=True, help="Connection string of Azurite.")
@click.option("--container", "containers", required=True, multiple=True, help="Whose uploads; may be repeated.")
@click.option("--to", multiple=True, help="Webhook; repeated: instances of it, one by chance a time.")
@click.option("--queue", default="", help="Storage queue, in place of a webhook.")
@click.option(
    "--schema", type=click.Choice([schema.value for schema in Schema]), default="EventGridSchema", show_default=True
)
@click.option("--subject-begins-with", default="", help="Filter, as /blobServices/default/containers/C/blobs/PREFIX.")
@click.option("--subject-ends-with", default="", help="Filter, as .csv.")
@click.option("--speed", type=click.FloatRange(min=1), default=1, show_default=True, help="Divides the retry pauses.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0, show_default=True, help="Share delivered twice.")
@click.option("--disorder", type=click.FloatRange(0, 1), default=0, show_default=True, help="Share delivered late.")
@click.option("--seed", type=int, default=0, show_default=True, help="Says which ones.")
@click.option("--dead-letter", help="Container for what could not be delivered.")
def main(
    storage: str,
    containers: Sequence[str],
    to: Sequence[str],
    queue: str,
    schema: str,
    subject_begins_with: str,
    subject_ends_with: str,
    speed: float,
    duplicates: float,
    disorder: float,
    seed: int,
    dead_letter: str | None,
) -> None:
    """Deliver until SIGTERM or Ctrl-C; exit code 1 when the webhook fails the handshake."""
    logging.basicConfig(level=logging.WARNING, handlers=[handler("%(levelname)s %(message)s")])
    log.setLevel(logging.INFO)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    subscription = Subscription(
        to,
        queue,
        schema=Schema(schema),
        subject_begins_with=subject_begins_with,
        subject_ends_with=subject_ends_with,
        dead_letter=dead_letter,
    )
    try:
        grid = EventGrid(
            storage,
            [subscription],
            watch=[*containers],
            speed=speed,
            duplicates=duplicates,
            disorder=disorder,
            seed=seed,
        )
        if bool(to) == bool(queue):
            raise ValueError("Give --to or --queue.")
        if dead_letter in containers:
            raise ValueError(f"--dead-letter: {dead_letter} is watched; its own letters would raise events.")
        with grid:
            print("events ready", flush=True)
            while not over.wait(1):
                pass
    except (HandshakeError, ValueError, HttpResponseError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
