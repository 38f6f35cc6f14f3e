"""HTTP answers: JSON, and errors as problem documents (RFC 9457). Never shows a traceback, a token or a key."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from enum import Enum
from functools import wraps
from http import HTTPStatus
from typing import Any, Literal, get_args, get_origin
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import msgspec

from functions.answers import Problem
from functions.asked import Nothing
from shared import reading
from shared.errors import (
    BadRequestError,
    CallerError,
    ConfigurationError,
    ConflictError,
    EndpointError,
    NotFoundError,
    RetrainError,
    RowError,
    StorageError,
    masked,
    shown,
)
from shared.log import log

PLATFORMS = {"code", "clientId"}  # query parameters of the platform's own: the function key
LARGEST_BODY = 64 * 1024  # bytes; a request names one blob and a few parameters
LARGEST_EVENTS = 1024 * 1024  # bytes of a delivery of events (Event Grid's own limit)

# A fault on our side is 503, never 4xx: Event Grid drops an event at once on 400, 401, 403 and 413, and retries 503.
STATUS: dict[type[RetrainError], tuple[HTTPStatus, str]] = {
    BadRequestError: (HTTPStatus.BAD_REQUEST, "bad-request"),
    CallerError: (HTTPStatus.UNAUTHORIZED, "unauthorized"),
    NotFoundError: (HTTPStatus.NOT_FOUND, "not-found"),
    ConflictError: (HTTPStatus.CONFLICT, "conflict"),
    ConfigurationError: (HTTPStatus.SERVICE_UNAVAILABLE, "configuration"),
    RowError: (HTTPStatus.INTERNAL_SERVER_ERROR, "row"),
    StorageError: (HTTPStatus.SERVICE_UNAVAILABLE, "storage"),
    EndpointError: (HTTPStatus.SERVICE_UNAVAILABLE, "endpoint"),
    RetrainError: (HTTPStatus.INTERNAL_SERVER_ERROR, "other"),
}
_MEMBER = re.compile(r"at `\$\.(\w+)`")
TYPES = "urn:problem-type:retrain:"  # what a problem's `type` begins with


Handler = Callable[[func.HttpRequest], func.HttpResponse]


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation takes and answers, as the OpenAPI document tells it."""

    answers: dict[int, tuple[type, ...]]
    """Types of the JSON by status; none: no content that anybody needs. Problems apart."""
    problems: tuple[int, ...] = ()
    """Beside those that every operation may answer."""
    query: type[msgspec.Struct] = Nothing
    body: tuple[Any, ...] = ()
    """What the JSON of the body may be."""
    optional_body: bool = True
    is_page: bool = False
    """A browser is answered with a page."""
    has_form: bool = False
    """Our page has a form for it: then a browser is led back to the status."""


def operation(**contract: Any) -> Callable[[Handler], Handler]:
    """Declare what an operation takes and answers.

    Errors of `shared/` become problem documents, and for a browser pages; what another site's page sends is refused.
    """

    def declare(handler: Handler) -> Handler:
        answering = problems(handler)

        @wraps(handler)
        def handle(req: func.HttpRequest) -> func.HttpResponse:
            answered = _cross_site() if req.method == "POST" and is_cross_site(req) else answering(req)
            return _shown(req, answered)

        handle.contract = Contract(**contract)  # type: ignore[attr-defined]
        return handle

    return declare


def is_cross_site(req: func.HttpRequest) -> bool:
    """Tell whether a page of another site sends this: a browser says so, in one of two headers; programs send neither.

    Somebody who is signed in here must not act by looking at a page elsewhere. Source: Fetch Metadata (W3C).
    """
    if site := req.headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = req.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != req.headers.get("host", urlsplit(req.url).netloc)


def _cross_site() -> func.HttpResponse:
    return problem(HTTPStatus.FORBIDDEN, "cross-site", "A page of another site has sent this. Do it on a page of ours.")


def _shown(req: func.HttpRequest, answered: func.HttpResponse) -> func.HttpResponse:
    if not is_browser(req):
        return answered
    from functions import pages  # its template engine is for browsers only

    return pages.for_browser(req, answered)


def answer(data: msgspec.Struct, status: HTTPStatus = HTTPStatus.OK) -> func.HttpResponse:
    """Return `data` as JSON, without what gives access."""
    text = masked(msgspec.json.encode(data).decode())
    return func.HttpResponse(text, status_code=status, mimetype="application/json")


