"""Steering for tests and demos, below /_control: no part of Azure, needs no token.

Reset, faults, settings, what was received, publishing, datastores, held runs. A malformed order is answered with 400
and names the field; nothing of it is carried out.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.workspace.catalog import Publication
from local.workspace.engine import OUTPUTS
from local.workspace.entities import endpoint_url, pipeline_entity
from local.workspace.errors import WireError, bad_request
from local.workspace.faults import Fault, Odds
from local.workspace.runs import Run, RunStatus, wire_time
from local.workspace.seed import seed
from local.workspace.state import PATH, Datastore, Settings, Workspace


class _NewStatus(Struct, forbid_unknown_fields=True):
    status: Literal["Running", "Finished", "Failed", "Canceled"]
    error: str | None = None
    metrics: dict[str, float] | None = None


async def _read[Model](request: Request, model: type[Model]) -> Model:
    """Read the JSON body as `model`. Raises a 400 WireError that names the field at fault."""
    try:
        return msgspec.json.decode(await request.body(), type=model)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"{error}.") from error


def _workspace(request: Request) -> Workspace:
    state: Workspace = request.app.state.workspace
    return state


async def reset(request: Request) -> Response:
    """POST: everything as after the start; tokens stay valid."""
    request.app.state.engine.drop_all()
    seed(_workspace(request))
    return JSONResponse({})


async def get_faults(request: Request) -> Response:
    """GET: the faults that are still to come."""
    return JSONResponse(msgspec.to_builtins(_workspace(request).faults))


async def add_faults(request: Request) -> Response:
    """POST: a list of faults, to come after those ordered before."""
    _workspace(request).faults.extend(await _read(request, list[Fault]))
    return await get_faults(request)


async def get_odds(request: Request) -> Response:
    """GET: the odds on order; how many calls were decided by them or those before, and how many met a fault."""
    dice = _workspace(request).dice
    return JSONResponse({**msgspec.to_builtins(dice.odds), "calls": dice.calls, "hits": dice.hits})


async def set_odds(request: Request) -> Response:
    """POST: other odds, in place of those before."""
    _workspace(request).dice.order(await _read(request, Odds))
    return await get_odds(request)


async def get_settings(request: Request) -> Response:
    """GET: all switches."""
    return JSONResponse(msgspec.to_builtins(_workspace(request).settings))


async def change_settings(request: Request) -> Response:
    """POST: any of the switches."""
    workspace = _workspace(request)
    given = await _read(request, dict[str, Any])
    try:
        workspace.settings = msgspec.convert({**msgspec.to_builtins(workspace.settings), **given}, Settings)
    except msgspec.ValidationError as error:
        raise bad_request(f"{error}.") from error
    return await get_settings(request)


async def get_runs(request: Request) -> Response:
    """GET: every accepted submission as received, in order, and what became of it."""
    return JSONResponse([_summary(run) for run in _workspace(request).runs.values()])


async def set_status(request: Request) -> Response:
    """POST: the status of a run that the engine holds (setting `engine`: "hold")."""
    run = _workspace(request).run(request.path_params["id"])
    given = await _read(request, _NewStatus)
    if not run.held or run.status.ended:
        raise WireError(409, "Conflict", f"Run '{run.id}' is not held (it is {run.status.name}).")
    run.start()
    if given.status != "Running":
        run.end(RunStatus[given.status], error=given.error, metrics=given.metrics)
    return JSONResponse(_summary(run))


async def get_info(request: Request) -> Response:
    """GET: where everything is."""
    workspace = _workspace(request)
    endpoints = [
        {
            "id": endpoint.id,
            "name": endpoint.name,
            "url": endpoint_url(workspace, endpoint),
            "default_version": endpoint.default_version,
            "versions": list(endpoint.versions),
        }
        for endpoint in workspace.endpoints.values()
    ]
    return JSONResponse(
        {
            "base_url": workspace.base_url,
            "workspace": PATH,
            "identity_endpoint": f"{workspace.base_url}/msi/token",
            "identity_header": request.app.state.tokens.identity_header,
            "storage": workspace.storage,
            "endpoints": endpoints,
            "datastores": {store.name: store.container for store in workspace.datastores.values()},
            "outputs": OUTPUTS,
        }
    )


async def add_datastore(request: Request) -> Response:
    """POST: register a container under a name."""
    store = await _read(request, Datastore)
    _workspace(request).datastores[store.name] = store
    return JSONResponse(msgspec.to_builtins(store))


async def publish(request: Request) -> Response:
    """POST: publish a pipeline. Give it a version on an endpoint with the service's own PUT."""
    workspace = _workspace(request)
    return JSONResponse(pipeline_entity(workspace, workspace.publish(await _read(request, Publication))))


def _summary(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "url": run.received.url,
        "headers": run.received.headers,
        "body": run.received.body,
        "received": wire_time(run.accepted),
        "pipeline_id": run.pipeline.id,
        "version": run.version,
        "status": run.status.name,
        "error": run.error,
        "metrics": run.metrics,
    }


HANDLERS: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
    ("POST", "/reset", reset),
    ("GET", "/faults", get_faults),
    ("POST", "/faults", add_faults),
    ("GET", "/odds", get_odds),
    ("POST", "/odds", set_odds),
    ("GET", "/settings", get_settings),
    ("POST", "/settings", change_settings),
    ("GET", "/runs", get_runs),
    ("POST", "/runs/{id}/status", set_status),
    ("GET", "/info", get_info),
    ("POST", "/datastores", add_datastore),
    ("POST", "/pipelines", publish),
]
ROUTES = [Route(f"/_control{path}", handler, methods=[method]) for method, path, handler in HANDLERS]
