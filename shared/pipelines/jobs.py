"""Jobs, components and datastores of a workspace in Azure Resource Manager: what all kinds of v2 endpoints share.

Reads, and cancels; never starts anything.

Sources: azure-ai-ml, whose requests the conformance tests record, and the generated client of its ARM API (casing,
statuses, `jobInputType`).
"""

import re
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from shared import reading
from shared.errors import EndpointError, shown
from shared.pipelines.address import Address
from shared.pipelines.base import Input, Phase, ReadError, Registered, Run
from shared.pipelines.calls import Caller
from shared.pipelines.target import Target
from shared.pipelines.wire import ATTEMPT, KEY, RULE
from shared.rules.decision import DataPath, RetrainRequest

API_VERSION = {"api-version": "2023-10-01"}
NAME = re.compile(r"[A-Za-z0-9_]+")  # of an input: letters, digits and underscores
PHASES = {
    "Running": Phase.RUNNING,
    "Finalizing": Phase.RUNNING,
    "CancelRequested": Phase.RUNNING,
    "Completed": Phase.FINISHED,
    "Failed": Phase.FAILED,
    "Canceled": Phase.CANCELED,
}
Kind = Literal["Int", "Double", "Bool", "String"]
LITERALS: dict[str, Kind] = {"integer": "Int", "number": "Double", "boolean": "Bool", "string": "String"}


class _Error(msgspec.Struct):
    message: str | None = None


class JobProperties(msgspec.Struct, rename="camel"):
    """What a job says of itself."""

    status: str = "NotStarted"
    tags: dict[str, str | None] | None = None
    properties: dict[str, str | None] | None = None
    component_id: str | None = None
    error: _Error | None = None


class Job(msgspec.Struct):
    """A job, as Resource Manager and the scoring URI tell it."""

    name: str
    id: str = ""
    properties: JobProperties = msgspec.field(default_factory=JobProperties)

    def told(self, address: Address, of: str | None) -> Run:
        """Return the job in the flow's terms; `of`: what it really runs, as far as it tells."""
        told = self.properties
        notes = {**(told.tags or {}), **(told.properties or {})}
        return Run(
            run_id=self.name,
            run_url=address.studio_url(self.name),
            phase=PHASES.get(told.status, Phase.PENDING),
            word=told.status,
            key=notes.get(KEY) or (self.name if _is_key(self.name) else None),
            pipeline_id=of,
            error=(told.error and told.error.message) or "",
        )


class Page(msgspec.Struct, rename="camel"):
    """A page of a list of jobs."""

    value: list[Job]
    next_link: str | None = None


class Workspace:
    """The workspace of an endpoint, through Resource Manager; safe to share between threads."""

    def __init__(self, address: Address, caller: Caller) -> None:
        """Read with `caller`, whose tokens are for Resource Manager."""
        self.address, self.caller = address, caller

    def get(self, path: str) -> bytes:
        """Read a resource of the workspace. Raises ReadError."""
        return self.caller.read("GET", self.url(path)).content

    def url(self, path: str, **query: str) -> str:
        """Return the address of a resource."""
        return f"{self.address.arm(path)}?{urlencode({**API_VERSION, **query})}"

    def job(self, name: str) -> Job:
        """Read a job (GET jobs/{name}). Raises ReadError, with status 404 when there is none."""
        return decode(self.get(job_path(name)), Job)

    def cancel(self, name: str) -> None:
        """Ask that a job ends (POST jobs/{name}/cancel). Raises ReadError."""
        self.caller.read("POST", self.url(f"{job_path(name)}/cancel"))

    def jobs(self, properties: str, most_pages: int = 1) -> list[Job]:
        """List pipeline jobs that have properties (`name` or `name=value`), newest first, so many pages at most."""
        first = self.url("jobs", jobType="Pipeline", properties=properties)
        return listed(self.caller, first, self.address.management, most_pages)

    def component(self, path: str) -> tuple[Input, ...]:
        """Read what a component declares as its inputs (GET components/{name}/versions/{version}). Raises ReadError."""
        found = decode(self.get(path), dict[str, Any])
        declared = found.get("properties", {}).get("componentSpec", {}).get("inputs") or {}
        return tuple(_input(name, told) for name, told in declared.items())

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore (GET datastores/{name}), without its credential; None when there is none."""
        try:
            found = decode(self.get(f"datastores/{quote(datastore, safe='')}"), dict[str, Any])
        except ReadError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        told = found.get("properties", {})
        kind, account, container = (told.get(name) for name in ("datastoreType", "accountName", "containerName"))
        return Registered(kind=kind or "", account=account, container=container)


def listed(caller: Caller, url: str, service: str, most_pages: int) -> list[Job]:
    """Read a list page by page. Raises EndpointError for a next page at another service: a token goes there."""
    found, following = list[Job](), url
    for _ in range(most_pages):
        if not following.startswith(f"{service}/"):
            raise EndpointError(f"The list of jobs goes on at another host: {shown(following)}.")
        page = decode(caller.read("GET", following).content, Page)
        found += page.value
        if not page.next_link:
            break
        following = page.next_link
    return found


def job_path(name: str) -> str:
    """Return a job's path in the workspace."""
    return f"jobs/{quote(name, safe='')}"


