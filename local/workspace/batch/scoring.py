"""The data plane: invoking a batch endpoint, reading what became of it, and an endpoint's jobs.

The token is for https://ml.azure.com; an invocation that names no deployment goes to the default one.
"""

import re
import uuid
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.batch.catalog import BatchEndpoint
from local.workspace.batch.jobs import given, job, job_entity, lowered, submission_of
from local.workspace.errors import WireError, bad_request
from local.workspace.runs import Run
from local.workspace.state import PATH, Workspace
from local.workspace.submission import received_as

DEPLOYMENT = "azureml-model-deployment"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")  # of a job
EXPERIMENT = "default"  # where an invocation names none: the endpoint's own name, in Azure, is not established


def endpoint_of(workspace: Workspace, name: str) -> BatchEndpoint:
    """Return an endpoint. Raises a 404 WireError."""
    if found := workspace.batch_endpoints.get(name):
        return found
    raise WireError(404, "ResourceNotFound", f"There is no batch endpoint '{name}'.")


async def invoke(request: Request) -> Response:
    """POST {scoringUri}: start a job with a deployment."""
    workspace: Workspace = request.app.state.workspace
    endpoint = endpoint_of(workspace, request.path_params["endpoint"])
    wanted = request.headers.get(DEPLOYMENT) or endpoint.default
    if workspace.settings.ignore_pin:
        wanted = endpoint.default
    deployment = endpoint.deployments.get(wanted)
    if deployment is None:
        raise WireError(404, "NotFound", f"Deployment '{wanted}' does not exist in endpoint '{endpoint.name}'.")
    body = await read(request)
    told = lowered("properties", body.get("properties", body.get("Properties")))
    strict = workspace.settings.input_types == "strict"
    inputs = given(deployment.component, told.get("inputdata", {}), told.get("outputdata"), strict=strict)
    inner = told.get("properties") or {}
    own = {key: value for key, value in inner.items() if key != "experimentName"} if isinstance(inner, dict) else {}
    experiment = str(inner.get("experimentName") or EXPERIMENT) if isinstance(inner, dict) else EXPERIMENT
    submission = submission_of(inputs, experiment, {**told, "properties": own})
    name = _name(workspace, told.get("name"))
    received = received_as(request, body)
    run = workspace.accept(submission, received, deployment.component.pipeline, run_id=name)
    run.endpoint_id, run.version, run.is_job = endpoint.name, deployment.name, True
    answer = JSONResponse(_entity(workspace, run), 201)  # written first: even a job that ends at once is new here
    request.app.state.engine.take(run)
    return answer


def _name(workspace: Workspace, wanted: Any) -> str:
    """Return the job's name: the one that is wished for, where that is honoured, else a new one."""
    if not isinstance(wanted, str) or not workspace.settings.honour_job_names:
        return str(uuid.uuid4())
    if not NAME.fullmatch(wanted):
        raise bad_request(f"name: '{wanted[:100]}' is no name of a job.")
    if wanted in workspace.runs:
        raise WireError(409, "Conflict", f"A job with this name already exists: '{wanted}'.")
    return wanted


async def get_job(request: Request) -> Response:
    """GET {scoringUri}/{name}: one of the endpoint's jobs."""
    workspace: Workspace = request.app.state.workspace
    endpoint = endpoint_of(workspace, request.path_params["endpoint"])
    run = job(workspace, request.path_params["id"])
    if run.endpoint_id != endpoint.name:
        raise WireError(404, "ResourceNotFound", f"Endpoint '{endpoint.name}' has no job '{run.id}'.")
    return JSONResponse(_entity(workspace, run))


async def list_jobs(request: Request) -> Response:
    """GET .../batchEndpoints/{endpoint}/jobs and .../deployments/{deployment}/jobs: newest first, page by page."""
    workspace: Workspace = request.app.state.workspace
    endpoint = endpoint_of(workspace, request.path_params["endpoint"])
    deployment = request.path_params.get("deployment") or request.query_params.get("deployment")
    found = [
        run
        for run in reversed(workspace.runs.values())
        if run.endpoint_id == endpoint.name and deployment in (None, run.version) and workspace.visible(run)
    ]
    return page(request, [_entity(workspace, run) for run in found], "$skiptoken")


def page(request: Request, items: list[dict[str, Any]], token: str) -> Response:
    """Return one page of a list, and the address of the next."""
    workspace: Workspace = request.app.state.workspace
    text, size = request.query_params.get(token, "0"), workspace.settings.page_size
    if not text.isdecimal():
        raise bad_request(f"{token}: expected what a nextLink has, got '{text[:100]}'.")
    start = int(text)
    answer: dict[str, Any] = {"value": items[start : start + size]}
    if start + size < len(items):
        following = request.url.include_query_params(**{token: str(start + size)})
        answer["nextLink"] = f"{workspace.base_url}{following.path}?{following.query}"
    return JSONResponse(answer)


def _entity(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Write a job as one of its endpoint's."""
    where = f"{PATH}/batchEndpoints/{run.endpoint_id}/deployments/{run.version}/jobs/{run.id}"
    return job_entity(workspace, run, where)


async def read(request: Request) -> dict[str, Any]:
    """Return the JSON object of the body. Raises a 400 WireError."""
    try:
        body = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise bad_request("The body is not a JSON object.")
    return body
