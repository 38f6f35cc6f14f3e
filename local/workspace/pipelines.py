"""v1 REST: reading runs, pipelines and endpoints, cancelling runs, and giving endpoints new versions.

Never publishes a pipeline: that needs modules and a graph to be uploaded; `/_control/pipelines` stands in for it.
"""

from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.catalog import Endpoint, EntityStatus, Pipeline
from local.workspace.entities import (
    data_type_entities,
    endpoint_entity,
    interface_entity,
    pipeline_entity,
    run_entity,
)
from local.workspace.errors import WireError, bad_request, not_found
from local.workspace.runs import RunStatus, utc_now
from local.workspace.state import Workspace
from local.workspace.submission import query, read_json


class _Version(Struct, rename="pascal"):
    version: str
    pipeline_id: str


class _Creation(Struct, rename="pascal"):
    name: str
    pipeline_id: str
    description: str | None = None
    properties: dict[str, Any] | None = None


class _Update(Struct, rename={"name": "Name", "description": "Description"}):
    name: str
    default_version: str = msgspec.field(name="DefaultVersion")
    pipeline_version_list: list[_Version] = msgspec.field(name="PipelineVersionList")
    description: str | None = None
    entity_status: str | int = msgspec.field(name="EntityStatus", default=0)
    properties: dict[str, Any] | None = msgspec.field(name="Properties", default=None)
    tags: dict[str, Any] | None = None


def _workspace(request: Request) -> Workspace:
    state: Workspace = request.app.state.workspace
    return state


# Runs


async def get_run(request: Request) -> Response:
    """GET …/PipelineRuns/{id}."""
    workspace = _workspace(request)
    return JSONResponse(run_entity(workspace, workspace.pipeline_run(request.path_params["id"])))


async def list_runs(request: Request) -> Response:
    """GET …/PipelineRuns/Pipeline/{id}: an array of everything there is, newest first."""
    workspace = _workspace(request)
    pipeline = workspace.pipeline(request.path_params["id"])
    runs = [run for run in reversed(workspace.runs.values()) if run.pipeline.id == pipeline.id and not run.is_job]
    return JSONResponse([run_entity(workspace, run) for run in runs if workspace.visible(run)])


async def cancel_run(request: Request) -> Response:
    """DELETE …/PipelineRuns/{id}/Execution. A run that has ended stays as it is."""
    run = _workspace(request).pipeline_run(request.path_params["id"])
    run.end(RunStatus.Canceled)
    request.app.state.engine.drop(run)
    return Response(status_code=200)


# Pipelines


async def get_pipeline(request: Request) -> Response:
    """GET …/Pipelines/{id}."""
    workspace = _workspace(request)
    return JSONResponse(pipeline_entity(workspace, workspace.pipeline(request.path_params["id"])))


async def list_pipelines(request: Request) -> Response:
    """GET …/Pipelines?activeOnly=."""
    workspace = _workspace(request)
    found = _wanted(request, list(workspace.pipelines.values()))
    return JSONResponse([pipeline_entity(workspace, pipeline) for pipeline in found])


async def set_pipeline_status(request: Request) -> Response:
    """PUT …/Pipelines/{id}/status with a status as the whole body."""
    pipeline = _workspace(request).pipeline(request.path_params["id"])
    pipeline.status = _status(await read_json(request))
    return Response(status_code=200)


async def get_interface(request: Request) -> Response:
    """GET …/Graphs/{graphId}/Interface."""
    for pipeline in _workspace(request).pipelines.values():
        if pipeline.graph_id == request.path_params["id"]:
            return JSONResponse(interface_entity(pipeline))
    raise not_found(f"graph with id '{request.path_params['id']}'")


async def list_data_types(request: Request) -> Response:
    """GET …/DataTypes."""
    return JSONResponse(data_type_entities(_workspace(request)))


# Endpoints


async def get_endpoint(request: Request) -> Response:
    """GET …/PipelineEndpoints/Id/{id} and …/PipelineEndpoints/Name?Name=."""
    workspace = _workspace(request)
    if endpoint_id := request.path_params.get("id"):
        return JSONResponse(endpoint_entity(workspace, workspace.endpoint(endpoint_id)))
    if name := query(request, "name"):
        return JSONResponse(endpoint_entity(workspace, workspace.endpoint_named(name)))
    raise bad_request("The query parameter 'Name' is missing.")