def notes(request: RetrainRequest) -> dict[str, str]:
    """Return what is written on a job, as tags and as properties, about why it is there."""
    return {KEY: request.key, RULE: request.rule, ATTEMPT: str(request.attempt)}


def described_as(request: RetrainRequest) -> str:
    """Return a job's description."""
    arrived = request.data_path
    return (request.description or f"{request.rule}: {arrived.datastore}/{arrived.path}")[:5000]


def data_inputs(request: RetrainRequest, types: dict[str, str]) -> dict[str, tuple[str, bool]]:
    """Return the URI of each data input, and whether it is a folder; `types`: as declared, as far as known."""
    arrived = request.data_path
    inputs = {arrived.parameter: (uri(arrived), request.arrival.is_folder and arrived.path == request.arrival.path)}
    for path in request.data_paths:
        is_folder = types.get(path.parameter) == "uri_folder" or path.path.endswith("/")
        inputs[path.parameter] = (uri(path), is_folder)
    return inputs


def outputs(request: RetrainRequest, target: Target, kind: str) -> dict[str, dict[str, str]]:
    """Return where outputs are to be written, in the kind's word for a folder."""
    return {name: {"jobOutputType": kind, "uri": uri.replace("{key}", request.key)} for name, uri in target.outputs}


def uri(path: DataPath) -> str:
    """Return a path on a datastore of the workspace as v2 writes it."""
    return f"azureml://datastores/{path.datastore}/paths/{path.path}"


def bad_name(request: RetrainRequest) -> str | None:
    """Return the reason why a job cannot have these inputs, or None."""
    names = [path.parameter for path in (request.data_path, *request.data_paths)] + list(request.parameters)
    bad = next((name for name in names if not NAME.fullmatch(name)), None)
    return None if bad is None else f"{shown(bad)} is no name of a job's input: letters, digits and underscores."


def word(resource: dict[str, Any]) -> str:
    """Return whether a resource can be used, in the word that the others are told with."""
    state = str(resource.get("properties", {}).get("provisioningState") or "")
    return "Active" if state in ("", "Succeeded") else state


def decode[T](content: bytes, kind: type[T]) -> T:
    """Read an answer. Raises EndpointError when it is not what is documented."""
    try:
        return reading.decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise EndpointError(f"The answer is not what is documented: {fault}; it begins {shown(content)}.") from fault


def _input(name: str, told: dict[str, Any]) -> Input:
    kind, required = str(told.get("type", "")), not told.get("optional") and told.get("default") is None
    if kind in LITERALS:
        return Input(name=name, assignment="string", type=LITERALS[kind], required=required)
    return Input(name=name, assignment="data_path", type=kind, required=required)


def _is_key(name: str) -> bool:
    return re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{32}", name) is not None
