"""What of ARM a client of batch endpoints needs: endpoints, deployments, components, datastores, jobs. And one write:
a job under a name of the caller's own.

The token is for https://management.azure.com. `api-version` is not looked at.
"""

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.batch.catalog import OUTPUT, BatchEndpoint, Component, Deployment
from local.workspace.batch.jobs import given, is_job, job, job_entity, lowered, submission_of
from local.workspace.batch.scoring import NAME, endpoint_of, page, read
from local.workspace.datastores import account_of
from local.workspace.errors import WireError, bad_request
from local.workspace.runs import Run, RunStatus, wire_time
from local.workspace.state import NAME as WORKSPACE
from local.workspace.state import PATH, Datastore, Workspace
from local.workspace.submission import received_as

TYPE = "Microsoft.MachineLearningServices/workspaces"


def _workspace(request: Request) -> Workspace:
    state: Workspace = request.app.state.workspace
    return state


def _resource(kind: str, id_: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    name = id_.rpartition("/")[2]
    return {"id": id_, "name": name, "type": f"{TYPE}{kind}", **more, "properties": properties}


async def get_workspace(request: Request) -> Response:
    """GET the workspace itself: where its services are found."""
    workspace = _workspace(request)
    properties = {
        "friendlyName": WORKSPACE,
        "discoveryUrl": f"{workspace.base_url}/discovery",
        "mlFlowTrackingUri": "",
        "provisioningState": "Succeeded",
        "workspaceId": "local",
    }
    return JSONResponse(_resource("", PATH, properties, location="local"))


def _endpoint(workspace: Workspace, endpoint: BatchEndpoint) -> dict[str, Any]:
    properties = {
        "authMode": "AADToken",
        "description": "",
        "scoringUri": f"{workspace.base_url}/batch/{endpoint.name}/jobs",
        "swaggerUri": None,
        "provisioningState": "Succeeded",
        "defaults": {"deploymentName": endpoint.default},
        "properties": {},
    }
    return _resource("/batchEndpoints", f"{PATH}/batchEndpoints/{endpoint.name}", properties, location="local", tags={})


async def list_endpoints(request: Request) -> Response:
    """GET /batchEndpoints."""
    workspace = _workspace(request)
    return page(request, [_endpoint(workspace, one) for one in workspace.batch_endpoints.values()], "$skip")


async def get_endpoint(request: Request) -> Response:
    """GET /batchEndpoints/{endpoint}."""
    workspace = _workspace(request)
    return JSONResponse(_endpoint(workspace, endpoint_of(workspace, request.path_params["endpoint"])))


def _deployment(endpoint: BatchEndpoint, deployment: Deployment) -> dict[str, Any]:
    component = f"{PATH}/components/{deployment.component.name}/versions/{deployment.component.version}"
    properties = {
        "description": "",
        "provisioningState": "Succeeded",
        "deploymentConfiguration": {
            "deploymentConfigurationType": "PipelineComponent",
            "componentId": {"referenceType": "Id", "assetId": component},
            "settings": {},
            "tags": {},
        },
        "properties": {},
    }
    where = f"{PATH}/batchEndpoints/{endpoint.name}/deployments/{deployment.name}"
    return _resource("/batchEndpoints/deployments", where, properties, location="local", tags={})


async def list_deployments(request: Request) -> Response:
    """GET /batchEndpoints/{endpoint}/deployments."""
    endpoint = endpoint_of(_workspace(request), request.path_params["endpoint"])
    return page(request, [_deployment(endpoint, one) for one in endpoint.deployments.values()], "$skip")


async def get_deployment(request: Request) -> Response:
    """GET /batchEndpoints/{endpoint}/deployments/{deployment}."""
    endpoint, name = (
        endpoint_of(_workspace(request), request.path_params["endpoint"]),
        request.path_params["deployment"],
    )
    if found := endpoint.deployments.get(name):
        return JSONResponse(_deployment(endpoint, found))
    raise WireError(404, "ResourceNotFound", f"Endpoint '{endpoint.name}' has no deployment '{name}'.")


def _components(workspace: Workspace) -> Iterator[Component]:
    for endpoint in workspace.batch_endpoints.values():
        for deployment in endpoint.deployments.values():
            yield deployment.component


def _component_of(workspace: Workspace, name: str, version: str) -> Component:
    for component in _components(workspace):
        if (component.name, component.version) == (name, version):
            return component
    raise WireError(404, "ResourceNotFound", f"There is no component '{name}' of version '{version}'.")


async def get_component(request: Request) -> Response:
    """GET /components/{name}/versions/{version}: what it declares."""
    found = _component_of(_workspace(request), request.path_params["name"], request.path_params["version"])
    inputs = {
        one.name: {"type": one.type, "optional": one.optional}
        | ({"default": str(one.default)} if one.default is not None else {})
        for one in found.inputs
    }
    spec = {
        "name": found.name,
        "version": found.version,
        "type": "pipeline",
        "inputs": inputs,
        "outputs": {OUTPUT: {"type": "uri_folder"}},
    }
    where = f"{PATH}/components/{found.name}/versions/{found.version}"
    properties = {"componentSpec": spec, "isAnonymous": False, "isArchived": False, "tags": {}, "properties": {}}
    return JSONResponse(_resource("/components/versions", where, properties))


async def list_component_versions(request: Request) -> Response:
    """GET /components/{name}/versions."""
    workspace, name = _workspace(request), request.path_params["name"]
    found = {one.version for one in _components(workspace) if one.name == name}
    if not found:
        raise WireError(404, "ResourceNotFound", f"There is no component '{name}'.")
    items = [_resource("/components/versions", f"{PATH}/components/{name}/versions/{one}", {}) for one in sorted(found)]
    return page(request, items, "$skip")


async def get_datastore(request: Request) -> Response:
    """GET /datastores/{name}."""
    workspace, name = _workspace(request), request.path_params["name"]
    store: Datastore | None = workspace.datastores.get(name)
    if store is None:
        raise WireError(404, "UserError", f"Could not find datastore: {name}")
    account, protocol, endpoint = account_of(workspace.storage)
    properties = {
        "datastoreType": "AzureBlob",
        "accountName": account,
        "containerName": store.container,
        "endpoint": endpoint,
        "protocol": protocol,
        "credentials": {"credentialsType": "None"},
        "isDefault": False,
        "tags": {},
        "properties": {},
    }
    return JSONResponse(_resource("/datastores", f"{PATH}/datastores/{name}", properties))


# Jobs


async def list_jobs(request: Request) -> Response:
    """GET /jobs: newest first; `jobType`, `tag` (a key only), `properties` (names, or names with values)."""
    workspace, query = _workspace(request), request.query_params
    found = [run for run in reversed(workspace.runs.values()) if is_job(run) and workspace.visible(run)]
    if query.get("listViewType", "ActiveOnly") == "ArchivedOnly" or query.get("jobType", "Pipeline") != "Pipeline":
        found = []
    items = [job_entity(workspace, run) for run in found]
    if tag := query.get("tag"):
        items = [one for one in items if tag in one["properties"]["tags"]]
    for wanted in filter(None, query.get("properties", "").split(",")):
        name, has_value, value = wanted.partition("=")
        told = [one["properties"]["properties"] for one in items]
        keep = [name in one and (not has_value or one[name] == value) for one in told]
        items = [one for one, kept in zip(items, keep, strict=True) if kept]
    return page(request, items, "$skip")


async def get_job(request: Request) -> Response:
    """GET /jobs/{id}."""
    workspace = _workspace(request)
    return JSONResponse(job_entity(workspace, job(workspace, request.path_params["id"])))


async def cancel_job(request: Request) -> Response:
    """POST /jobs/{id}/cancel: takes effect at once; one that has ended stays as it is."""
    workspace = _workspace(request)
    run = job(workspace, request.path_params["id"])
    request.app.state.engine.drop(run)
    run.end(RunStatus.Canceled)
    return Response(status_code=200)


async def put_job(request: Request) -> Response:
    """PUT /jobs/{id}: a pipeline component, started under a name of the caller's own."""
    workspace, name = _workspace(request), request.path_params["id"]
    if not NAME.fullmatch(name):
        raise bad_request(f"'{name[:100]}' is no name of a job.")
    body = await read(request)
    told = lowered("properties", body.get("properties"))
    if told.get("jobtype") != "Pipeline":
        raise bad_request(f"jobType: expected Pipeline, got '{told.get('jobtype')}'.")
    component = _component_at(workspace, told.get("componentid"))
    strict = workspace.settings.input_types == "strict"
    inputs = given(component, told.get("inputs") or {}, told.get("outputs"), strict=strict)
    submission = submission_of(inputs, str(told.get("experimentname") or "Default"), told)
    if (known := workspace.runs.get(name)) and (answer := _again(request, known, submission.tags)):
        return answer
    run = workspace.accept(submission, received_as(request, body), component.pipeline, run_id=name)
    run.endpoint_id, run.version, run.is_job = component.name, component.version, True
    run.component_id = str(told["componentid"])
    answer = JSONResponse(job_entity(workspace, run), 201)
    request.app.state.engine.take(run)
    return answer


def _component_at(workspace: Workspace, id_: Any) -> Component:
    parts = str(id_ or "").partition("/components/")[2].split("/")
    if len(parts) != 3 or parts[1] != "versions":
        raise bad_request("componentId: expected the id of a component's version.")
    return _component_of(workspace, parts[0], parts[2])


def _again(request: Request, known: Run, tags: dict[str, str]) -> Response | None:
    """Answer a second PUT of a name, in the way that the setting says: by a public report it is refused.

    None: a new job takes the name; the one before stays among what was accepted.
    """
    workspace = _workspace(request)
    if workspace.settings.second_put == "runs again":
        request.app.state.engine.drop(known)
        del workspace.runs[known.id]
        known.id, known.removed = f"{known.id} ({known.number})", True
        workspace.runs[known.id] = known
        return None
    if workspace.settings.second_put == "updates":
        known.tags |= tags
        return JSONResponse(job_entity(workspace, known), 200)
    raise WireError(
        409,
        "UserError",
        f"A job with this name already exists: '{known.id}', created {wire_time(known.accepted)}. If you are trying to "
        "create a new job, use a different name. If you are trying to update an existing job, only description, tags, "
        "displayName, properties, and isArchived can be updated.",
    )
