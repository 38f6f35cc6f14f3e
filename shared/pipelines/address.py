"""The address of an endpoint, taken apart: of a pipeline endpoint, a published pipeline, a batch endpoint, a component.

The studio shows the first two as "REST endpoint" (the SDK calls it `.endpoint`), the third as "scoring URI". A
component is addressed by its workspace and its name. Sends nothing, ever.
"""

import re
from typing import Literal, Self
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from shared.pipelines.clouds import CLOUDS, LOCAL, LOOPBACK

_PATH = re.compile(
    r"/pipelines/v1\.0(?P<workspace>/subscriptions/[^/]+/resourceGroups/[^/]+"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+)"
    r"/PipelineRuns/(?P<form>PipelineEndpointSubmit/Id|PipelineSubmit)/(?P<id>[^/]+)/?",
    re.IGNORECASE,
)
_FORMS: dict[str, Literal["pipeline_endpoint", "published_pipeline"]] = {
    "pipelineendpointsubmit/id": "pipeline_endpoint",
    "pipelinesubmit": "published_pipeline",
}
_WORKSPACE = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+",
    re.IGNORECASE,
)
# The stand-in has all its endpoints on one host, under a path of their own.
_SCORING = re.compile(r"(?:/batch/(?P<name>[^/]+))?/jobs/?")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where an endpoint lives."""

    service: str
    """Scheme and host of the workspace's pipelines service, as in `https://westeurope.api.azureml.ms`; of a batch
    endpoint those of the service that lists its jobs, which has the same address."""
    workspace: str
    """Path of the workspace, from `/subscriptions/`."""
    kind: Literal["pipeline_endpoint", "published_pipeline", "batch_endpoint", "component_job"]
    id: str
    """Of a batch endpoint or a component its name."""
    scoring: str = ""
    """Of a batch endpoint: its scoring URI."""
    management: str = ""
    """Of a batch endpoint or a component: scheme and host of its cloud's Azure Resource Manager."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take the REST endpoint apart. Raises ValueError saying what was expected."""
        parts = _parts(url)
        found = _PATH.fullmatch(parts.path)
        if not found or not parts.netloc:
            raise ValueError(
                "expected the REST endpoint as the studio shows it: "
                "https://{region}.api.azureml.ms/pipelines/v1.0/subscriptions/.../PipelineRuns/"
                "PipelineEndpointSubmit/Id/{id} or .../PipelineRuns/PipelineSubmit/{id}"
            )
        if parts.query or parts.fragment:
            raise ValueError("expected no query: the version has a key of its own")
        _refuse_plain_http(parts)
        return cls(
            service=f"{parts.scheme}://{parts.netloc}",
            workspace=found["workspace"],
            kind=_FORMS[found["form"].lower()],
            id=found["id"],
        )

    @classmethod
    def of_batch(cls, url: str, workspace: str) -> Self:
        """Take a scoring URI apart, of an endpoint in a workspace. Raises ValueError saying what was expected."""
        parts = _parts(url)
        found, host = _SCORING.fullmatch(parts.path), parts.hostname or ""
        labels = host.split(".", 2)
        cloud = LOCAL if host in LOOPBACK else CLOUDS.get(labels[2]) if len(labels) == 3 else None
        if not found or cloud is None or (found["name"] is None) == (host in LOOPBACK):
            raise ValueError(
                "expected the scoring URI as the studio shows it: https://{endpoint}.{region}.inference.ml.azure.com/jobs"
            )
        if parts.query or parts.fragment:
            raise ValueError("expected no query: the deployment has a key of its own")
        _refuse_plain_http(parts)
        _refuse_no_workspace(workspace)
        own = f"{parts.scheme}://{parts.netloc}"
        return cls(
            service=f"https://{labels[1]}.{cloud.services}" if cloud.services else own,
            workspace=workspace,
            kind="batch_endpoint",
            id=found["name"] or labels[0],
            scoring=f"{own}{parts.path.rstrip('/')}",
            management=cloud.management or own,
        )

    @classmethod
    def of_component(cls, url: str, workspace: str, name: str) -> Self:
        """Return the address of a component in a workspace, at a Resource Manager. Raises ValueError."""
        parts = _parts(url)
        own = f"{parts.scheme}://{parts.netloc}"
        if url.rstrip("/") != own or not (
            parts.hostname in LOOPBACK or own in {one.management for one in CLOUDS.values()}
        ):
            known = ", ".join(one.management for one in CLOUDS.values())
            raise ValueError(f"expected the address of Azure Resource Manager: {known}")
        _refuse_plain_http(parts)
        _refuse_no_workspace(workspace)
        return cls(service=own, workspace=workspace, kind="component_job", id=name, management=own)

    def arm(self, path: str) -> str:
        """Return the URL of `path` in the workspace in Azure Resource Manager."""
        return f"{self.management}{self.workspace}/{path}"

    def api(self, path: str) -> str:
        """Return the URL of `path` in the workspace's pipelines API (v1.0)."""
        return f"{self.service}/pipelines/v1.0{self.workspace}/{path}"

    def history(self, path: str) -> str:
        """Return the URL of `path` in the workspace's run history API (v1.0)."""
        return f"{self.service}/history/v1.0{self.workspace}/{path}"

    def submit_url(self, version: str) -> str:
        """Return the URL to submit to, pinned.

        An endpoint's version goes in twice, as path segment and as query: so does the SDK, whose comment says that
        the service wants both. A published pipeline is a version by itself: its id is the version.
        """
        if self.kind == "published_pipeline":
            return self.api(f"PipelineRuns/PipelineSubmit/{quote(version, safe='')}")
        pinned = quote(version, safe="")
        return self.api(f"PipelineRuns/PipelineEndpointSubmit/Id/{self.id}/{pinned}?pipelineVersion={pinned}")

    def studio_url(self, run_id: str) -> str:
        """Return the page of a run in Azure Machine Learning studio."""
        return f"https://ml.azure.com/runs/{quote(run_id, safe='')}?wsid={quote(self.workspace)}"


def _parts(url: str) -> SplitResult:
    if any(character.isspace() for character in url):
        raise ValueError("expected no blanks: one at the end would become part of the id")
    return urlsplit(url)


def _refuse_no_workspace(workspace: str) -> None:
    if not _WORKSPACE.fullmatch(workspace):
        raise ValueError(
            "expected the workspace's id: /subscriptions/.../resourceGroups/.../providers/"
            "Microsoft.MachineLearningServices/workspaces/..."
        )


def _refuse_plain_http(parts: SplitResult) -> None:
    """A bearer token goes there: plain HTTP only to the stand-in on this machine."""
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("expected https")
