"""Storage events by way of a queue: Event Grid's subscription puts them there, and they wait while the app is down.

Never raises for a message that is no event, since it would be none the next time. What fails otherwise is raised: the
platform delivers it again, and after the last time moves it to the queue of poison, which has none of its own.
"""

from datetime import UTC, datetime

import azure.functions as func

from functions.http import json_from
from functions.messages import content_of
from shared.app import app
from shared.errors import BadRequestError
from shared.flow import send
from shared.operate.events import bury, deliver, unreadable
from shared.rules.events import Event, read
from shared.settings.model import DEFAULT_CONNECTION

QUEUE = "retrain-events"
POISON = f"{QUEUE}-poison"  # the platform's name for it

blueprint = func.Blueprint()


@blueprint.function_name("events")
@blueprint.queue_trigger(arg_name="message", queue_name=QUEUE, connection=DEFAULT_CONNECTION)
def events(message: func.QueueMessage) -> None:
    """Bring what an event tells of to its row, or to a skip. Raises StorageError: it comes again."""
    deliver(app(), _told(message, QUEUE), send.at_once)


@blueprint.function_name("events_poison")
@blueprint.queue_trigger(arg_name="message", queue_name=POISON, connection=DEFAULT_CONNECTION)
def events_poison(message: func.QueueMessage) -> None:
    """Bring what failed each time to its row, or to a `dead` one. Raises StorageError: it stays in its queue."""
    bury(app(), _told(message, POISON), message.insertion_time or datetime.now(UTC))


def _told(message: func.QueueMessage, queue: str) -> list[Event]:
    """Return the events of a message, none when there are none in it."""
    content = content_of(message)
    try:
        if not (told := read({}, json_from(content))):
            raise ValueError("there is none in it")
        return told
    except (BadRequestError, ValueError) as error:
        unreadable(app(), queue, message.id or "", content, error)
        return []
