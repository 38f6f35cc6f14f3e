"""What of storage's events is left lying: the queue that they wait in, those of poison, dead letters.

Looks at messages without taking them, and reads the small letters. Never removes or puts back anything.
"""

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared import reading
from shared.app import App
from shared.errors import ConfigurationError, StorageError
from shared.operate.findings import Finding
from shared.operate.subscribed import QUEUE
from shared.rules.decision import Skip
from shared.rules.events import announced, read
from shared.settings.model import DEFAULT_CONNECTION
from shared.storage.accounts import container_client, queue_client, storage_errors

POISON = f"{QUEUE}-poison"
BLOB_POISON = "webjobs-blobtrigger-poison"
DEAD_LETTERS = "dead-letters"
LONG = timedelta(minutes=10)
"""What waits longer than this is not just about to be taken."""
PEEKED, LISTED, READ = 32, 1000, 200
LARGEST = 1 << 20  # bytes; an event has 1 MB at most
READER = "Give the identity that looks 'Storage {} Data Reader' on the account, or mend the connection string."


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message that lies in a queue."""

    text: str
    put_at: datetime


class Letter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event that could not be delivered, as far as it counts here."""

    subject: str = ""
    dead_letter_reason: str = ""
    last_delivery_outcome: str = ""

    @property
    def reason(self) -> str:
        """Why, in Event Grid's own words."""
        return ", ".join(filter(None, (self.dead_letter_reason, self.last_delivery_outcome))) or "no reason given"


def poison_queues(app: App) -> list[tuple[str, str]]:
    """Return where the platform puts what failed each time: connection and queue."""
    if app.settings.events == "queue":
        return [(DEFAULT_CONNECTION, POISON)]
    connections = {store.connection for store in app.settings.datastores.values()}
    return [(connection, BLOB_POISON) for connection in sorted(connections)]


def queues(app: App, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Is the queue of events there, is anything left in it, or among the poison?"""
    if app.settings.events == "queue":
        yield _waiting(environ)
    for connection, name in poison_queues(app):
        yield _poison(connection, name, environ)


def _waiting(environ: Mapping[str, str]) -> Finding:
    where = f"queue {QUEUE}"
    try:
        count, messages = peeked(DEFAULT_CONNECTION, QUEUE, environ)
    except (StorageError, ConfigurationError) as error:
        if getattr(error, "status", None) != 404:
            return Finding("warning", where, str(error), READER.format("Queue"))
        cure = f"`azd provision` makes it, or az storage queue create --name {QUEUE} in the account of the app."
        return Finding(
            "fault", where, "it is not there: events have nowhere to go, and the function none to take", cure
        )
    oldest = min((message.put_at for message in messages), default=None)
    if oldest and datetime.now(UTC) - oldest > LONG:
        what = f"{count:,} events wait, the oldest that shows since {oldest:%Y-%m-%d %H:%M:%S} UTC"
        return Finding("warning", where, what, "Does the function `events` run? Its failures are in the app's log.")
    return Finding("ok", where, f"{count:,} events wait" if count else "is there, and empty")


def _poison(connection: str, name: str, environ: Mapping[str, str]) -> Finding:
    where = f"queue {name}" if connection == DEFAULT_CONNECTION else f"queue {name} ({connection})"
    try:
        count, messages = peeked(connection, name, environ)
    except (StorageError, ConfigurationError) as error:
        if getattr(error, "status", None) == 404:
            return Finding("ok", where, "is not there: nothing has failed so far")
        return Finding("warning", where, str(error), READER.format("Queue"))
    if not count:
        return Finding("ok", where, "is empty")
    since = min((message.put_at for message in messages), default=None)
    shown = f", since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
    function = "events_poison" if name == POISON else "bury"
    cure = (
        f"`{function}` takes them within seconds, each to its row or a `dead` one: does it run? "
        "Then `./retrain history --state dead` has the reasons, and `redrive` acts again."
    )
    return Finding("warning", where, f"{count:,} that failed each time{shown}", cure)


def peeked(connection: str, name: str, environ: Mapping[str, str]) -> tuple[int, list[Message]]:
    """Return how many messages are in a queue, and the first that show. Raises StorageError, ConfigurationError."""
    with queue_client(connection, name, environ) as client, storage_errors(f"queue {name!r} cannot be read"):
        count = client.get_queue_properties().approximate_message_count or 0
        found = client.peek_messages(PEEKED) if count else []
        told = [Message(text=str(one.content), put_at=one.inserted_on) for one in found if one.inserted_on]
    return count, told


def names(message: Message, container: str, path: str) -> bool:
    """Tell whether a message of poison is about a blob: the host's own form, or events as Event Grid sends them."""
    try:
        content = base64.b64decode(message.text, validate=True)
    except ValueError:
        content = message.text.encode()
    try:
        told = msgspec.json.decode(content)
        if isinstance(told, dict) and "BlobName" in told:
            return (told.get("ContainerName"), told["BlobName"]) == (container, path)
        found = [announced(event) for event in read({}, told)]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return False
    return any(not isinstance(one, Skip) and (one.at.container, one.at.path) == (container, path) for one in found)


# Dead letters


def letters(container: str, environ: Mapping[str, str], configured: bool) -> Finding | None:
    """Is there anything among the dead letters? None: no container, and no subscription that names it."""
    where = f"container {container}"
    try:
        with container_client(DEFAULT_CONNECTION, container, environ) as client:
            found, more = _listed(client)
            newest = next((one for blob in found[:READ] if (one := _read(client, blob.name))), [])
    except (StorageError, ConfigurationError) as error:
        if getattr(error, "status", None) != 404:
            return Finding("warning", where, str(error), READER.format("Blob"))
        if not configured:
            return None
        what = "it is not there: what cannot be delivered leaves no trace"
        return Finding("warning", where, what, "`azd provision` makes it.")
    if not found:
        return Finding("ok", where, "no dead letters")
    count = f"{len(found):,}{' or more' if more else ''}"
    told = f": {newest[0].reason}, {newest[0].subject}" if newest else ""
    what = f"{count} dead letters, the newest of {found[0].last_modified:%Y-%m-%d %H:%M:%S} UTC{told}"
    cure = "The search finds their blobs by itself. Mend the reason; then delete the letters, they are for people."
    return Finding("warning", where, what, cure)


def letter_about(container: str, environ: Mapping[str, str], subject: str) -> tuple[Letter, datetime] | None:
    """Return the newest dead letter about a blob, and when it was written, among the newest ones.

    Raises StorageError, ConfigurationError.
    """
    with container_client(DEFAULT_CONNECTION, container, environ) as client:
        for blob in _listed(client)[0][:READ]:
            for letter in _read(client, blob.name):
                if letter.subject == subject:
                    return letter, blob.last_modified
    return None


def _listed(client: ContainerClient) -> tuple[list[Any], bool]:
    """Return the letters that a listing begins with, newest first, and whether there are more."""
    with storage_errors(f"container {client.container_name!r} cannot be read"):
        page = next(client.list_blobs(results_per_page=LISTED).by_page(), None)
        found = sorted(page or [], key=lambda blob: blob.last_modified, reverse=True)
    return found, len(found) == LISTED


def _read(client: ContainerClient, name: str) -> list[Letter]:
    """Return the events of a letter; none of what is no letter."""
    with storage_errors(f"blob {name!r} cannot be read"):
        try:
            content = client.download_blob(name, offset=0, length=LARGEST).readall()
        except ResourceNotFoundError:  # deleted just now
            return []
    try:
        return reading.decode(content, list[Letter])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
