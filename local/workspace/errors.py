"""How the services refuse: one exception, written in the form of the service that was asked.

The v1 pipelines service writes PascalCase errors, run history camelCase ones, ARM and batch endpoints the short form.
Never decides anything.
"""

import uuid
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local.workspace.runs import utc_now, wire_time


class WireError(Exception):
    """An answer other than 200: HTTP status, the service's error code and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def bad_request(message: str) -> WireError:
    """The request itself is at fault."""
    return WireError(400, "BadRequest", message)


def not_found(what: str) -> WireError:
    """What the request names does not exist; `what` is a noun phrase."""
    return WireError(404, "NotFound", f"There is no {what}.")


def not_implemented(what: str) -> WireError:
    """Azure may do this; the stand-in does not."""
    return WireError(501, "NotImplemented", f"The local workspace does not implement {what}.")


def code_of(status: int) -> str:
    """Return the error code that goes with an HTTP status, such as `TooManyRequests` for 429."""
    try:
        return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
    except ValueError:
        return "UnknownError"


def pascal_body(code: str, message: str) -> dict[str, Any]:
    """Write an error as the v1 pipelines service does."""
    correlation = {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]}
    error: dict[str, Any] = {"Code": code, "Message": message, "Target": None, "Details": []}
    error |= {"InnerError": None, "DebugInfo": None}
    return {"Error": error, "Correlation": correlation}


def camel_body(code: str, message: str) -> dict[str, Any]:
    """Write an error as run history does."""
    return {
        "error": {"code": code, "message": message, "target": None, "details": [], "innerError": None},
        "correlation": {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]},
        "environment": "local",
        "location": "local",
        "time": wire_time(utc_now()),
        "componentName": "run-history",
    }


def body_for(path: str, status: int, code: str, message: str) -> dict[str, Any]:
    """Write an error in the form of the service that `path` belongs to."""
    if path.startswith("/pipelines/"):
        return pascal_body(code, message)
    if path.startswith(("/batch/", "/mferp/", "/subscriptions/")):
        return {"error": {"code": code, "message": message, "target": None, "details": []}}
    if path.startswith("/msi/"):
        return {"statusCode": status, "message": message}
    return camel_body(code, message)


def respond(request: Request, error: Exception) -> JSONResponse:
    """Answer a request with the WireError that was raised while serving it."""
    assert isinstance(error, WireError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(body_for(request.url.path, error.status, error.code, error.message), error.status, headers)
