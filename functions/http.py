"""HTTP answers: JSON, and errors as problem documents (RFC 9457). Never shows a traceback, a token or a key."""

import json
import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import msgspec

from shared.errors import (
    BadRequestError,
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
STATUS: dict[type[RetrainError], HTTPStatus] = {
    BadRequestError: HTTPStatus.BAD_REQUEST,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    ConfigurationError: HTTPStatus.SERVICE_UNAVAILABLE,
    RowError: HTTPStatus.INTERNAL_SERVER_ERROR,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    EndpointError: HTTPStatus.SERVICE_UNAVAILABLE,
    RetrainError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class Nothing(msgspec.Struct):
    """The query of a route that takes none."""


Handler = Callable[[func.HttpRequest], func.HttpResponse]


def answer(data: Any, status: HTTPStatus = HTTPStatus.OK) -> func.HttpResponse:
    """Return `data` as JSON, without what gives access."""
    text = masked(msgspec.json.encode(data).decode())
    return func.HttpResponse(text, status_code=status, mimetype="application/json")


def problem(status: HTTPStatus, detail: str, **members: Any) -> func.HttpResponse:
    """Return a problem document. `members` are further members of it."""
    data = {"title": status.phrase, "status": status.value, "detail": detail, **members}
    text = masked(msgspec.json.encode(data).decode())
    return func.HttpResponse(text, status_code=status, mimetype="application/problem+json")


def problems(handler: Handler) -> Handler:
    """Turn the errors of `shared/` into problem documents."""

    @wraps(handler)
    def handle(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return handler(req)
        except ConfigurationError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), faults=error.faults)
        except RetrainError as error:
            status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
            log("http_problem", logging.WARNING, url=req.url.split("?")[0], status=status.value, reason=error)
            return problem(status, str(error))

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
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"A query parameter is not what is expected: {error}; {told}.") from error


def body_as[T](req: func.HttpRequest, kind: type[T]) -> T:
    """Return the JSON body as `kind`. Raises BadRequestError saying what is wrong and where."""
    return typed(json_of(req), kind)


def typed[T](data: Any, kind: type[T]) -> T:
    """Return JSON as `kind`. Raises BadRequestError saying what is wrong and where."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"The body is not what is expected: {error}.") from error


def json_of(req: func.HttpRequest) -> Any:
    """Return the JSON of the body. Raises BadRequestError, also where readers differ: a key that is given twice."""
    try:
        data = json.loads(req.get_body().decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
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
