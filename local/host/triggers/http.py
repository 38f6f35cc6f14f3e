"""HTTP triggers: the app's routes, requests handed over and responses given back as the platform does.

No key is ever asked for: as with Core Tools, the authorisation level counts in Azure only.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.host.bindings import HttpTrigger
from local.host.errors import SettingsError
from local.host.messages import Message, http
from local.host.worker import Worker

log = logging.getLogger("host.http")

# Route constraints by their expressions; values stay text, as functions get them. Others are refused at the start.
_GUID = r"\{?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?"
_CONSTRAINTS = {
    "guid": _GUID,
    "int": r"[+-]?[0-9]{1,10}",
    "long": r"[+-]?[0-9]{1,19}",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])",
    "decimal": r"[+-]?[0-9]+(?:\.[0-9]+)?",
    "double": r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?",
    "text": r"[^/]+",
    "rest": r"[\s\S]*",
}
_PARAMETER = re.compile(r"\{(?P<rest>\*{0,2})(?P<name>[A-Za-z_]\w*)(?::(?P<constraint>[a-z]+))?(?P<optional>\??)\}")
_BODILESS = (204, 205, 304)
_HEADER = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")


class _Text(Convertor[str]):
    """A part of a path that keeps its text."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


for _name, _regex in _CONSTRAINTS.items():
    register_url_convertor(f"host_{_name}", type(_name, (_Text,), {"regex": _regex})())


class _Route(Route):
    """A route that matches as ASP.NET does: in any case, with or without a slash at the end, these methods exactly."""

    def __init__(self, path: str, endpoint: Any, methods: Iterable[str], body_limit: int) -> None:
        super().__init__(path, endpoint, max_body_size=body_limit)
        self.methods = set(methods)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"/?\Z", re.IGNORECASE)


def routes(triggers: Iterable[HttpTrigger], worker: Worker, prefix: str, body_limit: int) -> list[Route]:
    """Return the app's routes, the more literal ones first. Raises SettingsError for a template it cannot serve."""
    found: list[tuple[tuple[int, ...], Route]] = []
    for trigger in triggers:
        endpoint = _endpoint(trigger, worker)
        for template in _alternatives(trigger):
            path = "/" + "/".join(part for part in (prefix, _starlette_path(template, trigger)) if part)
            route = _Route(path, endpoint, trigger.methods or _METHODS, body_limit)
            found.append((_rank(template), route))
    return [route for _, route in sorted(found, key=lambda pair: pair[0])]


def _alternatives(trigger: HttpTrigger) -> list[str]:
    """Return the template with and without its last segment where that may be missing."""
    head, _, last = trigger.route.rpartition("/")
    match = _PARAMETER.fullmatch(last)
    optional = match is not None and bool(match["optional"] or match["rest"])
    return [trigger.route, head] if optional else [trigger.route]


def _starlette_path(template: str, trigger: HttpTrigger) -> str:
    def convert(match: re.Match[str]) -> str:
        constraint = "rest" if match["rest"] else match["constraint"] or "text"
        if constraint not in _CONSTRAINTS:
            raise SettingsError(
                f"function {trigger.function.name}, route {trigger.route!r}: the constraint {constraint!r} is not done "
                f"by this host; it does {', '.join(sorted(_CONSTRAINTS.keys() - {'text', 'rest'}))}"
            )
        return f"{{{match['name']}:host_{constraint}}}"

    path = _PARAMETER.sub(convert, template)
    if re.search(r"[{}]", re.sub(r"\{\w+:host_\w+\}", "", path)):
        raise SettingsError(f"function {trigger.function.name}, route {trigger.route!r}: not done by this host")
    return path


def _rank(template: str) -> tuple[int, ...]:
    """Order segments literal, constrained, free, catch-all, so that the more exact route is asked first."""

    def rank(segment: str) -> int:
        match = _PARAMETER.search(segment)
        if match is None:
            return 0
        return 3 if match["rest"] else 1 if match["constraint"] or match[0] != segment else 2

    return tuple(rank(segment) for segment in template.split("/"))


