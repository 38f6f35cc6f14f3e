"""What stands in front of the local servers: they ask nobody who is calling, so only this machine may be calling.

A page of another site that is open in a browser here can reach loopback, too: by a host name of its own that points
here (DNS rebinding), or by a request across sites. Both are refused. Never gives leave to other origins (CORS).
"""

import re

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

NAMES = ["127.0.0.1", "localhost"]
_OURS = re.compile(r"https?://(127\.0\.0\.1|localhost)(:[0-9]+)?")
_READS = ("GET", "HEAD", "OPTIONS")


class SameSite:
    """Refuses what a page of another site sends, reads aside: their answers no such page can see."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or hand over."""
        if scope["type"] == "http" and scope["method"] not in _READS:
            headers = Headers(scope=scope)
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            if (origin is not None and not _OURS.fullmatch(origin)) or site == "cross-site":
                refusal = PlainTextResponse("Refused: this comes from a page of another site.\n", status_code=403)
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def guards() -> list[Middleware]:
    """Return both guards."""
    return [Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False), Middleware(SameSite)]
