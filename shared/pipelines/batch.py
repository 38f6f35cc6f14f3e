"""Talks to a batch endpoint at a pinned deployment of a pipeline component: the successor of published pipelines.

The pin is a header of each invocation. The key goes along as the job's name, as a tag and as a property, since which of
them the service keeps is not documented. Jobs are read through Azure Resource Manager, or through the scoring URI where
that is not to be had. Never invokes the default deployment, and never sends again what may have been accepted.

Sources: how-to-access-data-batch-endpoints-jobs (body, header), how-to-use-event-grid-batch (scoring URI), and
azure-ai-ml, whose requests tests/test_batch_referee.py records (casing, lists of jobs).
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec
import requests

from shared.errors import EndpointError, shown
from shared.identity import Tokens
from shared.pipelines.address import Address
from shared.pipelines.base import (
    Answer,
    Described,
    Input,
    Limits,
    Phase,
    Preview,
    ReadError,
    Refused,
    Registered,
    Run,
    Submitted,
    Unknown,
)
from shared.pipelines.calls import Caller
from shared.pipelines.target import Target
from shared.pipelines.wire import ATTEMPT, KEY, RULE
from shared.rules.decision import DataPath, RetrainRequest

API_VERSION = {"api-version": "2023-10-01"}
LISTS_VERSION = {"api-version": "2020-09-01-dataplanepreview"}
PAGES = 20  # of a list that are read at most: what is not in them is read by its name
DEPLOYMENT = "azureml-model-deployment"
DEPLOYMENT_PROPERTY = "azureml.deploymentname"  # the service's own; a rule may call a tag whatever it likes
NAME = re.compile(r"[A-Za-z0-9_]+")  # of an input: letters, digits and underscores
_IN_ID = re.compile(r"/deployments/(?P<name>[^/]+)/jobs/", re.IGNORECASE)
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
READ_AS: dict[str, Callable[[str], Any]] = {
    "Int": int,
    "Double": float,
    "Bool": lambda text: {"true": True, "false": False}[text.lower()],
}


class _Error(msgspec.Struct):
    message: str | None = None


class _JobProperties(msgspec.Struct, rename="camel"):
    status: str = "NotStarted"
    tags: dict[str, str | None] | None = None
    properties: dict[str, str | None] | None = None
    error: _Error | None = None


class _Job(msgspec.Struct):
    name: str
    id: str = ""
    properties: _JobProperties = msgspec.field(default_factory=_JobProperties)

    def told(self, page: str) -> Run:
        """Return the job in the flow's terms."""
        told = self.properties
        notes = {**(told.tags or {}), **(told.properties or {})}
        found = _IN_ID.search(self.id)
        own = {name.lower(): value for name, value in (told.properties or {}).items()}
        return Run(
            run_id=self.name,
            run_url=page,
            phase=PHASES.get(told.status, Phase.PENDING),
            word=told.status,
            key=notes.get(KEY) or (self.name if _is_key(self.name) else None),
            pipeline_id=found["name"] if found else own.get(DEPLOYMENT_PROPERTY),
            error=(told.error and told.error.message) or "",
        )


class _Page(msgspec.Struct, rename="camel"):
    value: list[_Job]
    next_link: str | None = None


class _Named(msgspec.Struct):
    name: str


class _NamedPage(msgspec.Struct):
    value: list[_Named]


