"""The log: one line an event, `event name=value ...`, readable at three in the morning and by a query.

Never logs tokens, keys, connection strings or the content of training data.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import ConflictError, RetrainError, masked

logger = logging.getLogger("retrain")

# The storage SDK tells of each request in a dozen lines. host.json does not reach them: the host gets what the worker
# logs under the function's name.
logging.getLogger("azure.core").setLevel(logging.WARNING)


def log(event: str, level: int = logging.INFO, /, **fields: object) -> None:
    """Write one event. `fields` with the value None are left out; text with spaces or quotes is quoted as JSON."""
    words = [event, *(f"{name}={_text(value)}" for name, value in fields.items() if value is not None)]
    logger.log(level, " ".join(words))


@contextmanager
def logged(step: str, **fields: object) -> Iterator[None]:
    """Log what goes wrong in a step of the timer and go on: the next tick does the step again."""
    try:
        yield
    except ConflictError as error:  # another worker did it
        log(f"{step}_left", logging.INFO, **fields, reason=error)
    except RetrainError as error:
        log(f"{step}_failed", logging.ERROR, **fields, reason=error)
    except Exception as error:
        log(f"{step}_failed", logging.CRITICAL, **fields, reason=f"{type(error).__name__}: {error}")
        logger.exception("%s: this is a fault of the application", step)


def _text(value: object) -> str:
    text = masked(str(value))
    plain = text.isprintable() and text != "" and not any(mark in text for mark in ' "=')
    # What is not printable (line separators, marks that turn the direction of text) must not reach a terminal as it is.
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())
