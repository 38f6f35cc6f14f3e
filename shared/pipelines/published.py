"""Talks to a pipeline endpoint at a pinned version, or to a published pipeline: the v1 REST API of Azure ML.

Never sends to the default version, and never sends again what may have been accepted.

Sources: the client that azureml-pipeline-core generates for this API (paths, casing, both forms of the version), the
article "Trigger a run of an ML pipeline" (assignments), and azureml-core (run history and its filters).
"""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

import msgspec
import requests

from shared.errors import EndpointError, shown
from shared.identity import Tokens
from shared.pipelines import wire
from shared.pipelines.address import Address
from shared.pipelines.base import (
    Answer,
    Described,
    Evidence,
    Limits,
    Preview,
    ReadError,
    Registered,
    Run,
    Submitted,
    Unknown,
)
from shared.pipelines.calls import Caller
from shared.pipelines.target import Target
from shared.rules.decision import RetrainRequest


class PublishedEndpoint:
    """A pipeline endpoint or published pipeline of the v1 API; safe to share between threads."""

    evidence = Evidence.KEYS

    def __init__(self, address: Address, tokens: Tokens, session: requests.Session, limits: Limits) -> None:
        """Talk to the endpoint at `address`, with bearer tokens from `tokens`, over `session`."""
        self.address, self.tokens = address, tokens
        self._caller = Caller(tokens, session, limits)
        self._pins = dict[str, str]()

    def submit(
        self,
        request: RetrainRequest,
        target: Target,
        in_time: Callable[[], bool] = lambda: True,
        patient: bool = True,
    ) -> Answer:
        """POST the submission; see `Caller.submit`."""
        url, content = self.address.submit_url(target.version), wire.submission(request, target.experiment)
        return self._caller.submit(
            url, msgspec.json.encode(content), self._accepted, key=request.key, in_time=in_time, patient=patient
        )

    def _accepted(self, response: requests.Response) -> Answer | None:
        """Tell what a response means that says so. The service accepts with 200 only (so does the SDK)."""
        if response.status_code != HTTPStatus.OK:
            return None
        run = wire.run(response.content)
        if run is None:
            return Unknown(reason=f"200 without a run id: {shown(response.text)}")
        return Submitted(run_id=run.id, run_url=run.run_url or self.address.studio_url(run.id))

    def preview(self, request: RetrainRequest, target: Target) -> Preview:
        """Return what `submit` would send."""
        url = self.address.submit_url(target.version)
        return Preview(method="POST", url=url, body=wire.submission(request, target.experiment))

    def run(self, run_id: str) -> Run:
        """Read a run (GET PipelineRuns/{id})."""
        found = wire.run(self._caller.read("GET", self.address.api(f"PipelineRuns/{run_id}")).content)
        if found is None:
            raise EndpointError(f"Run {run_id}: the answer is no run.")
        return self._told(found)

    def cancel(self, run_id: str) -> None:
        """Ask that a run ends (DELETE PipelineRuns/{id}/Execution)."""
        self._caller.read("DELETE", self.address.api(f"PipelineRuns/{run_id}/Execution"))

    def error_of(self, run_id: str) -> str:
        """Read why a run failed, from run history (GET history runs/{id})."""
        return wire.history_run(self._caller.read("GET", self.address.history(f"runs/{run_id}")).content).reason

    def runs(self, version: str) -> list[Run]:
        """List the runs of the pinned version (GET PipelineRuns/Pipeline/{id}); its order and length are unknown."""
        response = self._caller.read("GET", self.address.api(f"PipelineRuns/Pipeline/{self.pinned(version)}"))
        return [self._told(run) for run in wire.runs(response.content)]

    def search(self, key: str, experiment: str) -> Run | None:
        """Look for `key` among the tags and properties in run history (POST runs:query)."""
        experiment = quote(experiment, safe="")
        query = {"filter": f'(Tags/{wire.KEY} eq "{key}" or Properties/{wire.KEY} eq "{key}")', "top": 1}
        response = self._caller.read("POST", self.address.history(f"experiments/{experiment}/runs:query"), query)
        if response.status_code == HTTPStatus.NOT_FOUND or not (found := wire.history_page(response.content)):
            return None  # no such run; or no such experiment yet, which the first run makes
        return self.run(found[0].run_id)

    def pinned(self, version: str) -> str:
        """Return the published pipeline that `version` stands for (GET PipelineEndpoints/Id/{id}); read once."""
        if self.address.kind == "published_pipeline":
            return version
        if version not in self._pins:
            response = self._caller.read("GET", self.address.api(f"PipelineEndpoints/Id/{self.address.id}"))
            self._pins |= wire.versions(response.content)
        if version not in self._pins:
            raise EndpointError(f"Endpoint {self.address.id} has no version {version!r}.")
        return self._pins[version]

    def described(self, version: str) -> Described:
        """Read the endpoint, the pipeline behind `version`, and its parameters.

        GET PipelineEndpoints/Id/{id}, Pipelines/{id}, Graphs/{id}/Interface; the first only, if it has no such version.
        """
        versions: dict[str, str] = {}
        endpoint = None
        pipeline_id: str | None = self.address.id
        if self.address.kind == "pipeline_endpoint":
            content = self._caller.read("GET", self.address.api(f"PipelineEndpoints/Id/{self.address.id}")).content
            endpoint, versions = wire.entity(content), wire.versions(content)
            pipeline_id = versions.get(version)
            if pipeline_id is None:
                return Described(name=endpoint.name or "", status=endpoint.status, versions=tuple(versions))
        pipeline = wire.entity(self._caller.read("GET", self.address.api(f"Pipelines/{pipeline_id}")).content)
        if pipeline.graph_id is None:
            raise EndpointError(f"Pipeline {pipeline_id}: the service's answer names no graph, so no parameters.")
        interface = self._caller.read("GET", self.address.api(f"Graphs/{pipeline.graph_id}/Interface"))
        told = endpoint or pipeline
        return Described(
            name=told.name or "",
            status=told.status,
            versions=tuple(versions),
            pipeline_id=pipeline_id,
            pipeline_status=pipeline.status,
            inputs=wire.inputs(interface.content),
        )

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore of the workspace (GET datastore/v1.0 datastores/{name}), without keeping its credential."""
        url = f"{self.address.service}/datastore/v1.0{self.address.workspace}/datastores/{quote(datastore, safe='')}"
        try:
            return wire.registered(self._caller.read("GET", url).content)
        except ReadError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _told(self, run: wire.PipelineRun) -> Run:
        return run.told(self.address.studio_url(run.id))
