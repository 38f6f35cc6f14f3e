"""Proves to Event Grid that its events are wanted here: by the code that it sends, or by asking the address it names.

Never asks any other address: who sends an event may write what they like into it.
"""

import re

import requests

from shared.errors import BadRequestError
from shared.log import log
from shared.pipelines.calls import new_session

_SERVICE = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)*\.eventgrid\.azure\.(net|cn|us)(:\d+)?/.*", re.IGNORECASE)
_WAIT_S = 5.0


def confirm(code: str, url: str) -> str:
    """Return what a validation event is answered with; empty when its address was asked.

    Raises BadRequestError when it cannot be confirmed.
    """
    if code:
        log("event_grid_handshake", by="code")
        return code
    if not _SERVICE.fullmatch(url):
        raise BadRequestError("A validation event needs a validationCode, or a validationUrl of Event Grid.")
    try:
        with new_session() as session:
            status = session.get(url, timeout=_WAIT_S, allow_redirects=False).status_code
    except requests.RequestException as error:
        raise BadRequestError(f"The validationUrl could not be asked: {type(error).__name__}.") from error
    log("event_grid_handshake", by="url", status=status)
    if status != 200:
        raise BadRequestError(f"The validationUrl answered {status}.")
    return ""
