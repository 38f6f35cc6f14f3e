"""Puts the workspace together: every route of every service it stands in for, each behind its guard.

What is not routed here is answered with 501 and the name of what is missing, or with 404 for another workspace's path.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.loopback import guards
from local.workspace import controls, datastores, history, pipelines, platform, submission
from local.workspace.batch import routes as batch
from local.workspace.engine import Engine
from local.workspace.errors import WireError, not_found, not_implemented, respond
from local.workspace.faults import Call
from local.workspace.guard import Handler, guarded
from local.workspace.keep import load, save
from local.workspace.seed import seed
from local.workspace.state import DATASTORES, GROUP, HISTORY, PATH, PIPELINES, Workspace
from local.workspace.studio.routes import ROUTES as STUDIO_ROUTES
from local.workspace.tokens import Service, Tokens, get_token

SERVICES = ("api", "experimentation", "history", "hyperdrive", "modelmanagement", "studio", "pipelines")
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

# method, path below the service's root, handler, kind of call for faults
PIPELINE_ROUTES: list[tuple[str, str, Handler, Call | None]] = [
    ("POST", "/PipelineRuns/PipelineEndpointSubmit/Id/{id}", submission.submit_to_endpoint, "submit"),
    ("POST", "/PipelineRuns/PipelineEndpointSubmit/Id/{id}/{version}", submission.submit_to_endpoint, "submit"),
    ("POST", "/PipelineRuns/PipelineEndpointSubmit/Name", submission.submit_to_endpoint, "submit"),
    ("POST", "/PipelineRuns/PipelineSubmit/{id}", submission.submit_to_pipeline, "submit"),
    ("POST", "/Experiments/PipelineSubmit/{id}", submission.submit_to_pipeline, "submit"),
    ("POST", "/Experiments/PublishedPipelineSubmit/{id}", submission.submit_to_pipeline, "submit"),
    ("GET", "/PipelineRuns/Pipeline/{id}", pipelines.list_runs, "list"),
    ("GET", "/Experiments/Pipeline/{id}", pipelines.list_runs, "list"),
    ("DELETE", "/PipelineRuns/{id}/Execution", pipelines.cancel_run, None),
    ("DELETE", "/Experiments/{id}/Execution", pipelines.cancel_run, None),
    ("GET", "/PipelineRuns/{id}", pipelines.get_run, "status"),
    ("GET", "/Experiments/{id}", pipelines.get_run, "status"),
    ("GET", "/Pipelines", pipelines.list_pipelines, None),
    ("GET", "/Pipelines/{id}", pipelines.get_pipeline, None),
    ("PUT", "/Pipelines/{id}/status", pipelines.set_pipeline_status, None),
    ("GET", "/Graphs/{id}/Interface", pipelines.get_interface, None),
    ("GET", "/DataTypes", pipelines.list_data_types, None),
    ("GET", "/PipelineEndpoints", pipelines.list_endpoints, None),
    ("POST", "/PipelineEndpoints/Create", pipelines.create_endpoint, None),
    ("GET", "/PipelineEndpoints/Id/{id}", pipelines.get_endpoint, "endpoint"),
    ("GET", "/PipelineEndpoints/Name", pipelines.get_endpoint, "endpoint"),
    ("PUT", "/PipelineEndpoints/{id}", pipelines.update_endpoint, None),
    ("GET", "/PipelineEndpoints/{id}/pipelines", pipelines.list_endpoint_pipelines, None),
]
HISTORY_ROUTES: list[tuple[str, str, Handler, Call | None]] = [
    ("GET", "/experiments/{experiment}", history.get_experiment, None),
    ("POST", "/experiments/{experiment}", history.create_experiment, None),
    ("GET", "/experimentids/{experiment_id}", history.get_experiment, None),
    ("POST", "/experiments/{experiment}/runs:query", history.query_runs, "list"),
    ("POST", "/experimentids/{experiment_id}/runs:query", history.query_runs, "list"),
]
for _below in ("", "/experiments/{experiment}", "/experimentids/{experiment_id}"):
    HISTORY_ROUTES += [
        ("GET", f"{_below}/runs/{{id}}", history.get_run, "status"),
        ("PATCH", f"{_below}/runs/{{id}}", history.patch_run, None),
        ("GET", f"{_below}/runs/{{id}}/details", history.get_run_details, None),
    ]

DATASTORE_ROUTES: list[tuple[str, str, Handler, Call | None]] = [
    ("GET", "/datastores/{name}", datastores.get_datastore, None),
]


TABLES: list[tuple[str, Service, list[tuple[str, str, Handler, Call | None]]]] = [
    (PIPELINES, "pipelines", PIPELINE_ROUTES),
    (HISTORY, "history", HISTORY_ROUTES),
    (DATASTORES, "pipelines", DATASTORE_ROUTES),
    (PATH, "arm", batch.ARM),
    (GROUP, "arm", platform.ROUTES),
    ("", "batch", batch.SCORING),
    (f"/mferp/managementfrontend{PATH}", "batch", batch.MANAGEMENT_FRONTEND),
]


async def get_discovery(request: Request) -> Response:
    """GET /discovery: which service is where; all of them are here. Asks for no token, as in Azure."""
    return JSONResponse(dict.fromkeys(SERVICES, request.app.state.workspace.base_url))


async def refuse(request: Request) -> Response:
    """Answer what nothing else answers."""
    path = request.url.path
    for service in ("/pipelines/v1.0", "/history/v1.0", "/datastore/v1.0"):
        if path.startswith(f"{service}/subscriptions/") and not path.startswith(f"{service}{PATH}/"):
            raise not_found("workspace at this path")
    if path.startswith(PIPELINES) and "Submit/" in path and request.method == "GET":
        raise WireError(400, "UnsupportedApiVersion", "The submit URL takes POST, not GET.")
    raise not_implemented(f"{request.method} {path}")


def create_app(
    storage: str, base_url: str, *, identity_header: str | None = None, keep: Path | None = None
) -> Starlette:
    """Return the application. `storage`: connection string for what runs read and write; `base_url`: own address.

    `keep`: the file in which it keeps what it has; left out, that is gone when it ends.
    """
    routes = [
        Route(root + path, guarded(handler, on, service=service), methods=[method])
        for root, service, table in TABLES
        for method, path, handler, on in table
    ]
    routes += [
        Route("/msi/token", guarded(get_token, "token", token=False), methods=["GET"]),
        Route("/discovery", guarded(get_discovery, None, token=False), methods=["GET"]),
        *controls.ROUTES,
        *STUDIO_ROUTES,
        Route("/{path:path}", guarded(refuse, None, token=False), methods=EVERY_METHOD),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for run in load(workspace, keep) if keep else ():  # what was under way begins anew
            app.state.engine.take(run)
        yield
        await app.state.engine.stop()
        if keep:
            save(workspace, keep)

    app = Starlette(routes=routes, lifespan=lifespan, middleware=guards(), exception_handlers={WireError: respond})
    app.router.redirect_slashes = False
    workspace = Workspace(storage, base_url)
    seed(workspace)
    app.state.workspace, app.state.tokens, app.state.engine = workspace, Tokens(identity_header), Engine(workspace)
    return app
