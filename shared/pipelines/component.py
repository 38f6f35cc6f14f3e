"""Starts a pinned pipeline component as a job under a name of our own: ARM PUT jobs/{key}.

The name is the key, so that sending again addresses the same job. That the service refuses a second one, as a public
report says (Azure/azure-sdk-for-python#42156), is believed only once it was seen. Never starts the latest version.

Sources: azure-ai-ml, whose requests the conformance tests record (`jobs.create_or_update` of a component), and the
generated client of the ARM API (PipelineJob).
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
import requests

from shared.errors import EndpointError
from shared.identity import Tokens
from shared.pipelines import jobs
from shared.pipelines.address import Address
from shared.pipelines.base import (
    Answer,
    Described,
    Evidence,
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

PAGES = 20  # of the list of jobs that are read at most: what is not in them is read by its name
EXISTS = "already exists"  # the words in the report


class _Version(msgspec.Struct):
    name: str


class _Versions(msgspec.Struct):
    value: list[_Version]


class ComponentJob:
    """A pipeline component of a workspace; safe to share between threads."""

    evidence = Evidence.REPEATS

    def __init__(self, address: Address, tokens: Tokens, session: requests.Session, limits: Limits) -> None:
        """Talk to Resource Manager about the component at `address`, with bearer tokens from `tokens`."""
        self.address, self.tokens = address, tokens
        self._caller = Caller(tokens, session, limits)
        self._workspace = Workspace(address, self._caller)

    def submit(
        self,
        request: RetrainRequest,
        target: Target,
        in_time: Callable[[], bool] = lambda: True,
        patient: bool = True,
    ) -> Answer:
        """PUT the job; see `Caller.submit`."""
        if reason := jobs.bad_name(request):
            return Refused(reason=reason)

        def accepted(response: requests.Response) -> Answer | None:
            return self._accepted(response, request.key)

        return self._caller.submit(
            self._workspace.url(jobs.job_path(request.key)),
            msgspec.json.encode(self._job(request, target)),
            accepted,
            key=request.key,
            in_time=in_time,
            patient=patient,
            method="PUT",
        )

    def _accepted(self, response: requests.Response, key: str) -> Answer | None:
        """Tell what a response means that says so: 200 or 201; or a refusal, where the job is there all the same."""
        submitted = Submitted(run_id=key, run_url=self.address.studio_url(key))
        if response.status_code in (HTTPStatus.OK, HTTPStatus.CREATED):
            return submitted
        if response.status_code not in (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT):
            return None
        try:
            self._workspace.job(key)  # nobody else has this name
        except ReadError as error:
            return None if error.status == HTTPStatus.NOT_FOUND else _untold(response, error)
        except EndpointError as error:
            return _untold(response, error)
        return msgspec.structs.replace(submitted, repeated=EXISTS in response.text.lower())

    def preview(self, request: RetrainRequest, target: Target) -> Preview:
        """Return what `submit` would send."""
        url = self._workspace.url(jobs.job_path(request.key))
        return Preview(method="PUT", url=url, body=self._job(request, target))

    def _job(self, request: RetrainRequest, target: Target) -> dict[str, Any]:
        return {"properties": job(request, target, f"{self.address.workspace}/{self._component(target.version)}")}

    def run(self, run_id: str) -> Run:
        """Read a job."""
        return self._told(self._workspace.job(run_id))

    def cancel(self, run_id: str) -> None:
        """Ask that a job ends."""
        self._workspace.cancel(run_id)

    def error_of(self, run_id: str) -> str:
        """Read why a job failed, as far as the job tells."""
        return self.run(run_id).error

    def runs(self, version: str) -> list[Run]:  # noqa: ARG002  (the list tells of no component)
        """List the jobs of ours in the workspace, newest first; the newest pages only."""
        return [self._told(one) for one in self._workspace.jobs(KEY, PAGES)]

    def search(self, key: str, experiment: str) -> Run | None:  # noqa: ARG002  (jobs are the workspace's)
        """Look for the job of our key, which is its name."""
        try:
            return self.run(key)
        except ReadError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def pinned(self, version: str) -> str:
        """Return what a job of this version names: the component's path in the workspace."""
        return self._component(version)

    def described(self, version: str) -> Described:
        """Read the component's versions, and what the pinned one declares."""
        versions = jobs.decode(self._workspace.get(f"components/{quote(self.address.id)}/versions"), _Versions)
        names = tuple(one.name for one in versions.value)
        if version not in names:
            return Described(name=self.address.id, status="Active", versions=names)
        return Described(
            name=self.address.id,
            status="Active",
            versions=names,
            pipeline_id=self._component(version),
            pipeline_status="Active",
            inputs=self._workspace.component(self._component(version)),
        )

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore of the workspace, without its credential."""
        return self._workspace.registered(datastore)

    def _component(self, version: str) -> str:
        return f"components/{quote(self.address.id)}/versions/{quote(version)}"

    def _told(self, found: Job) -> Run:
        """Return a job in the flow's terms, and of which component it is, where the service tells."""
        of = (found.properties.component_id or "").removeprefix(f"{self.address.workspace}/")
        return found.told(self.address, of or None)


def job(request: RetrainRequest, target: Target, component: str) -> dict[str, Any]:
    """Return the properties of a job; literals are texts here, whatever the component declares."""
    notes, compute = jobs.notes(request), f"{target.address.workspace}/computes/{target.compute}"
    inputs = {
        name: {"jobInputType": "uri_folder" if is_folder else "uri_file", "uri": uri}
        for name, (uri, is_folder) in jobs.data_inputs(request, {}).items()
    }
    inputs |= {name: {"jobInputType": "literal", "value": text} for name, text in request.parameters.items()}
    return {
        "jobType": "Pipeline",
        "componentId": component,
        "experimentName": target.experiment,
        "displayName": request.key,
        "description": jobs.described_as(request),
        "tags": {**request.tags, **notes},
        "properties": notes,
        "inputs": inputs,
        **({"outputs": jobs.outputs(request, target, "uri_folder")} if target.outputs else {}),
        **({"settings": {"default_compute": compute}} if target.compute else {}),
    }


def _untold(response: requests.Response, error: EndpointError) -> Unknown:
    """Refused, and whether the job is there all the same could not be read."""
    return Unknown(reason=f"{response.status_code}, and whether the job is there could not be read: {error}")
