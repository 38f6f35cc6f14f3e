"""Arrivals that the platform has given up on, one queue for each connection of a blob trigger.

Never raises for a message that makes no sense: a queue of poison has none of its own, and it would come back for ever.
"""

import logging
from datetime import UTC, datetime

import azure.functions as func
import msgspec

from functions.messages import content_of
from shared import reading
from shared.app import app
from shared.flow import poison
from shared.log import log
from shared.settings.model import Settings

QUEUE = "webjobs-blobtrigger-poison"  # the platform's name for it, in the account of the trigger's connection


class Message(msgspec.Struct, rename="pascal"):
    """What the blob trigger leaves there; neither the error nor the number of tries is in it."""

    container_name: str
    blob_name: str
    e_tag: str = msgspec.field(name="ETag", default="")


def blueprint(settings: Settings) -> func.Blueprint:
    """Return a blueprint with a queue trigger for each connection of `settings`."""
    made = func.Blueprint()
    for number, connection in enumerate(sorted({store.connection for store in settings.datastores.values()})):
        _add(made, f"bury_{number}" if number else "bury", connection)
    return made


def _add(made: func.Blueprint, name: str, connection: str) -> None:
    @made.function_name(name)
    @made.queue_trigger(arg_name="message", queue_name=QUEUE, connection=connection)
    def bury(message: func.QueueMessage) -> None:
        body = content_of(message)
        try:
            told = reading.decode(body, Message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log("poison_unreadable", logging.ERROR, queue=QUEUE, reason=error, message=body[:500])
            return
        told_at, etag = message.insertion_time or datetime.now(UTC), told.e_tag.strip('"')
        for datastore in app().settings.datastores_on(connection, told.container_name):
            poison.bury(app(), datastore, told.blob_name, etag, told_at)
