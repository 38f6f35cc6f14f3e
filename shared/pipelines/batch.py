"""Talks to a batch endpoint at a pinned deployment of a pipeline component: the successor of published pipelines.

The pin is a header of each invocation. The key goes along as the job's name, as a tag and as a property, since which of
them the service keeps is not documented. Jobs are read through Azure Resource Manager, or through the scoring URI where
that is not to be had. Never invokes the default deployment, and never sends again what may have been accepted.

Sources: how-to-access-data-batch-endpoints-jobs (body, header), how-to-use-event-grid-batch (scoring URI), and
azure-ai-ml, whose requests ./retrain conformance records (casing, lists of jobs).
"""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import requests

from shared import reading
from shared.errors import EndpointError, shown
from shared.identity import Tokens
from shared.pipelines import jobs
from shared.pipelines.address import Address
from shared.pipelines.base import (
    Answer,
    Described,
    Evidence,
    Input,
    Limits,
    Preview,
    ReadError,
    Refused,
    Registered,
    Run,
    Submitted,
    Unknown,
)
from shared.pipelines.calls import Caller
from shared.pipelines.jobs import Job, Workspace
from shared.pipelines.target import Target
from shared.pipelines.wire import KEY
from shared.rules.decision import RetrainRequest

LISTS_VERSION = {"api-version": "2020-09-01-dataplanepreview"}
PAGES = 20  # of a list that are read at most: what is not in them is read by its name
DEPLOYMENT = "azureml-model-deployment"
REPEATABILITY = "repeatability_request-id"  # the SDK's spelling; what it does is not documented, so nothing rests on it
DEPLOYMENT_PROPERTY = "azureml.deploymentname"  # the service's own; a rule may call a tag whatever it likes
_IN_ID = re.compile(r"/deployments/(?P<name>[^/]+)/jobs/", re.IGNORECASE)
READ_AS: dict[str, Callable[[str], Any]] = {
    "Int": int,
    "Double": float,
    "Bool": lambda text: {"true": True, "false": False}[text.lower()],
}


class _Named(msgspec.Struct):
    name: str


class _NamedPage(msgspec.Struct):
    value: list[_Named]


