"""Adapters between Azure Functions and `shared/`: decode, call one thing there, answer.

Despite the name there is no logic here: read `shared/flow/arrive.py` for that. One blueprint a file. Never decides
anything.
"""

import logging
from collections.abc import Iterator

import azure.functions as func

from functions import openapi, operate, timer, webhook
from shared.errors import ConfigurationError
from shared.log import log
from shared.settings import read

HTTP = (webhook.blueprint, operate.blueprint, openapi.blueprint)


def blueprints() -> Iterator[func.Blueprint]:
    """Return what to register. With a faulty configuration only the HTTP functions, which report the faults."""
    yield from HTTP
    try:
        configured = read.load()
    except ConfigurationError as error:
        log("not_configured", logging.ERROR, reason=error)
        return
    yield timer.blueprint(configured)
    # One way in by the platform's triggers: by both, each arrival would come twice, for nothing. The other is not even
    # loaded.
    if configured.events == "queue":
        from functions import events

        yield events.blueprint
    else:
        from functions import blob, poison

        yield blob.blueprint(configured)
        yield poison.blueprint(configured)
