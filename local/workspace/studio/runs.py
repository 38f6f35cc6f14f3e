"""Pages about runs: all of them on the first page, and one with all that is known of it. Reads only.

Links to outputs are signed for an hour, since storage asks who is calling.
"""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from local.workspace.engine import OUTPUTS
from local.workspace.errors import WireError
from local.workspace.runs import utc_now
from local.workspace.studio import pictures
from local.workspace.studio.render import missing, page, workspace_of

SHOWN = 200  # runs in the table


async def index(request: Request) -> Response:
    """GET /: the pipeline endpoints, and the newest runs."""
    workspace = workspace_of(request)
    runs = [run for run in workspace.runs.values() if not run.removed][::-1]
    batch = {name: name for name in workspace.batch_endpoints}
    return page(
        "index.html",
        endpoints=workspace.endpoints.values(),
        names={**{one.id: one.name for one in workspace.endpoints.values()}, **batch},
        runs=runs[:SHOWN],
        total=len(runs),
        refresh=any(not run.status.ended for run in runs[:SHOWN]),
        datastores=workspace.datastores.values(),
    )


async def run_page(request: Request) -> Response:
    """GET /runs/{id}: one run."""
    workspace = workspace_of(request)
    try:
        run = workspace.run(request.path_params["id"])
    except WireError as error:
        return missing(error)
    endpoint = workspace.endpoints.get(run.endpoint_id or "")
    outputs = [(name.rpartition("/")[2], _signed(workspace.storage, name)) for name in run.outputs]
    picture, refresh = pictures.roc(run), not run.status.ended
    return page("run.html", run=run, endpoint=endpoint, outputs=outputs, roc=picture, refresh=refresh)


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
