"""Jobs: a run as batch endpoints and ARM show it, and how one is made from inputs.

Statuses are those of v2 (`Completed`, never `Succeeded`). Never starts anything by itself.
"""

from typing import Any

from msgspec import Struct

from local.workspace.batch.catalog import OUTPUT, Component, Input
from local.workspace.batch.uris import data_path
from local.workspace.errors import WireError, bad_request, not_implemented
from local.workspace.runs import DataPath, Run, RunStatus, Submission, wire_time
from local.workspace.state import PATH, Workspace

STATUSES = {
    RunStatus.NotStarted: "NotStarted",
    RunStatus.Running: "Running",
    RunStatus.Finished: "Completed",
    RunStatus.Failed: "Failed",
    RunStatus.Canceled: "Canceled",
}
JOB = "Microsoft.MachineLearningServices/workspaces/jobs"
PLAIN: dict[str, tuple[type, ...]] = {"string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)}
GIVEN_AS = {"urifile": "uri_file", "urifolder": "uri_folder"}  # of batch endpoints; ARM has the words on the right


class Given(Struct, frozen=True, kw_only=True):
    """What a job is given: paths for its data inputs, values for the others."""

    data: dict[str, DataPath]
    literals: dict[str, str]
    outputs: dict[str, DataPath]
    inputs: dict[str, Any]
    """As they came, for those who read the job back."""


def given(component: Component, inputs: Any, outputs: Any, *, strict: bool) -> Given:
    """Hold inputs and outputs against what the component declares. Raises a 400 WireError that names what is wrong.

    `strict`: a file is refused where a folder is declared, and the other way round.
    """
    if not isinstance(inputs, dict):
        raise bad_request("inputData: expected an object.")
    known = {one.name: one for one in component.inputs}
    data, literals = dict[str, DataPath](), dict[str, str]()
    for name, value in inputs.items():
        if name not in known:
            raise bad_request(f"Input '{name}' is not one of the component's: {', '.join(known)}.")
        told = lowered(f"Input '{name}'", value)
        if known[name].is_data:
            data[name] = _path(known[name], told, strict=strict)
        else:
            literals[name] = _literal(known[name], told)
    missing = [one.name for one in component.inputs if not one.optional and one.name not in inputs]
    if missing:
        raise bad_request(f"Required input '{missing[0]}' is missing.")
    return Given(data=data, literals=literals, outputs=_outputs(outputs or {}), inputs=inputs)


def _outputs(given: Any) -> dict[str, DataPath]:
    """Read where outputs are to be written; one without a uri goes to the workspace's own place."""
    if not isinstance(given, dict):
        raise bad_request("outputData: expected an object.")
    found = dict[str, DataPath]()
    for name, value in given.items():
        if name != OUTPUT:
            raise bad_request(f"Output '{name}' is not one of the component's: {OUTPUT}.")
        told = lowered(f"Output '{name}'", value)
        kind = str(told.get("joboutputtype")).lower().replace("_", "")
        if kind != "urifolder":
            raise bad_request(f"Output '{name}' is uri_folder; got jobOutputType '{told.get('joboutputtype')}'.")
        if told.get("uri") is None:
            continue
        path = data_path(str(told["uri"]))
        if path is None:
            raise not_implemented(f"an output that is no path on a datastore of this workspace ('{told['uri']}')")
        found[name] = path
    return found


def _path(declared: Input, told: dict[str, Any], *, strict: bool) -> DataPath:
    given_as, uri = str(told.get("jobinputtype")), told.get("uri")
    kind = GIVEN_AS.get(given_as.lower(), given_as.lower())
    if kind == "mltable":
        raise bad_request(f"Input '{declared.name}': MLTable is not supported as an input of a batch endpoint.")
    if kind not in GIVEN_AS.values():
        raise bad_request(f"Input '{declared.name}' is {declared.type}; got jobInputType '{given_as}'.")
    if strict and kind != declared.type:
        raise bad_request(f"Input '{declared.name}' is {declared.type}; got {given_as}.")
    if not isinstance(uri, str) or not uri:
        raise bad_request(f"Input '{declared.name}': expected a uri.")
    found = data_path(uri)
    if found is None:
        raise not_implemented(f"an input that is no path on a datastore of this workspace ('{uri[:200]}')")
    return found


def _literal(declared: Input, told: dict[str, Any]) -> str:
    got = told.get("jobinputtype")
    if str(got).lower() != "literal":
        raise bad_request(f"Input '{declared.name}' is {declared.type}: expected a Literal, got '{got}'.")
    value = told.get("value")
    if isinstance(value, str) and _reads_as(value, declared.type):
        return value
    if isinstance(value, PLAIN[declared.type]) and isinstance(value, bool) == (declared.type == "boolean"):
        return str(value)
    raise bad_request(f"Input '{declared.name}' is {declared.type}; its value is {value!r}.")


def _reads_as(text: str, kind: str) -> bool:
    """Tell whether a text can be read as a value of a type: clients send all literals as texts."""
    if kind == "boolean":
        return text.lower() in ("true", "false")
    try:
        {"integer": int, "number": float}.get(kind, str)(text)
    except ValueError:
        return False
    return True


def submission_of(given_: Given, experiment: str, told: dict[str, Any]) -> Submission:
    """Return the submission that a job is, with the tags and properties that its maker gave."""
    return Submission(
        experiment=experiment,
        description=str(told.get("description") or ""),
        parameters=given_.literals,
        data_paths=given_.data,
        outputs=given_.outputs,
        tags=texts("tags", told.get("tags")),
        properties=texts("properties", told.get("properties")),
    )


def lowered(where: str, value: Any) -> dict[str, Any]:
    """Return an object by its members' names in small letters: the service takes any case. Raises a 400 WireError."""
    if not isinstance(value, dict):
        raise bad_request(f"{where}: expected an object.")
    return {key.lower(): one for key, one in value.items()}


def texts(where: str, value: Any) -> dict[str, str]:
    """Return a map of texts. Raises a 400 WireError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise bad_request(f"{where}: expected an object whose values are texts.")
    return dict(value)


def job_entity(workspace: Workspace, run: Run, id_: str | None = None) -> dict[str, Any]:
    """Write a job as ARM does, under an id of its own where it belongs to an endpoint."""
    keys = workspace.settings.give_back_keys
    properties = {**(run.submission.properties if keys else {}), **run.properties}
    if run.endpoint_id in workspace.batch_endpoints:
        properties |= {"azureml.endpointName": str(run.endpoint_id), "azureml.deploymentName": str(run.version)}
    studio = {"endpoint": f"{workspace.base_url}/runs/{run.id}", "jobServiceType": "Studio", "status": None}
    return {
        "id": id_ or f"{PATH}/jobs/{run.id}",
        "name": run.id,
        "type": JOB,
        "properties": {
            "jobType": "Pipeline",
            "status": STATUSES[run.status],
            "displayName": run.id,
            "componentId": run.component_id,
            "description": run.submission.description,
            "experimentName": run.submission.experiment,
            "isArchived": False,
            "tags": {**(run.submission.tags if keys else {}), **run.tags},
            "properties": properties,
            "inputs": run.received.body.get("inputs", {}) if isinstance(run.received.body, dict) else {},
            "outputs": {},
            "jobs": {},
            "services": {"Studio": studio},
            "error": {"code": "UserError", "message": run.error} if run.error else None,
        },
        "systemData": {"createdAt": wire_time(run.accepted), "createdBy": "local", "createdByType": "Application"},
    }


def job(workspace: Workspace, name: str) -> Run:
    """Return a job by its name. Raises a 404 WireError."""
    found = workspace.runs.get(name)
    if found is None or found.removed or not is_job(found):
        raise WireError(404, "ResourceNotFound", f"There is no job '{name}'.")
    return found


def is_job(run: Run) -> bool:
    """Tell whether a run was started as a job: not by the pipelines service."""
    return run.is_job
