"""Run history REST: experiments, single runs, runs:query, and tags added later.

camelCase, status words of its own (`Completed`, not `Finished`). Knows pipeline runs only: no step runs, metrics,
artifacts or events. Never starts or ends a run.
"""

import base64
import binascii
import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.errors import bad_request, camel_body, not_found, not_implemented
from local.workspace.run_filter import compile_filter
from local.workspace.runs import Run, RunStatus, wire_time
from local.workspace.state import Workspace
from local.workspace.submission import check_experiment, read_json

WORDS = {status: "Completed" if status is RunStatus.Finished else status.name for status in RunStatus}
ORDERINGS = {
    "CreatedUtc": "createdUtc",
    "StartTimeUtc": "startTimeUtc",
    "EndTimeUtc": "endTimeUtc",
    "RunNumber": "runNumber",
    "RunId": "runId",
    "Status": "status",
}


class _Query(Struct):
    filter: str | None = None
    orderby: str | None = None
    top: Annotated[int, Meta(ge=1)] | None = None
    continuation_token: str | None = msgspec.field(name="continuationToken", default=None)


class _Patch(Struct, forbid_unknown_fields=True):
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None


def history_run(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Write a run as run history does."""
    given = run.submission
    keys = workspace.settings.give_back_keys
    own = {
        "azureml.pipelineid": run.pipeline.id,
        "azureml.runsource": "azureml.PipelineRun",
        "runSource": given.run_source or "Unavailable",
        "runType": ("HTTP", "SDK", "Schedule", "Portal")[given.run_type],
        "azureml.parameters": json.dumps(given.parameters),
        "azureml.continue_on_step_failure": str(bool(given.continue_on_failure)),
        "azureml.pipelineComponent": "pipelinerun",
    }
    return {
        "runId": run.id,
        "runNumber": run.number,
        "rootRunId": run.root_run_id,
        "parentRunId": given.parent_run_id,
        "experimentId": workspace.experiment_id(given.experiment),
        "status": WORDS[run.status],
        "runType": "azureml.PipelineRun",
        "displayName": None,
        "name": None,
        "description": given.description,
        "target": None,
        "hidden": False,
        "dataContainerId": f"dcid.{run.id}",
        "createdUtc": wire_time(run.accepted),
        "startTimeUtc": run.started and wire_time(run.started),
        "endTimeUtc": run.ended and wire_time(run.ended),
        "properties": {**(given.properties if keys else {}), **own, **run.properties},
        "tags": {**(given.tags if keys else {}), "azureml.pipelineid": run.pipeline.id, **run.tags},
        "warnings": None,
        "error": camel_body("UserError", run.error) if run.error else None,
    }


def _find(request: Request) -> tuple[Workspace, Run]:
    """Return the run that the path names; within its experiment, if the path names one."""
    workspace: Workspace = request.app.state.workspace
    run = workspace.runs.get(request.path_params["id"])
    experiment = _experiment(request)
    if run is None or not workspace.visible(run) or experiment not in (None, run.submission.experiment):
        within = f" in experiment '{experiment}'" if experiment else ""
        raise not_found(f"run with id '{request.path_params['id']}'{within}")
    return workspace, run


def _experiment(request: Request) -> str | None:
    """Return the name of the experiment in the path. Raises a 404 WireError for one that is not there."""
    workspace: Workspace = request.app.state.workspace
    if (name := request.path_params.get("experiment")) is not None:
        if name in workspace.experiments:
            return str(name)
        raise not_found(f"experiment named '{name}'")
    if (experiment_id := request.path_params.get("experiment_id")) is not None:
        if known := workspace.experiment_with_id(experiment_id):
            return known
        raise not_found(f"experiment with id '{experiment_id}'")
    return None


async def get_run(request: Request) -> Response:
    """GET …/runs/{id}, also below an experiment's name or id."""
    return JSONResponse(history_run(*_find(request)))


async def get_run_details(request: Request) -> Response:
    """GET …/runs/{id}/details."""
    run = history_run(*_find(request))
    kept = ("runId", "target", "status", "startTimeUtc", "endTimeUtc", "error", "warnings", "properties")
    nothing: dict[str, Any] = {"services": {}, "inputDatasets": [], "outputDatasets": [], "runDefinition": None}
    return JSONResponse({**{key: run[key] for key in kept}, **nothing, "logFiles": {}})


async def patch_run(request: Request) -> Response:
    """PATCH …/runs/{id}: adds tags and properties."""
    workspace, run = _find(request)
    body = await read_json(request)
    if isinstance(body, dict) and (other := sorted(set(body) - {"tags", "properties", "runId"})):
        raise not_implemented(f"changing '{other[0]}' of a run")
    try:
        given = msgspec.convert({k: v for k, v in body.items() if k != "runId"}, _Patch)
    except (msgspec.ValidationError, AttributeError) as error:
        raise bad_request(f"The body is not as expected: {error}.") from error
    run.tags |= given.tags or {}
    run.properties |= given.properties or {}
    return JSONResponse(history_run(workspace, run))


async def get_experiment(request: Request) -> Response:
    """GET …/experiments/{name} and …/experimentids/{id}."""
    name = _experiment(request)
    assert name is not None
    return JSONResponse(_experiment_entity(request.app.state.workspace, name))


async def create_experiment(request: Request) -> Response:
    """POST …/experiments/{name}: makes it, or answers the one there is."""
    name = request.path_params["experiment"]
    check_experiment(name)
    return JSONResponse(_experiment_entity(request.app.state.workspace, name))


def _experiment_entity(workspace: Workspace, name: str) -> dict[str, Any]:
    return {"experimentId": workspace.experiment_id(name), "name": name, "description": None, "tags": {}}


async def query_runs(request: Request) -> Response:
    """POST …/experiments/{name}/runs:query, also below an experiment's id: filter, order, page."""
    workspace: Workspace = request.app.state.workspace
    experiment = _experiment(request)
    try:
        query = msgspec.convert(await read_json(request), _Query)
    except msgspec.ValidationError as error:
        raise bad_request(f"The body is not as expected: {error}.") from error
    runs = [run for run in workspace.runs.values() if run.submission.experiment == experiment]
    found = [history_run(workspace, run) for run in runs if workspace.visible(run)]
    if query.filter:
        matches = compile_filter(query.filter)
        found = [run for run in found if matches(run)]
    member, descending = _ordering(query.orderby or "CreatedUtc desc")
    found.sort(key=lambda run: (run[member] is not None, run[member] or 0, run["runNumber"]), reverse=descending)
    start, size = _start(query.continuation_token, found), query.top or 500
    page, more = found[start : start + size], start + size < len(found)
    token = base64.urlsafe_b64encode(page[-1]["runId"].encode()).decode() if page and more else None
    return JSONResponse({"value": page, "continuationToken": token, "nextLink": None})


def _ordering(text: str) -> tuple[str, bool]:
    """Read `Field asc|desc`."""
    field, _, direction = text.strip().partition(" ")
    if field not in ORDERINGS or direction not in ("", "asc", "desc"):
        raise bad_request(f"orderby: expected one of {', '.join(ORDERINGS)}, then asc or desc, got '{text}'.")
    return ORDERINGS[field], direction == "desc"


def _start(token: str | None, found: list[dict[str, Any]]) -> int:
    """Return the index after the run that ended the last page."""
    if not token:
        return 0
    try:
        last = base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise bad_request("continuationToken: not one of ours.") from error
    for index, run in enumerate(found):
        if run["runId"] == last:
            return index + 1
    raise bad_request("continuationToken: the run that it stands for no longer matches the filter.")
