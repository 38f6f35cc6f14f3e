"""The log: one line an event, `event name=value ...`, readable at three in the morning and by a query.

Never logs tokens, keys, connection strings or the content of training data.
"""

import json
import logging

logger = logging.getLogger("retrain")


def log(event: str, level: int = logging.INFO, **fields: object) -> None:
    """Write one event. `fields` with the value None are left out; text with spaces or quotes is quoted as JSON."""
    words = [event, *(f"{name}={_text(value)}" for name, value in fields.items() if value is not None)]
    logger.log(level, " ".join(words))


def _text(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text != "" and not any(mark in text for mark in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=False)
