"""The studio-like page: endpoints and runs, and one run with all that is known of it.

Reads only. Links to outputs are signed for an hour, since storage asks who is calling.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from local.workspace.engine import OUTPUTS
from local.workspace.entities import endpoint_url
from local.workspace.errors import WireError
from local.workspace.runs import Run, utc_now
from local.workspace.state import NAME, Workspace

SHOWN = 200  # runs in the table
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
}


def _seconds(run: Run) -> str:
    """How long the run took, or has been taking."""
    if run.started is None:
        return "–"
    return f"{((run.ended or utc_now()) - run.started).total_seconds():.1f} s"


def _clock(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else "–"


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)
_templates.filters.update(seconds=_seconds, clock=_clock)
_templates.globals.update(workspace=NAME)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(_templates.get_template(template).render(values), status, headers=SECURITY)


async def index(request: Request) -> Response:
    """GET /: endpoints with their versions, and the newest runs."""
    workspace: Workspace = request.app.state.workspace
    runs = [run for run in workspace.runs.values() if not run.removed][::-1]
    endpoints = [
        {"of": endpoint, "url": endpoint_url(workspace, endpoint), "pipelines": workspace.pipelines}
        for endpoint in workspace.endpoints.values()
    ]
    active = any(not run.status.ended for run in runs[:SHOWN])
    endpoint_names = {endpoint.id: endpoint.name for endpoint in workspace.endpoints.values()}
    return _page(
        "index.html",
        endpoints=endpoints,
        names=endpoint_names,
        runs=runs[:SHOWN],
        total=len(runs),
        refresh=active,
        datastores=workspace.datastores.values(),
    )


async def run_page(request: Request) -> Response:
    """GET /runs/{id}: one run."""
    workspace: Workspace = request.app.state.workspace
    try:
        run = workspace.run(request.path_params["id"])
    except WireError as error:
        return _page("missing.html", 404, message=error.message, refresh=False)
    endpoint = workspace.endpoints.get(run.endpoint_id or "")
    outputs = [(name.rpartition("/")[2], _signed(workspace.storage, name)) for name in run.outputs]
    return _page("run.html", run=run, endpoint=endpoint, outputs=outputs, refresh=not run.status.ended)


def _signed(storage: str, name: str) -> str:
    """Return a link to an output that works for an hour."""
    # Slow to import, and only needed here.
    from azure.storage.blob import BlobClient, BlobSasPermissions, generate_blob_sas

    blob = BlobClient.from_connection_string(storage, OUTPUTS, name)
    signature = generate_blob_sas(
        str(blob.account_name),
        OUTPUTS,
        name,
        account_key=blob.credential.account_key,
        permission=BlobSasPermissions(read=True),
        expiry=utc_now() + timedelta(hours=1),
    )
    return f"{blob.url}?{signature}"


ROUTES = [Route("/", index, methods=["GET"]), Route("/runs/{id}", run_page, methods=["GET"])]
