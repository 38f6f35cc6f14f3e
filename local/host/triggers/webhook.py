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
from local.printable import printable

log = logging.getLogger("host.webhook")

PATH = "/runtime/webhooks/blobs"
LONGEST = 12_000  # characters of a URL: a name of 1,024, each escaped as nine


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
            events = _events(await request.body())
            if kind == "subscriptionvalidation":
                return _handshake(_function_id(request), events)
            await _notify(blobs, _function_id(request), [parse(event) for event in events])
        except ValueError as error:
            return _refuse(f"not a blob event of Event Grid: {error}")
        return Response(status_code=202)

    return Route(PATH, webhook, methods=["POST", "OPTIONS"])


def _function_id(request: Request) -> str:
    """Return whom the events are for, read as the platform does: the name in any case, several values by commas."""
    return ",".join(value for name, value in request.query_params.multi_items() if name.lower() == "functionname")


def _events(body: bytes) -> list[Any]:
    """Read a body: events, or one. Raises ValueError when it is no JSON."""
    try:
        content = json.loads(body)
    except RecursionError:
        raise ValueError("its JSON is nested too deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    except ValueError:
        raise ValueError("a number of its JSON has too many digits") from None
    return content if isinstance(content, list) else [content]


def _handshake(function_id: str, events: list[Any]) -> Response:
    """Give the code back. Raises ValueError when there is none."""
    code = _text(_data(events[0]), "validationCode") if events else ""
    if not code:
        raise ValueError("data.validationCode is missing")
    log.info("Event Grid handshake for %s", function_id)
    return JSONResponse({"validationResponse": code})


async def _notify(blobs: BlobTriggers, function_id: str, versions: list[BlobVersion]) -> None:
    """Queue the events; those for a function that the app does not have are lost. Raises ValueError as `enqueue`."""
    if trigger := blobs.by_id.get(function_id):
        await blobs.enqueue(trigger, *versions)
    else:
        log.debug("%d events for %r dropped: the app has no such blob function", len(versions), function_id)


def parse(event: Any) -> BlobVersion:
    """Read an event of either schema. Raises ValueError when it is no blob event."""
    data = _data(event)
    container, blob = blob_of(_text(data, "url"))
    return BlobVersion(container, blob, quoted(_text(data, "eTag")), _text(data, "blobType") or "BlockBlob")


def _data(event: Any) -> dict[str, Any]:
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        raise ValueError("an event is an object with an object as its data")
    data: dict[str, Any] = event["data"]
    return data


def _text(data: dict[str, Any], name: str) -> str:
    """Return a text of an event's data, empty when it is missing. Raises ValueError when it is none."""
    value = data.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"data.{name} is {type(value).__name__}; expected text")
    if len(value) > LONGEST:
        raise ValueError(f"data.{name} has {len(value):,} characters; no blob's has more than {LONGEST:,}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"data.{name} has half a surrogate pair") from None
    return value


def blob_of(url: str) -> tuple[str, str]:
    """Return container and blob name of a blob's URL; the account it names is ignored."""
    # A name may hold a bare '#', so it is no fragment here; a '?' begins a query (a snapshot or version).
    host, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    if _has_account_in_path(urlsplit(f"//{host}").hostname or ""):
        path = path.partition("/")[2]
    container, _, blob = path.partition("/")
    if not container or not blob:
        raise ValueError(f"data.url is {url!r}; expected the URL of a blob")
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
    return PlainTextResponse(printable(problem), status_code=400)
