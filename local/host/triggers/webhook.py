"""Blob detection by Event Grid: the platform's webhook, `/runtime/webhooks/blobs?functionName=Host.Functions.<name>`.

Answers 202 only when each event's message is stored. As on the platform, it looks at data.url, data.eTag and
data.blobType alone: event type, path pattern and duplicates are not its business. Nothing is ever polled.
"""

import ipaddress
import json
import logging
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.host.triggers.blob import BlobTriggers, BlobVersion, quoted

log = logging.getLogger("host.webhook")

PATH = "/runtime/webhooks/blobs"
LONGEST = 12_000  # characters of a URL: a name of 1,024, each escaped as nine; a queue takes messages of 64 KiB


def route(blobs: BlobTriggers) -> Route:
    """Return the webhook's route."""

    async def webhook(request: Request) -> Response:
        if request.method == "OPTIONS":
            return _allow(request)
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return Response(status_code=202)
        if kind not in ("subscriptionvalidation", "notification"):
            return _refuse(f"the header aeg-event-type is {kind!r}; expected SubscriptionValidation or Notification")
        try:
            content = json.loads(await request.body())
            events = content if isinstance(content, list) else [content]
            if kind == "subscriptionvalidation":
                code = events[0]["data"]["validationCode"]
                log.info("Event Grid handshake for %s", request.query_params.get("functionName"))
                return JSONResponse({"validationResponse": code})
            versions = [parse(event) for event in events]
        except RecursionError:
            return _refuse("not a blob event of Event Grid: its JSON is nested too deep")
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return _refuse(f"not a blob event of Event Grid: {error!r}")
        return await _notify(blobs, request.query_params.get("functionName", ""), versions)

    return Route(PATH, webhook, methods=["POST", "OPTIONS"])


async def _notify(blobs: BlobTriggers, function_id: str, versions: list[BlobVersion]) -> Response:
    trigger = blobs.by_id.get(function_id)
    if trigger is None:
        log.debug("%d events for %r dropped: the app has no such blob function", len(versions), function_id)
        return Response(status_code=202)
    for version in versions:
        await blobs.enqueue(trigger, version)
    return Response(status_code=202)


def parse(event: Any) -> BlobVersion:
    """Read an event of either schema. Raises ValueError, KeyError or TypeError when it is no blob event."""
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        raise TypeError("an event is an object with an object as its data")
    data = event["data"]
    url, etag, kind = data["url"], data.get("eTag") or "", data.get("blobType") or "BlockBlob"
    for name, value in (("url", url), ("eTag", etag), ("blobType", kind)):
        if not isinstance(value, str):
            raise TypeError(f"data.{name} is {type(value).__name__}; expected text")
        value.encode()  # half a surrogate pair is no text
        if len(value) > LONGEST:
            raise ValueError(f"data.{name} has {len(value):,} characters; no blob's has more than {LONGEST:,}")
    container, blob = blob_of(url)
    return BlobVersion(container, blob, quoted(etag), kind)


def blob_of(url: str) -> tuple[str, str]:
    """Return container and blob name of a blob's URL; the account it names is ignored."""
    # A name may hold a bare '#', so it is no fragment here; a '?' begins a query (a snapshot or version).
    host, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    if _has_account_in_path(urlsplit(f"//{host}").hostname or ""):
        path = path.partition("/")[2]
    container, _, blob = path.partition("/")
    if not container or not blob:
        raise ValueError(f"{url!r} is no URL of a blob")
    return unquote(container), unquote(blob)


def _has_account_in_path(host: str) -> bool:
    """Tell whether the path begins with the account, as with Azurite, instead of the host name."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _allow(request: Request) -> Response:
    """Answer the handshake of CloudEvents."""
    origin = request.headers.get("webhook-request-origin")
    if not origin:
        return _refuse("OPTIONS without WebHook-Request-Origin is no handshake of CloudEvents")
    return Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})


def _refuse(problem: str) -> Response:
    log.warning("webhook refused a request: %s", problem)
    return PlainTextResponse(problem, status_code=400)
