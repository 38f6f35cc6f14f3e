"""HTTP answers: JSON, and errors as problem documents (RFC 9457). Never shows a traceback, a token or a key."""

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

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
)
from shared.events import log

LARGEST_BODY = 64 * 1024  # bytes; a request names one blob and a few parameters

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

Handler = Callable[[func.HttpRequest], func.HttpResponse]


def answer(data: Any, status: HTTPStatus = HTTPStatus.OK) -> func.HttpResponse:
    """Return `data` as JSON."""
    return func.HttpResponse(msgspec.json.encode(data), status_code=status, mimetype="application/json")


def problem(status: HTTPStatus, detail: str, **members: Any) -> func.HttpResponse:
    """Return a problem document. `members` are further members of it."""
    data = {"title": status.phrase, "status": status.value, "detail": detail, **members}
    return func.HttpResponse(msgspec.json.encode(data), status_code=status, mimetype="application/problem+json")


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


def body_as[T](req: func.HttpRequest, kind: type[T]) -> T:
    """Return the JSON body as `kind`. Raises BadRequestError saying what is wrong and where."""
    body = req.get_body()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"The body is not what is expected: {error}.") from error
