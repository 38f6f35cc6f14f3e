"""Pages about pipeline endpoints: the published pipelines of one, a version with its parameters, Submit and Publish.

What a form submits becomes the body that the REST API takes, read and accepted by the same code; a form that is wrong
is shown again with what was typed and what is wrong, and nothing is done. Never submits to a default version.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from local.workspace.catalog import Endpoint, Parameter, Pipeline, Publication
from local.workspace.errors import WireError, bad_request, not_found
from local.workspace.runs import Received, utc_now
from local.workspace.state import PIPELINES, Workspace
from local.workspace.studio import pictures
from local.workspace.studio.render import form_of, missing, page, workspace_of
from local.workspace.submission import read, refuse_inactive

NUMBERS = {"Int": int, "Double": float}


@dataclass(frozen=True)
class Version:
    """A published pipeline under its version."""

    endpoint: Endpoint
    number: str
    pipeline: Pipeline

    @property
    def address(self) -> str:
        """Address of its page."""
        return f"/endpoints/{self.endpoint.id}/versions/{self.number}"

    def defaults(self) -> dict[str, str]:
        """Return what a form is filled with: names of its fields and the pipeline's defaults."""
        content = self.pipeline.content
        found = {f"parameter.{one.name}": "" if one.default is None else str(one.default) for one in content.parameters}
        for one in (*content.data_paths, *content.datasets):
            found |= {f"datastore.{one.name}": one.datastore, f"path.{one.name}": one.path}
        return {**found, "experiment": "studio"}


def _version(request: Request) -> Version:
    """Return the version of an address. Raises a 404 WireError."""
    workspace, number = workspace_of(request), request.path_params["version"]
    endpoint = workspace.endpoint(request.path_params["id"])
    if number not in endpoint.versions:
        raise not_found(f"version '{number}' of pipeline endpoint '{endpoint.name}'")
    return Version(endpoint, number, workspace.pipeline(endpoint.versions[number]))


async def endpoint_page(request: Request) -> Response:
    """GET /endpoints/{id}: its published pipelines, and how they have done."""
    workspace = workspace_of(request)
    try:
        endpoint = workspace.endpoint(request.path_params["id"])
    except WireError as error:
        return missing(error)
    versions = [Version(endpoint, number, workspace.pipeline(id_)) for number, id_ in endpoint.versions.items()]
    picture = pictures.by_version(run for run in workspace.runs.values() if run.endpoint_id == endpoint.id)
    return page("endpoint.html", endpoint=endpoint, versions=versions, picture=picture)


async def version_page(request: Request) -> Response:
    """GET /endpoints/{id}/versions/{version}: its parameters with defaults, and the two forms."""
    try:
        version = _version(request)
    except WireError as error:
        return missing(error)
    return _forms(request, version, version.defaults())


def _forms(request: Request, version: Version, values: dict[str, str], wrong: str = "", form: str = "") -> Response:
    filled = {**version.defaults(), **values}
    stores, status = list(workspace_of(request).datastores), 400 if wrong else 200
    return page("version.html", status, version=version, values=filled, wrong=wrong, form=form, datastores=stores)


async def submit(request: Request) -> Response:
    """POST /endpoints/{id}/versions/{version}/submit: start a run at this version."""
    try:
        version = _version(request)
    except WireError as error:
        return missing(error)
    workspace, form = workspace_of(request), await form_of(request)
    body = _body(version.pipeline.content, form)
    try:
        refuse_inactive(version.pipeline, version.endpoint)
        submission = read(workspace, version.pipeline, body, None, None)
    except WireError as error:
        return _forms(request, version, form, error.message, "submit")
    url = f"{PIPELINES}/PipelineRuns/PipelineEndpointSubmit/Id/{version.endpoint.id}/{version.number}"
    run = workspace.accept(submission, Received(url, {}, body), version.pipeline, version.endpoint, version.number)
    request.app.state.engine.take(run)
    return RedirectResponse(f"/runs/{run.id}", 303)


def _body(content: Publication, form: dict[str, str]) -> dict[str, Any]:
    """Return the PipelineSubmissionInfo that a form stands for."""

    def paths(names: list[str]) -> dict[str, Any]:
        found = {name: (form.get(f"datastore.{name}", ""), form.get(f"path.{name}", "")) for name in names}
        return {name: {"DataStoreName": store, "RelativePath": path} for name, (store, path) in found.items()}

    given = {one.name: form.get(f"parameter.{one.name}", "") for one in content.parameters}
    sets = paths([one.name for one in content.datasets])
    return {
        "ExperimentName": form.get("experiment", ""),
        "RunSource": "Portal",
        "RunType": "Portal",
        "ParameterAssignments": {name: value for name, value in given.items() if value},
        "DataPathAssignments": paths([one.name for one in content.data_paths]),
        "DataSetDefinitionValueAssignments": {name: {"LiteralValue": value} for name, value in sets.items()},
    }


async def publish(request: Request) -> Response:
    """POST /endpoints/{id}/versions/{version}/publish: the same pipeline with other defaults, as the next version."""
    try:
        version = _version(request)
    except WireError as error:
        return missing(error)
    workspace, form = workspace_of(request), await form_of(request)
    try:
        content = _republished(workspace, version.pipeline.content, form)
    except WireError as error:
        return _forms(request, version, form, error.message, "publish")
    endpoint = version.endpoint
    number = str(max(int(known) for known in endpoint.versions) + 1)
    endpoint.versions[number] = workspace.publish(content).id
    endpoint.modified, endpoint.revision = utc_now(), endpoint.revision + 1
    if form.get("default"):
        endpoint.default_version = number
    return RedirectResponse(f"/endpoints/{endpoint.id}/versions/{number}", 303)


def _republished(workspace: Workspace, content: Publication, form: dict[str, str]) -> Publication:
    """Return the publication with the form's defaults. Raises a 400 WireError."""
    changed: dict[str, Any] = {"parameters": tuple(_with_default(one, form) for one in content.parameters)}
    for kind in ("data_paths", "datasets"):
        made = []
        for one in getattr(content, kind):
            store, path = form.get(f"datastore.{one.name}", ""), form.get(f"path.{one.name}", "")
            if store not in workspace.datastores or not path:
                raise bad_request(f"{one.name}: expected a path on one of {', '.join(workspace.datastores)}.")
            made.append(msgspec.structs.replace(one, datastore=store, path=path))
        changed[kind] = tuple(made)
    return msgspec.structs.replace(content, **changed)


def _with_default(parameter: Parameter, form: dict[str, str]) -> Parameter:
    text = form.get(f"parameter.{parameter.name}", "")
    try:
        value = NUMBERS.get(parameter.type, str)(text) if text else None
    except ValueError:
        raise bad_request(f"{parameter.name}: expected a number ({parameter.type}), got '{text}'.") from None
    return msgspec.structs.replace(parameter, default=value)