async def list_endpoints(request: Request) -> Response:
    """GET …/PipelineEndpoints?activeOnly=, at most as many as the BatchSize header says."""
    workspace = _workspace(request)
    found = _wanted(request, list(workspace.endpoints.values()))
    size = request.headers.get("batchsize", "100")
    if not size.isdecimal():
        raise bad_request(f"BatchSize: expected a number, got '{size}'.")
    return JSONResponse([endpoint_entity(workspace, endpoint) for endpoint in found[: int(size)]])


async def list_endpoint_pipelines(request: Request) -> Response:
    """GET …/PipelineEndpoints/{id}/pipelines?activeOnly=."""
    workspace = _workspace(request)
    endpoint = workspace.endpoint(request.path_params["id"])
    found = _wanted(request, [workspace.pipeline(pipeline_id) for pipeline_id in endpoint.versions.values()])
    return JSONResponse([pipeline_entity(workspace, pipeline) for pipeline in found])


async def create_endpoint(request: Request) -> Response:
    """POST …/PipelineEndpoints/Create: the pipeline becomes version "0"."""
    workspace = _workspace(request)
    given = _convert(await read_json(request), _Creation)
    refuse_taken(workspace, given.name)
    made = workspace.add_endpoint(given.name, workspace.pipeline(given.pipeline_id).id, given.description or "")
    made.properties = given.properties or {}
    return JSONResponse(endpoint_entity(workspace, made))


async def update_endpoint(request: Request) -> Response:
    """PUT …/PipelineEndpoints/{id} with the whole entity: a new version, default, name, description or status."""
    workspace = _workspace(request)
    endpoint = workspace.endpoint(request.path_params["id"])
    given = _convert(await read_json(request), _Update)
    versions = {entry.version: entry.pipeline_id for entry in given.pipeline_version_list}
    if len(versions) < len(given.pipeline_version_list):
        raise bad_request("PipelineVersionList: a version occurs twice.")
    for version, pipeline_id in versions.items():
        if not version.isdecimal():
            raise bad_request(f"PipelineVersionList: expected versions that are whole numbers, got '{version}'.")
        if endpoint.versions.get(version, pipeline_id) != pipeline_id:
            raise bad_request(f"PipelineVersionList: version '{version}' is another pipeline already.")
        workspace.pipeline(pipeline_id)
    if missing := [version for version in endpoint.versions if version not in versions]:
        raise bad_request(f"PipelineVersionList: version '{missing[0]}' cannot be taken away.")
    if given.default_version not in versions:
        raise bad_request(f"DefaultVersion: '{given.default_version}' is not in PipelineVersionList.")
    status = _status(given.entity_status)
    if given.name != endpoint.name:
        refuse_taken(workspace, given.name)
    endpoint.name, endpoint.description = given.name, given.description or ""
    endpoint.versions, endpoint.default_version, endpoint.status = versions, given.default_version, status
    endpoint.properties, endpoint.tags = given.properties or {}, given.tags or {}
    endpoint.modified, endpoint.revision = utc_now(), endpoint.revision + 1
    return JSONResponse(endpoint_entity(workspace, endpoint))


def _wanted[Entity: (Pipeline, Endpoint)](request: Request, found: list[Entity]) -> list[Entity]:
    """Leave out what is not active, unless the query says activeOnly=false."""
    every = (query(request, "activeOnly") or "true").lower() == "false"
    return [one for one in found if every or one.status is EntityStatus.Active]


def _convert[Model](body: Any, model: type[Model]) -> Model:
    try:
        return msgspec.convert(body, model)
    except msgspec.ValidationError as error:
        raise bad_request(f"The body is not as expected: {error}.") from error


def refuse_taken(workspace: Workspace, name: str) -> None:
    """Raise a WireError for an endpoint name that is empty (400) or taken (409)."""
    if not name:
        raise bad_request("Name: expected a name.")
    if any(endpoint.name == name for endpoint in workspace.endpoints.values()):
        raise WireError(409, "Conflict", f"There is a pipeline endpoint named '{name}' already.")


def _status(given: Any) -> EntityStatus:
    """Read a status, which clients send as its word, its number, or its number as a string."""
    for status in EntityStatus:
        if given in (status.name, int(status), str(int(status))):
            return status
    raise bad_request(f"EntityStatus: expected one of {', '.join(s.name for s in EntityStatus)}, got {given!r}.")
