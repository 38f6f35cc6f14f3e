"""The managed identity's token endpoint, and the check of the tokens it gave out.

Speaks the App Service form (api-version 2019-08-01), so azure-identity runs unchanged. Knows one identity, which may
do everything. Never accepts a token that it did not sign itself.
"""

import secrets
import time
import uuid
from typing import Literal

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.errors import WireError, bad_request
from local.workspace.state import Settings, Workspace

API_VERSION = "2019-08-01"
ARM = ("https://management.azure.com", "https://management.core.windows.net")
MACHINE_LEARNING = "https://ml.azure.com"
Service = Literal["pipelines", "history", "arm", "batch"]
ACCEPTED: dict[Service, tuple[str, ...]] = {
    "pipelines": ARM,
    "history": (*ARM, MACHINE_LEARNING),
    "arm": ARM,
    "batch": (MACHINE_LEARNING,),
}
CLIENT_ID = "33333333-3333-4333-8333-333333333333"


class Tokens:
    """Signs tokens and recognises them; its key lives as long as the process."""

    def __init__(self, identity_header: str | None = None) -> None:
        self.identity_header = identity_header or secrets.token_urlsafe(24)
        self._key = secrets.token_bytes(32)

    def issue(self, resource: str, lifetime_s: int) -> tuple[str, int]:
        """Return a token for a resource and the epoch second at which it expires."""
        now = int(time.time())
        claims = {"aud": resource, "iss": "local", "iat": now, "exp": now + lifetime_s, "appid": CLIENT_ID}
        claims["uti"] = uuid.uuid4().hex
        return jwt.encode(claims, self._key, algorithm="HS256"), now + lifetime_s

    def check(self, authorization: str | None, workspace: Workspace, service: Service) -> None:
        """Raise a 401 WireError unless the header carries a token that the service takes."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("The Authorization header holds no bearer token.")
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"], options={"verify_aud": False})
        except jwt.ExpiredSignatureError as error:
            raise _unauthorized("The token has expired.") from error
        except jwt.InvalidTokenError as error:
            raise _unauthorized(f"The token is not valid: {error}.") from error
        audience = str(claims["aud"]).rstrip("/")
        accepted = ACCEPTED[service]
        if service == "pipelines" and workspace.settings.accept_ml_audience:
            accepted = (*ARM, MACHINE_LEARNING)
        if service == "arm":  # in every cloud its own address is an audience
            accepted = (*ARM, workspace.base_url)
        if audience not in accepted:
            raise _unauthorized(f"The token is for '{audience}', not for one of: {', '.join(accepted)}.")


def _unauthorized(message: str) -> WireError:
    return WireError(401, "Unauthorized", message)


async def get_token(request: Request) -> Response:
    """GET /msi/token: what azure-identity calls on App Service and Functions."""
    tokens: Tokens = request.app.state.tokens
    settings: Settings = request.app.state.workspace.settings
    given = request.headers.get("x-identity-header", "")
    if not secrets.compare_digest(given.encode(), tokens.identity_header.encode()):
        raise _unauthorized("The X-IDENTITY-HEADER header does not hold the secret of IDENTITY_HEADER.")
    if request.query_params.get("api-version") != API_VERSION:
        raise bad_request(f"api-version: expected {API_VERSION}.")
    resource = request.query_params.get("resource")
    if not resource:
        raise bad_request("resource: expected the resource that the token is for.")
    for other in ("client_id", "principal_id", "object_id", "mi_res_id"):
        if request.query_params.get(other, CLIENT_ID) != CLIENT_ID:
            raise bad_request(f"{other}: this identity is not assigned to the app; the one there is is {CLIENT_ID}.")
    token, expires_on = tokens.issue(resource, settings.token_lifetime_s)
    answer = {"access_token": token, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
    return JSONResponse({**answer, "client_id": CLIENT_ID})
