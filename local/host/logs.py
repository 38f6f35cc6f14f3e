"""Logging of the host and of the app it runs: readable lines on stderr.

Never touches stdout, which carries the one line that says the host is ready.
"""

import logging

from local.printable import handler

_CHATTER = ("azure", "azure.functions", "urllib3", "uvicorn", "asyncio")  # libraries: only from a warning on


def set_up(level: int) -> None:
    """Log everything to stderr, readable; the chatter of libraries only from a warning on."""
    shown = handler("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    logging.basicConfig(level=level, handlers=[shown], force=True)
    for name in _CHATTER:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