class BatchEndpoint:
    """A batch endpoint; safe to share between threads."""

    def __init__(
        self, address: Address, tokens: Tokens, management: Tokens, session: requests.Session, limits: Limits
    ) -> None:
        """Talk to the endpoint at `address`: `tokens` are for its scoring URI, `management` for Resource Manager."""
        self.address, self.tokens = address, tokens
        self._scoring, self._arm = Caller(tokens, session, limits), Caller(management, session, limits)
        self._types = dict[str, dict[str, str]]()

    def submit(
        self,
        request: RetrainRequest,
        target: Target,
        in_time: Callable[[], bool] = lambda: True,
        patient: bool = True,
    ) -> Answer:
        """POST the invocation; see `Caller.submit`."""
        names = [path.parameter for path in (request.data_path, *request.data_paths)] + list(request.parameters)
        if bad := next((name for name in names if not NAME.fullmatch(name)), None):
            reason = f"{shown(bad)} is no name of a batch endpoint's input: letters, digits and underscores."
            return Refused(reason=reason)
        types = self._declared(target.version) if request.parameters or request.data_paths else {}
        body = invocation(request, target.experiment, types)

        def accepted(response: requests.Response) -> Answer | None:
            return self._accepted(response, request.key)

        return self._scoring.submit(
            self.address.scoring,
            msgspec.json.encode(body),
            accepted,
            key=request.key,
            in_time=in_time,
            patient=patient,
            headers={DEPLOYMENT: target.version},
        )

    def _accepted(self, response: requests.Response, key: str) -> Answer | None:
        """Tell what a response means that says so: 200 or 201 (so does the SDK); or that this very name is taken."""
        if response.status_code == HTTPStatus.CONFLICT and key in response.text:
            return Submitted(run_id=key, run_url=self.address.studio_url(key))  # nobody else has this name
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
            return None
        try:
            name = msgspec.json.decode(response.content, type=_Named).name
        except (msgspec.DecodeError, UnicodeDecodeError):
            name = ""
        if not name:
            return Unknown(reason=f"{response.status_code} without a job's name: {shown(response.text)}")
        return Submitted(run_id=name, run_url=self.address.studio_url(name))

    def preview(self, request: RetrainRequest, target: Target) -> Preview:
        """Return what `submit` would send; the deployment is a header."""
        body = invocation(request, target.experiment, self._types.get(target.version, {}))
        return Preview(method="POST", url=self.address.scoring, body={**body, f"({DEPLOYMENT})": target.version})

    def run(self, run_id: str) -> Run:
        """Read a job (ARM GET jobs/{name}; GET {scoring URI}/{name} where Resource Manager may not be read)."""
        try:
            content = self._get(f"jobs/{quote(run_id, safe='')}")
        except EndpointError as error:
            if isinstance(error, ReadError) and error.status == HTTPStatus.NOT_FOUND:
                raise
            content = self._scoring.read("GET", f"{self.address.scoring}/{quote(run_id, safe='')}").content
        return self._told(_decode(content, _Job))

    def cancel(self, run_id: str) -> None:
        """Ask that a job ends (ARM POST jobs/{name}/cancel)."""
        url = f"{self.address.arm(f'jobs/{quote(run_id, safe="")}/cancel')}?{urlencode(API_VERSION)}"
        self._arm.read("POST", url)

    def error_of(self, run_id: str) -> str:
        """Read why a job failed, as far as the job tells."""
        return self.run(run_id).error

    def runs(self, version: str) -> list[Run]:
        """List a deployment's jobs, newest first (GET .../deployments/{name}/jobs); the newest pages only."""
        front = f"{self.address.service}/mferp/managementfrontend{self.address.workspace}/batchEndpoints"
        url: str | None = (
            f"{front}/{quote(self.address.id)}/deployments/{quote(version)}/jobs?{urlencode(LISTS_VERSION)}"
        )
        found = list[Run]()
        for _ in range(PAGES):
            if not url:
                break
            page = _decode(self._scoring.read("GET", self._ours(url)).content, _Page)
            found += [self._told(job) for job in page.value]
            url = page.next_link
        return found

    def _ours(self, url: str) -> str:
        """Return the address of a next page. Raises EndpointError for one elsewhere: a token goes there."""
        if not url.startswith(f"{self.address.service}/"):
            raise EndpointError(f"The list of jobs goes on at another host: {shown(url)}.")
        return url

    def search(self, key: str, experiment: str) -> Run | None:  # noqa: ARG002  (jobs are the workspace's)
        """Look for the job of our key: by its name, else among the workspace's jobs by the property."""
        try:
            return self.run(key)
        except ReadError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        query = {**API_VERSION, "jobType": "Pipeline", "properties": f"{KEY}={key}"}
        page = _decode(self._arm.read("GET", f"{self.address.arm('jobs')}?{urlencode(query)}").content, _Page)
        return next((run for run in map(self._told, page.value) if run.key == key), None)

    def pinned(self, version: str) -> str:
        """Return what a job of this deployment names: the deployment."""
        return version

    def described(self, version: str) -> Described:
        """Read the endpoint, its deployments, and what the pinned one's component declares."""
        endpoint = f"batchEndpoints/{quote(self.address.id)}"
        state = _provisioned(self._get(endpoint))
        names = [one.name for one in _decode(self._get(f"{endpoint}/deployments"), _NamedPage).value]
        if version not in names:
            return Described(name=self.address.id, status=state, versions=tuple(names))
        deployment = _decode(self._get(f"{endpoint}/deployments/{quote(version)}"), dict[str, Any])
        return Described(
            name=self.address.id,
            status=state,
            versions=tuple(names),
            pipeline_id=version,
            pipeline_status=_word(deployment),
            inputs=self._inputs(deployment),
        )

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore of the workspace (ARM GET datastores/{name}), without its credential."""
        try:
            found = _decode(self._get(f"datastores/{quote(datastore, safe='')}"), dict[str, Any])
        except ReadError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        told = found.get("properties", {})
        kind, account, container = (told.get(name) for name in ("datastoreType", "accountName", "containerName"))
        return Registered(kind=kind or "", account=account, container=container)

    def _declared(self, version: str) -> dict[str, str]:
        """Return the types that a deployment's inputs are declared with; none where that cannot be read now."""
        if version not in self._types:
            try:
                self._types[version] = {one.name: one.type for one in self.described(version).inputs}
            except EndpointError:  # then values go as texts; the service says what is wrong with them
                return {}
        return self._types[version]

    def _inputs(self, deployment: dict[str, Any]) -> tuple[Input, ...]:
        configuration = deployment.get("properties", {}).get("deploymentConfiguration") or {}
        component = str((configuration.get("componentId") or {}).get("assetId") or "")
        if not component.startswith(f"{self.address.workspace}/"):
            raise EndpointError(f"Deployment {deployment.get('name')!r} is of no pipeline component of this workspace.")
        found = _decode(self._get(component.removeprefix(f"{self.address.workspace}/")), dict[str, Any])
        declared = found.get("properties", {}).get("componentSpec", {}).get("inputs") or {}
        return tuple(_input(name, told) for name, told in declared.items())

    def _get(self, path: str) -> bytes:
        return self._arm.read("GET", f"{self.address.arm(path)}?{urlencode(API_VERSION)}").content

    def _told(self, job: _Job) -> Run:
        return job.told(self.address.studio_url(job.name))


