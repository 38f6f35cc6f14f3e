"""Adapters between Azure Functions and `shared/`: decode, call one thing there, answer.

Despite the name there is no logic here: read `shared/flow.py` for that. One blueprint a file. Never decides anything.
"""

import logging
from collections.abc import Iterator

import azure.functions as func

from functions import blob, operate, poison, timer, webhook
from shared import settings
from shared.errors import ConfigurationError
from shared.events import log


def blueprints() -> Iterator[func.Blueprint]:
    """Return what to register. With a faulty configuration only the HTTP functions, which report the faults."""
    yield webhook.blueprint
    yield operate.blueprint
    try:
        configured = settings.load()
    except ConfigurationError as error:
        log("not_configured", logging.ERROR, reason=error)
    else:
        yield blob.blueprint(configured)
        yield timer.blueprint(configured)
        yield poison.blueprint(configured)
