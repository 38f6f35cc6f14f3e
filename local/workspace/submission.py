"""v1 REST: submitting a run, to an endpoint by id or name, at a version or its default, or to a published pipeline.

Order of checks: the address, the version, what it leads to, the body. Accepts nothing that it could not run, except
what only the run itself can find out (a datastore or blob that is missing, a parameter value that is no number).
"""

import re
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.catalog import Endpoint, EntityStatus, Pipeline
from local.workspace.entities import run_entity
from local.workspace.errors import WireError, bad_request, not_found, not_implemented
from local.workspace.runs import DataPath, Received, Submission
from local.workspace.state import Workspace

JSON_TYPES = ("application/json", "application/json-patch+json")
RUN_TYPES = ("HTTP", "SDK", "Schedule", "Portal")
# The service's documented limits (resource limits and capacity), here for tags and for properties.
MAX_PAIRS, MAX_KEY, MAX_VALUE, MAX_NAME, MAX_DESCRIPTION = 50, 100, 1000, 256, 5000
EXPERIMENT = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}")

TOKENS = ("authorization", "x-azureml-token")  # headers; the second is the user's, for steps that act as the user


class _Path(Struct, rename={"datastore": "DataStoreName", "path": "RelativePath"}):
    datastore: str
    path: str


class _Dataset(Struct, rename="pascal"):
    literal_value: _Path | None = None
    saved_data_set_reference: dict[str, Any] | None = None
    data_set_reference: dict[str, Any] | None = None


class _Body(Struct, rename="pascal"):
    """PipelineSubmissionInfo. Unknown members are ignored, as lenient .NET readers do."""

    experiment_name: str | None = None
    description: str | None = None
    run_source: str | None = None
    run_type: str | int | None = None
    parameter_assignments: dict[str, str | int | float | bool] | None = None
    data_path_assignments: dict[str, _Path] | None = None
    data_set_definition_value_assignments: dict[str, _Dataset] | None = None
    continue_run_on_step_failure: bool | None = None
    enable_notification: bool | None = None
    schedule_id: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None


