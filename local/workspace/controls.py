"""Steering for tests and demos, below /_control: no part of Azure, needs no token.

Reset, faults, settings, what was received, publishing, endpoints, datastores, the deployed app, held and removed runs.
A malformed order is answered with 400 and names the field; nothing of it is carried out. Never pretends to be one of
the services.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.workspace.batch.catalog import BatchEndpoint
from local.workspace.catalog import Endpoint, Publication, Text
from local.workspace.engine import OUTPUTS
from local.workspace.entities import endpoint_url, pipeline_entity
from local.workspace.errors import WireError, bad_request
from local.workspace.faults import Fault, Odds
from local.workspace.pipelines import refuse_taken
from local.workspace.runs import Run, RunStatus, wire_time
from local.workspace.seed import make_batch_endpoint, make_pipeline_endpoint, seed
from local.workspace.state import PATH, Datastore, Deployed, Settings, Workspace


class _NewStatus(Struct, forbid_unknown_fields=True):
    status: Literal["Running", "Finished", "Failed", "Canceled"]
    error: str | None = None
    metrics: dict[str, float] | None = None


class _NewEndpoint(Struct, forbid_unknown_fields=True):
    name: Text
    versions: Annotated[int, Meta(ge=1, le=100)] = 1
    kind: Literal["pipeline", "batch"] = "pipeline"


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
    workspace, given = _workspace(request), await _read(request, list[Fault])
    _refuse_unknown(workspace, given)
    workspace.faults.extend(given)
    return await get_faults(request)


def _refuse_unknown(workspace: Workspace, faults: list[Fault]) -> None:
    """Raise a 400 WireError for a fault of an endpoint that is not there: it would never come."""
    for fault in faults:
        known = (*workspace.endpoints, *workspace.pipelines, *workspace.batch_endpoints)
        if fault.endpoint not in (None, *known):
            raise bad_request(f"endpoint: there is no endpoint and no published pipeline with id '{fault.endpoint}'.")


async def get_odds(request: Request) -> Response:
    """GET: the odds on order; how many calls were decided by them or those before, and how many met a fault."""
    dice = _workspace(request).dice
    return JSONResponse({**msgspec.to_builtins(dice.odds), "calls": dice.calls, "hits": dice.hits})


async def set_odds(request: Request) -> Response:
    """POST: other odds, in place of those before."""
    workspace, given = _workspace(request), await _read(request, Odds)
    _refuse_unknown(workspace, given.faults)
    workspace.dice.order(given)
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


async def remove_run(request: Request) -> Response:
    """DELETE: no service knows the run any more. It stays among the submissions that were accepted."""
    run = _workspace(request).run(request.path_params["id"])
    request.app.state.engine.drop(run)
    run.removed = True
    return JSONResponse(_summary(run))


async def get_requests(request: Request) -> Response:
    """GET: how many requests came since the last reset, by what they were about; refused ones count, too."""
    return JSONResponse(_workspace(request).requests)


async def get_info(request: Request) -> Response:
    """GET: where everything is."""
    workspace = _workspace(request)
    return JSONResponse(
        {
            "base_url": workspace.base_url,
            "workspace": PATH,
            "identity_endpoint": f"{workspace.base_url}/msi/token",
            "identity_header": request.app.state.tokens.identity_header,
            "storage": workspace.storage,
            "endpoints": [_endpoint(workspace, endpoint) for endpoint in workspace.endpoints.values()],
            "batch_endpoints": [_batch_endpoint(workspace, one) for one in workspace.batch_endpoints.values()],
            "datastores": {store.name: store.container for store in workspace.datastores.values()},
            "outputs": OUTPUTS,
        }
    )


async def add_datastore(request: Request) -> Response:
    """POST: register a container under a name."""
    store = await _read(request, Datastore)
    _workspace(request).datastores[store.name] = store
    return JSONResponse(msgspec.to_builtins(store))


async def deploy(request: Request) -> Response:
    """POST: the function app, and its events, that ARM is to tell of, in place of the one before."""
    given = await _read(request, Deployed)
    if given.subscriptions and not given.topic:
        raise bad_request("topic: a subscription is on one.")
    _workspace(request).deployed = given
    return JSONResponse({"name": given.name})


async def make_endpoint(request: Request) -> Response:
    """POST: an endpoint with versions (or a batch endpoint with deployments) that can be run, each its own pipeline."""
    workspace, given = _workspace(request), await _read(request, _NewEndpoint)
    if given.kind == "batch":
        if given.name in workspace.batch_endpoints:
            raise WireError(409, "Conflict", f"There is a batch endpoint named '{given.name}' already.")
        return JSONResponse(_batch_endpoint(workspace, make_batch_endpoint(workspace, given.name, given.versions)))
    refuse_taken(workspace, given.name)
    return JSONResponse(_endpoint(workspace, make_pipeline_endpoint(workspace, given.name, given.versions)))


async def publish(request: Request) -> Response:
    """POST: publish a pipeline. Give it a version on an endpoint with the service's own PUT."""
    workspace = _workspace(request)
    return JSONResponse(pipeline_entity(workspace, workspace.publish(await _read(request, Publication))))


def _endpoint(workspace: Workspace, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint_url(workspace, endpoint),
        "default_version": endpoint.default_version,
        "versions": list(endpoint.versions),
    }


def _batch_endpoint(workspace: Workspace, endpoint: BatchEndpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "url": f"{workspace.base_url}/batch/{endpoint.name}/jobs",
        "default_deployment": endpoint.default,
        "deployments": list(endpoint.deployments),
    }


def _summary(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "method": run.received.method,
        "url": run.received.url,
        "headers": run.received.headers,
        "body": run.received.body,
        "received": wire_time(run.accepted),
        "accepted_at": run.accepted.timestamp(),
        "removed": run.removed,
        "endpoint_id": run.endpoint_id,
        "pipeline_id": run.pipeline.id,
        "version": run.version,
        "experiment": run.submission.experiment,
        "data_paths": asdict(run.submission)["data_paths"],
        "properties": run.submission.properties,
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
    ("DELETE", "/runs/{id}", remove_run),
    ("GET", "/requests", get_requests),
    ("GET", "/info", get_info),
    ("POST", "/datastores", add_datastore),
    ("POST", "/app", deploy),
    ("POST", "/pipelines", publish),
    ("POST", "/endpoints", make_endpoint),
]
ROUTES = [Route(f"/_control{path}", handler, methods=[method]) for method, path, handler in HANDLERS]