def problem(status: HTTPStatus, kind: str, detail: str, faults: Sequence[str] = ()) -> func.HttpResponse:
    """Return a problem document of a kind, with the faults of a configuration where it is about one."""
    data = Problem(type=f"{TYPES}{kind}", title=status.phrase, status=status, detail=detail, faults=list(faults))
    text = masked(msgspec.json.encode(data).decode())
    return func.HttpResponse(text, status_code=status, mimetype="application/problem+json")


def too_large(most: int) -> func.HttpResponse:
    """Return the problem of a body that has more than so many bytes."""
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", f"The body has more than {most:,} bytes.")


def problems(handler: Handler) -> Handler:
    """Turn the errors of `shared/` into problem documents."""

    @wraps(handler)
    def handle(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return handler(req)
        except ConfigurationError as error:
            return problem(*STATUS[ConfigurationError], str(error), error.faults)
        except RetrainError as error:
            status, kind = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
            log("http_problem", logging.WARNING, url=req.url.split("?")[0], status=status.value, reason=error)
            return problem(status, kind, str(error))

    return handle


def query_as[T: msgspec.Struct](req: func.HttpRequest, kind: type[T]) -> T:
    """Return the query parameters as `kind`, which declares all that there are.

    Raises BadRequestError for one that is unknown, given twice, or has a value that is none of its values: a mistyped
    word must not become the opposite of what was meant. The URL is read, since the platform drops empty values.
    """
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    given = [pair for pair in parse_qsl(urlsplit(req.url).query, keep_blank_values=True) if pair[0] not in PLATFORMS]
    values = dict(given)
    told = f"known are: {', '.join(known) or 'none'}"
    for name in values:
        if name not in known:
            raise BadRequestError(f"There is no query parameter {shown(name)}; {told}.")
    if len(values) < len(given):
        raise BadRequestError(f"A query parameter is given twice; {told}.")
    try:
        return reading.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"A query parameter is not what is expected: {_said(error, kind)}; {told}.") from error


def body_as[T](req: func.HttpRequest, kind: type[T]) -> T:
    """Return the JSON body as `kind`. Raises BadRequestError saying what is wrong and where."""
    return typed(_form_of(req) if _is_form(req) else json_of(req), kind)


def _is_form(req: func.HttpRequest) -> bool:
    """Tell whether a form of our page was sent; `curl -d` says the same of its content, but asks for no page."""
    form = req.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return form and is_browser(req)


def _form_of(req: func.HttpRequest) -> dict[str, str]:
    """Return the fields of a form. Raises BadRequestError."""
    try:
        return _once(parse_qsl(req.get_body().decode(), keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError as error:
        raise BadRequestError(f"The form is not what is expected: {error}.") from error


def is_browser(req: func.HttpRequest) -> bool:
    """Tell whether a page is asked for, rather than data."""
    return "text/html" in req.headers.get("accept", "")


def typed[T](data: Any, kind: type[T]) -> T:
    """Return JSON as `kind`. Raises BadRequestError saying what is wrong and where."""
    try:
        return reading.convert(data, kind)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"The body is not what is expected: {_said(error, kind)}.") from error


def _said(error: msgspec.ValidationError, kind: Any) -> str:
    """Return what is wrong, with the words that there are where it is none of them: the library does not list them."""
    at = _MEMBER.search(str(error))
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)} if at else {}
    kinds = (fields.get(at[1]), *get_args(fields.get(at[1]))) if at else ()
    words = [word for one in kinds if get_origin(one) is Literal for word in get_args(one)]
    words += [str(word) for one in kinds if isinstance(one, type) and issubclass(one, Enum) for word in one]
    return f"{error}; there are: {', '.join(words)}" if words and "enum value" in str(error) else str(error)


def json_of(req: func.HttpRequest) -> Any:
    """Return the JSON of the body. Raises BadRequestError, also where readers differ: a key that is given twice."""
    return json_from(req.get_body())


def json_from(body: bytes) -> Any:
    """Return the JSON of a request or a message. Raises BadRequestError."""
    try:
        data = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(data, ensure_ascii=False).encode()
        return data
    except UnicodeEncodeError as error:  # "\\ud800": JSON allows it, and no text has it
        raise BadRequestError("The body has half a surrogate pair, which is no text.") from error
    except RecursionError as error:
        raise BadRequestError("The body is nested too deep.") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError among them
        raise BadRequestError(f"The body is not what is expected: {error}.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} is given twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