async def read_json(request: Request) -> Any:
    """Return the JSON body. Raises WireError for another content type, or for what is no JSON."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in JSON_TYPES:
        raise WireError(415, "UnsupportedMediaType", f"Content-Type: expected one of {', '.join(JSON_TYPES)}.")
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The body is not JSON: {error}.") from error


def query(request: Request, name: str) -> str | None:
    """Return a query parameter; names are taken in any case, an empty value counts as none."""
    for key, value in request.query_params.items():
        if key.lower() == name.lower():
            return value or None
    return None


async def submit_to_endpoint(request: Request) -> Response:
    """POST …/PipelineEndpointSubmit/Id/{id}[/{version}] and …/PipelineEndpointSubmit/Name?name=."""
    workspace: Workspace = request.app.state.workspace
    if endpoint_id := request.path_params.get("id"):
        endpoint = workspace.endpoint(endpoint_id)
    elif name := query(request, "name"):
        endpoint = workspace.endpoint_named(name)
    else:
        raise bad_request("The query parameter 'name' is missing.")
    version = _version(workspace, endpoint, request)
    return await _submit(request, workspace.pipeline(endpoint.versions[version]), endpoint, version)


async def submit_to_pipeline(request: Request) -> Response:
    """POST …/PipelineSubmit/{id}, also under its older names."""
    workspace: Workspace = request.app.state.workspace
    return await _submit(request, workspace.pipeline(request.path_params["id"]))


def _version(workspace: Workspace, endpoint: Endpoint, request: Request) -> str:
    """Return the version asked for in the path or in the query, or the default one."""
    in_path, in_query = request.path_params.get("version"), query(request, "pipelineVersion")
    if in_path and in_query and in_path != in_query:
        raise bad_request(f"The path names version '{in_path}' and pipelineVersion names '{in_query}'.")
    version = in_path or in_query
    if not version or workspace.settings.ignore_pin:
        return endpoint.default_version
    if version not in endpoint.versions:
        raise not_found(f"version '{version}' of pipeline endpoint '{endpoint.name}'")
    return version


def refuse_inactive(pipeline: Pipeline, endpoint: Endpoint | None = None) -> None:
    """Raise a 400 WireError unless both can be submitted to."""
    told = [(endpoint.status, f"pipeline endpoint '{endpoint.name}'")] if endpoint else []
    for status, what in [*told, (pipeline.status, f"published pipeline '{pipeline.content.name}'")]:
        if status is not EntityStatus.Active:
            raise bad_request(f"The {what} is {status.name}; only an Active one can be submitted to.")


async def _submit(
    request: Request, pipeline: Pipeline, endpoint: Endpoint | None = None, version: str | None = None
) -> Response:
    """Read the body, accept it, and hand the run to the engine."""
    workspace: Workspace = request.app.state.workspace
    refuse_inactive(pipeline, endpoint)
    body = await read_json(request)
    submission = read(workspace, pipeline, body, query(request, "experimentName"), query(request, "parentRunId"))
    run = workspace.accept(submission, received_as(request, body), pipeline, endpoint, version)
    answer = JSONResponse(run_entity(workspace, run))  # written first: even a run that ends at once is answered as new
    request.app.state.engine.take(run)
    return answer


def received_as(request: Request, body: Any) -> Received:
    """Return a submission as it arrived, without the tokens."""
    url = request.scope["raw_path"].decode() + (f"?{request.url.query}" if request.url.query else "")
    headers = {name: value for name, value in request.headers.items() if name not in TOKENS}
    return Received(url, headers, body, request.method)


def read(
    workspace: Workspace, pipeline: Pipeline, body: Any, experiment: str | None, parent_run_id: str | None
) -> Submission:
    """Turn the body (PipelineSubmissionInfo) into a Submission. Raises a 400 WireError that names what is wrong."""
    if not isinstance(body, dict):
        raise bad_request("The body is not a JSON object.")
    names = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(_Body)}
    try:
        given = msgspec.convert({names.get(key.lower(), key): value for key, value in body.items()}, _Body)
    except msgspec.ValidationError as error:
        raise bad_request(f"The body is not a PipelineSubmissionInfo: {error}.") from error
    name = given.experiment_name or experiment or ""
    check_experiment(name)
    if len(given.description or "") > MAX_DESCRIPTION:
        raise bad_request(f"Description: expected at most {MAX_DESCRIPTION} characters.")
    parent = workspace.runs.get(parent_run_id or "")
    if parent_run_id and (parent is None or parent.removed or parent.submission.experiment != name):
        raise bad_request(f"parentRunId: expected a run of experiment '{name}', got '{parent_run_id}'.")
    content, settings = pipeline.content, workspace.settings
    parameters = {key: str(value) for key, value in (given.parameter_assignments or {}).items()}
    paths = {key: DataPath(value.datastore, value.path) for key, value in (given.data_path_assignments or {}).items()}
    assigned = (given.data_set_definition_value_assignments or {}).items()
    datasets = {key: _dataset(key, value) for key, value in assigned}
    if settings.unknown_parameters == "refuse":
        _refuse_unknown("ParameterAssignments", parameters, [p.name for p in content.parameters])
        _refuse_unknown("DataPathAssignments", paths, [p.name for p in content.data_paths])
        _refuse_unknown("DataSetDefinitionValueAssignments", datasets, [p.name for p in content.datasets])
    return Submission(
        experiment=name,
        description=given.description or "",
        run_source=given.run_source,
        run_type=_run_type(given.run_type),
        parameters=parameters,
        data_paths=paths,
        datasets=datasets,
        continue_on_failure=given.continue_run_on_step_failure,
        tags=_pairs("tags", given.tags),
        properties=_pairs("Properties", given.properties),
        parent_run_id=parent_run_id,
    )


def check_experiment(name: str) -> None:
    """Raise a 400 WireError, in the service's words, unless this can be an experiment's name."""
    if not EXPERIMENT.fullmatch(name):
        raise bad_request(
            f"Experiment name must be 1-{MAX_NAME} characters, start with a letter or a number, "
            "and can only contain letters, numbers, underscores, and dashes."
        )


def _dataset(name: str, value: _Dataset) -> DataPath:
    if value.literal_value:
        return DataPath(value.literal_value.datastore, value.literal_value.path)
    if value.saved_data_set_reference or value.data_set_reference:
        raise not_implemented(f"references to registered datasets (dataset parameter '{name}')")
    raise bad_request(f"DataSetDefinitionValueAssignments: '{name}' holds no LiteralValue and no reference.")


def _refuse_unknown(where: str, given: dict[str, Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            has = ", ".join(known) or "none"
            raise bad_request(f"{where}: the pipeline has no such parameter '{name}'. It has: {has}.")


def _run_type(given: str | int | None) -> int:
    if given is None:
        return 0
    word = str(given)
    if word in RUN_TYPES:
        return RUN_TYPES.index(word)
    if word.isdecimal() and int(word) < len(RUN_TYPES):
        return int(word)
    raise bad_request(f"RunType: expected one of {', '.join(RUN_TYPES)}, got '{word}'.")


def _pairs(where: str, given: dict[str, str] | None) -> dict[str, str]:
    """Hold tags or properties against the documented limits."""
    pairs = given or {}
    if len(pairs) > MAX_PAIRS:
        raise bad_request(f"{where}: at most {MAX_PAIRS}, got {len(pairs)}.")
    for key, value in pairs.items():
        if len(key) > MAX_KEY or len(value) > MAX_VALUE:
            raise bad_request(f"{where}: '{key[:MAX_KEY]}' exceeds {MAX_KEY} (key) or {MAX_VALUE} (value) characters.")
    return pairs