class BatchEndpoint:
    """A batch endpoint; safe to share between threads."""

    evidence = Evidence.KEYS

    def __init__(
        self, address: Address, tokens: Tokens, management: Tokens, session: requests.Session, limits: Limits
    ) -> None:
        """Talk to the endpoint at `address`: `tokens` are for its scoring URI, `management` for Resource Manager."""
        self.address, self.tokens = address, tokens
        self._scoring = Caller(tokens, session, limits)
        self._workspace = Workspace(address, Caller(management, session, limits))
        self._types = dict[str, dict[str, str]]()

    def submit(
        self,
        request: RetrainRequest,
        target: Target,
        in_time: Callable[[], bool] = lambda: True,
        patient: bool = True,
    ) -> Answer:
        """POST the invocation; see `Caller.submit`."""
        if reason := jobs.bad_name(request):
            return Refused(reason=reason)
        types = self._declared(target.version) if request.parameters or request.data_paths else {}
        body = invocation(request, target, types)

        def accepted(response: requests.Response) -> Answer | None:
            return self._accepted(response, request.key)

        return self._scoring.submit(
            self.address.scoring,
            msgspec.json.encode(body),
            accepted,
            key=request.key,
            in_time=in_time,
            patient=patient,
            headers={DEPLOYMENT: target.version, REPEATABILITY: str(uuid.uuid5(uuid.NAMESPACE_URL, request.key))},
        )

    def _accepted(self, response: requests.Response, key: str) -> Answer | None:
        """Tell what a response means that says so: 200 or 201 (so does the SDK); or that this very name is taken."""
        if response.status_code == HTTPStatus.CONFLICT and key in response.text:
            return Submitted(run_id=key, run_url=self.address.studio_url(key))  # nobody else has this name
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
            return None
        try:
            name = reading.decode(response.content, _Named).name
        except (msgspec.DecodeError, UnicodeDecodeError):
            name = ""
        if not name:
            return Unknown(reason=f"{response.status_code} without a job's name: {shown(response.text)}")
        return Submitted(run_id=name, run_url=self.address.studio_url(name))

    def preview(self, request: RetrainRequest, target: Target) -> Preview:
        """Return what `submit` would send; the deployment is a header."""
        body = invocation(request, target, self._types.get(target.version, {}))
        return Preview(method="POST", url=self.address.scoring, body={**body, f"({DEPLOYMENT})": target.version})

    def run(self, run_id: str) -> Run:
        """Read a job (ARM GET jobs/{name}; GET {scoring URI}/{name} where Resource Manager may not be read)."""
        try:
            found = self._workspace.job(run_id)
        except EndpointError as error:
            if isinstance(error, ReadError) and error.status == HTTPStatus.NOT_FOUND:
                raise
            content = self._scoring.read("GET", f"{self.address.scoring}/{quote(run_id, safe='')}").content
            found = jobs.decode(content, Job)
        return self._told(found)

    def cancel(self, run_id: str) -> None:
        """Ask that a job ends."""
        self._workspace.cancel(run_id)

    def error_of(self, run_id: str) -> str:
        """Read why a job failed, as far as the job tells."""
        return self.run(run_id).error

    def runs(self, version: str) -> list[Run]:
        """List a deployment's jobs, newest first (GET .../deployments/{name}/jobs); the newest pages only."""
        front = f"{self.address.service}/mferp/managementfrontend{self.address.workspace}/batchEndpoints"
        url = f"{front}/{quote(self.address.id)}/deployments/{quote(version)}/jobs?{urlencode(LISTS_VERSION)}"
        return [self._told(job) for job in jobs.listed(self._scoring, url, self.address.service, PAGES)]

    def search(self, key: str, experiment: str) -> Run | None:  # noqa: ARG002  (jobs are the workspace's)
        """Look for the job of our key: by its name, else among the workspace's jobs by the property."""
        try:
            return self.run(key)
        except ReadError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        found = [self._told(job) for job in self._workspace.jobs(f"{KEY}={key}")]
        return next((run for run in found if run.key == key), None)

    def pinned(self, version: str) -> str:
        """Return what a job of this deployment names: the deployment."""
        return version

    def described(self, version: str) -> Described:
        """Read the endpoint, its deployments, and what the pinned one's component declares."""
        endpoint, get = f"batchEndpoints/{quote(self.address.id)}", self._workspace.get
        state = jobs.word(jobs.decode(get(endpoint), dict[str, Any]))
        names = [one.name for one in jobs.decode(get(f"{endpoint}/deployments"), _NamedPage).value]
        if version not in names:
            return Described(name=self.address.id, status=state, versions=tuple(names))
        deployment = jobs.decode(get(f"{endpoint}/deployments/{quote(version)}"), dict[str, Any])
        return Described(
            name=self.address.id,
            status=state,
            versions=tuple(names),
            pipeline_id=version,
            pipeline_status=jobs.word(deployment),
            inputs=self._inputs(deployment),
        )

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore of the workspace, without its credential."""
        return self._workspace.registered(datastore)

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
        return self._workspace.component(component.removeprefix(f"{self.address.workspace}/"))

    def _told(self, job: Job) -> Run:
        """Return a job in the flow's terms; the deployment stands in its id, or in the service's own property."""
        found = _IN_ID.search(job.id)
        own = {name.lower(): value for name, value in (job.properties.properties or {}).items()}
        return job.told(self.address, found["name"] if found else own.get(DEPLOYMENT_PROPERTY))


def invocation(request: RetrainRequest, target: Target, types: dict[str, str]) -> dict[str, Any]:
    """Return the body of an invocation; `types` are those that the inputs are declared with, as far as known."""
    notes = jobs.notes(request)
    inputs: dict[str, Any] = {
        name: {"jobInputType": "UriFolder" if is_folder else "UriFile", "uri": uri}
        for name, (uri, is_folder) in jobs.data_inputs(request, types).items()
    }
    for name, text in request.parameters.items():
        inputs[name] = {"jobInputType": "Literal", "value": _literal(text, types.get(name, ""))}
    return {
        "properties": {
            "inputData": inputs,
            "name": request.key,
            "description": jobs.described_as(request),
            "tags": {**request.tags, **notes},
            "properties": {**notes, "experimentName": target.experiment},
            **({"outputData": jobs.outputs(request, target, "UriFolder")} if target.outputs else {}),
        }
    }


def _literal(text: str, kind: str) -> Any:
    """Return a value as its input is declared; what is none of the type goes as it is, and is refused in words."""
    try:
        return READ_AS[kind](text)
    except (KeyError, ValueError):
        return text
