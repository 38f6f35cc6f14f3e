"""What of ARM tells of a deployed function app and its events: the app, its functions, settings and keys, the
training account's system topic and its event subscriptions.

Serves what POST /_control/app has told of, the way ARM writes it: a list hides a webhook's query, getFullUrl tells it.
Makes nothing and deploys nothing; without that order there is no app, and everything here is 404. `api-version` is not
looked at.
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.batch.scoring import page
from local.workspace.errors import WireError
from local.workspace.faults import Call
from local.workspace.guard import Handler
from local.workspace.state import GROUP, Deployed, Workspace

SITES, TOPICS = "Microsoft.Web/sites", "Microsoft.EventGrid/systemTopics"


def _workspace(request: Request) -> Workspace:
    state: Workspace = request.app.state.workspace
    return state


def _absent(kind: str, name: str) -> WireError:
    return WireError(404, "ResourceNotFound", f"The Resource '{kind}/{name}' under resource group was not found.")


def _app(request: Request) -> Deployed:
    """Return the app that the path names. Raises a 404 WireError."""
    found, name = _workspace(request).deployed, request.path_params["app"]
    if found is None or found.name != name:
        raise _absent(SITES, name)
    return found


def _topic(request: Request) -> Deployed:
    """Return what is deployed with the topic that the path names. Raises a 404 WireError."""
    found, name = _workspace(request).deployed, request.path_params["topic"]
    if found is None or found.topic != name:
        raise _absent(TOPICS, name)
    return found


def _resource(kind: str, name: str, properties: Any) -> dict[str, Any]:
    return {"id": f"{GROUP}/{kind}/{name}", "name": name, "type": kind, "location": "local", "properties": properties}


async def get_app(request: Request) -> Response:
    """GET the site: its state and the host that it answers at."""
    app = _app(request)
    properties = {
        "state": app.state,
        "defaultHostName": app.host,
        "hostNames": [app.host],
        "enabled": app.state == "Running",
    }
    return JSONResponse(_resource(SITES, app.name, properties))


async def list_functions(request: Request) -> Response:
    """GET functions: what the host has found."""
    app = _app(request)
    items = [
        {
            "id": f"{GROUP}/{SITES}/{app.name}/functions/{one.name}",
            "name": f"{app.name}/{one.name}",
            "type": f"{SITES}/functions",
            "properties": {"name": one.name, "isDisabled": one.disabled},
        }
        for one in app.functions
    ]
    return page(request, items, "$skiptoken")


async def list_settings(request: Request) -> Response:
    """POST config/appsettings/list: names and values."""
    app = _app(request)
    return JSONResponse(_resource(f"{SITES}/config", "appsettings", app.settings))


async def list_keys(request: Request) -> Response:
    """POST host/default/listkeys: the host's keys."""
    app = _app(request)
    return JSONResponse(
        {
            "masterKey": app.function_key,
            "functionKeys": {"default": app.function_key},
            "systemKeys": app.system_keys,
        }
    )


async def get_topic(request: Request) -> Response:
    """GET the system topic: whose events it has."""
    found = _topic(request)
    properties = {
        "provisioningState": "Succeeded",
        "source": f"{GROUP}/Microsoft.Storage/storageAccounts/{found.account}",
        "topicType": "microsoft.storage.storageaccounts",
    }
    return JSONResponse(_resource(TOPICS, found.topic, properties))


async def list_subscriptions(request: Request) -> Response:
    """GET eventSubscriptions of the topic; of a webhook without its query, which may have a key."""
    found = _topic(request)
    items = [_subscription(found, one.name, _without_keys(one.properties)) for one in found.subscriptions]
    return page(request, items, "$skiptoken")


def _subscription(found: Deployed, name: str, properties: Any) -> dict[str, Any]:
    told = _resource(f"{TOPICS}/eventSubscriptions", name, properties)
    return {**told, "id": f"{GROUP}/{TOPICS}/{found.topic}/eventSubscriptions/{name}"}


def _without_keys(properties: dict[str, Any]) -> dict[str, Any]:
    destination = properties.get("destination") or {}
    inner = destination.get("properties") or {}
    if "endpointUrl" not in inner:
        return properties
    parts = urlsplit(inner["endpointUrl"])
    base = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    shown = {key: value for key, value in inner.items() if key != "endpointUrl"} | {"endpointBaseUrl": base}
    return {**properties, "destination": {**destination, "properties": shown}}


async def get_full_url(request: Request) -> Response:
    """POST eventSubscriptions/{name}/getFullUrl: a webhook's address with its query."""
    found, name = _topic(request), request.path_params["name"]
    one = next((one for one in found.subscriptions if one.name == name), None)
    if one is None:
        raise _absent(f"{TOPICS}/{found.topic}/eventSubscriptions", name)
    url = ((one.properties.get("destination") or {}).get("properties") or {}).get("endpointUrl")
    if url is None:
        raise WireError(400, "InvalidRequest", f"Event subscription '{name}' delivers to no webhook.")
    return JSONResponse({"endpointUrl": url})


ROUTES: list[tuple[str, str, Handler, Call | None]] = [
    ("GET", f"/{SITES}/{{app}}", get_app, None),
    ("GET", f"/{SITES}/{{app}}/functions", list_functions, None),
    ("POST", f"/{SITES}/{{app}}/config/appsettings/list", list_settings, None),
    ("POST", f"/{SITES}/{{app}}/host/default/listkeys", list_keys, None),
    ("GET", f"/{TOPICS}/{{topic}}", get_topic, None),
    ("GET", f"/{TOPICS}/{{topic}}/eventSubscriptions", list_subscriptions, None),
    ("POST", f"/{TOPICS}/{{topic}}/eventSubscriptions/{{name}}/getFullUrl", get_full_url, None),
]
