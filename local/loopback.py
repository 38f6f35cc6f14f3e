"""What stands in front of the local servers: they ask nobody who is calling, so only this machine may be calling.

A page of another site that is open in a browser here can reach loopback, too: by a host name of its own that points
here (DNS rebinding), or by a request across sites. Both are refused. Never gives leave to other origins (CORS).
"""

import logging
import re

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from local.printable import printable

log = logging.getLogger("loopback")

_NAMES = r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{0,5})?"
_HOST = re.compile(_NAMES, re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(f"https?://{_NAMES}", re.IGNORECASE | re.ASCII)
_READS = ("GET", "HEAD", "OPTIONS")


class OnlyFromHere:
    """Answers 403 to requests for another host, and to those that a page of another site sends.

    Reads (GET, HEAD, OPTIONS) of such a page are answered: it does not get to see the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand over."""
        if scope["type"] == "http" and (problem := _problem(scope["method"], Headers(scope=scope))):
            log.warning("refused %s %s: %s", scope["method"], scope["path"], problem)
            await PlainTextResponse(f"Refused: {problem}.\n", status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _problem(method: str, headers: Headers) -> str:
    """Return what is wrong with a request's headers; empty: nothing."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        named = printable(", ".join(hosts)) or "missing"
        return f"the header Host is {named}; expected 127.0.0.1, localhost or [::1]"
    if method in _READS:
        return ""
    for origin in headers.getlist("origin"):
        if not _ORIGIN.fullmatch(origin):
            return f"the header Origin is {printable(origin) or 'empty'}; a page of another site may send nothing here"
    if "cross-site" in [site.strip().lower() for site in headers.getlist("sec-fetch-site")]:
        return "the header Sec-Fetch-Site is cross-site; a page of another site may send nothing here"
    return ""


def guards() -> list[Middleware]:
    """Return what every local server has in front."""
    return [Middleware(OnlyFromHere)]