def _endpoint(trigger: HttpTrigger, worker: Worker) -> Any:
    async def endpoint(request: Request) -> Response:
        data = http(
            method=request.method,
            url=_url(request),
            headers=_joined(request.headers),
            params={name: value for name, value in request.path_params.items() if value},
            query={name: value for name, value in _joined(request.query_params).items() if value},
            # The platform hands over no body unless its length was announced: a chunked request arrives empty.
            body=await request.body() if int(request.headers.get("content-length", 0)) > 0 else b"",
        )
        outcome = await worker.invoke(
            trigger.function,
            {trigger.parameter: data},
            {},
            reason=f"{request.method} {request.url.path}",
            trace_parent=request.headers.get("traceparent", ""),
        )
        if not outcome.ok:
            return Response(status_code=500)
        try:
            return _checked(_response(outcome.value), request.method)
        except (ValueError, CookieError) as error:
            log.error("%s gave what is no answer over HTTP: %s", trigger.function.name, error)  # noqa: TRY400
            return Response(status_code=500)

    return endpoint


def _url(request: Request) -> str:
    path = request.scope["raw_path"].decode("latin-1")
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.scheme}://{request.url.netloc}{path}{query}"


def _joined(values: Headers | QueryParams) -> dict[str, str]:
    """Return one text a name, repeated ones joined by commas, empty ones left out of the join."""
    return {name: ",".join(filter(None, values.getlist(name))) for name in values.keys()}  # noqa: SIM118 - a multidict


def _response(value: Message | None) -> Response:
    """Return the function's answer; text alone is a plain 200."""
    if value is None:
        return Response(status_code=204)
    answer = value.get("http")
    if answer is None:
        return Response(_content(value), media_type="text/plain")
    headers: Mapping[str, str] = answer.headers
    response = Response(_content(answer.body), status_code=int(answer.status_code), headers=headers)
    for cookie in answer.cookies or ():
        response.raw_headers.append((b"set-cookie", _cookie(cookie).encode("latin-1")))
    return response


def _checked(response: Response, method: str) -> Response:
    """Return an answer that can be sent. Raises ValueError saying what keeps it from that."""
    if not 200 <= response.status_code <= 599:
        raise ValueError(f"the status is {response.status_code}; expected 200 to 599")
    if response.status_code in _BODILESS:
        response.body = b""
    for name, value in response.raw_headers:
        if not _HEADER.fullmatch(name) or _CONTROL.search(value):
            raise ValueError(f"the header {name!r} is {value!r}")
        if name == b"content-length" and value != b"%d" % len(response.body) and method != "HEAD":
            raise ValueError(f"Content-Length is {value!r}; the body has {len(response.body):,} bytes")
    return response


def _content(body: Message | None) -> bytes:
    """Return the bytes of typed data, which may be text, JSON text or bytes."""
    if body is None:
        return b""
    value = next(iter(vars(body).values()), b"")
    return value if isinstance(value, bytes) else str(value).encode()


def _cookie(cookie: Message) -> str:
    """Return the value of Set-Cookie."""
    jar = SimpleCookie()
    jar[cookie.get("name")] = cookie.get("value")
    morsel = jar[cookie.get("name")]
    for attribute, field in {"domain": "domain", "path": "path", "secure": "secure", "httponly": "http_only"}.items():
        if (found := cookie.get(field)) is not None and found.value:
            morsel[attribute] = found.value
    if (age := cookie.get("max_age")) is not None:
        morsel["max-age"] = int(age.value)
    if (expires := cookie.get("expires")) is not None:
        morsel["expires"] = formatdate(expires.value.seconds, usegmt=True)
    if same_site := {1: "Lax", 2: "Strict", 3: "None"}.get(cookie.get("same_site")):
        morsel["samesite"] = same_site
    return morsel.OutputString()