def invocation(request: RetrainRequest, experiment: str, types: dict[str, str]) -> dict[str, Any]:
    """Return the body of an invocation; `types` are those that the inputs are declared with, as far as known."""
    notes = {KEY: request.key, RULE: request.rule, ATTEMPT: str(request.attempt)}
    arrived = request.data_path
    is_folder = request.arrival.is_folder and arrived.path == request.arrival.path
    inputs = {arrived.parameter: _data(arrived, "UriFolder" if is_folder else "UriFile")}
    for path in request.data_paths:
        folder = types.get(path.parameter) == "uri_folder" or path.path.endswith("/")
        inputs[path.parameter] = _data(path, "UriFolder" if folder else "UriFile")
    for name, text in request.parameters.items():
        inputs[name] = {"jobInputType": "Literal", "value": _literal(text, types.get(name, ""))}
    return {
        "properties": {
            "inputData": inputs,
            "name": request.key,
            "description": (request.description or f"{request.rule}: {arrived.datastore}/{arrived.path}")[:5000],
            "tags": {**request.tags, **notes},
            "properties": {**notes, "experimentName": experiment},
        }
    }


def _data(path: DataPath, kind: str) -> dict[str, str]:
    return {"jobInputType": kind, "uri": f"azureml://datastores/{path.datastore}/paths/{path.path}"}


def _literal(text: str, kind: str) -> Any:
    """Return a value as its input is declared; what is none of the type goes as it is, and is refused in words."""
    try:
        return READ_AS[kind](text)
    except (KeyError, ValueError):
        return text


def _input(name: str, told: dict[str, Any]) -> Input:
    kind, required = str(told.get("type", "")), not told.get("optional") and told.get("default") is None
    if kind in LITERALS:
        return Input(name=name, assignment="string", type=LITERALS[kind], required=required)
    return Input(name=name, assignment="data_path", type=kind, required=required)


def _provisioned(content: bytes) -> str:
    return _word(_decode(content, dict[str, Any]))


def _word(resource: dict[str, Any]) -> str:
    """Return whether a resource can be used, in the word that the others are told with."""
    state = str(resource.get("properties", {}).get("provisioningState") or "")
    return "Active" if state in ("", "Succeeded") else state


def _is_key(name: str) -> bool:
    return re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{32}", name) is not None


def _decode[T](content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise EndpointError(f"The answer is not what is documented: {fault}; it begins {shown(content)}.") from fault
