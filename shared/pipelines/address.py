"""The REST endpoint of a pipeline endpoint or published pipeline, taken apart. Pure: never sends anything.

The studio shows this address as "REST endpoint"; the SDK calls it `.endpoint`.
"""

import re
from typing import Literal, Self
from urllib.parse import quote, urlsplit

import msgspec

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
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a pipeline endpoint or a published pipeline lives."""

    service: str
    """Scheme and host of the workspace's pipelines service, as in `https://westeurope.api.azureml.ms`."""
    workspace: str
    """Path of the workspace, from `/subscriptions/`."""
    kind: Literal["pipeline_endpoint", "published_pipeline"]
    id: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take the REST endpoint apart. Raises ValueError saying what was expected."""
        if any(character.isspace() for character in url):
            raise ValueError("expected no blanks: one at the end would become part of the id")
        parts = urlsplit(url)
        found = _PATH.fullmatch(parts.path)
        if not found or not parts.netloc:
            raise ValueError(
                "expected the REST endpoint as the studio shows it: "
                "https://{region}.api.azureml.ms/pipelines/v1.0/subscriptions/.../PipelineRuns/"
                "PipelineEndpointSubmit/Id/{id} or .../PipelineRuns/PipelineSubmit/{id}"
            )
        if parts.query or parts.fragment:
            raise ValueError("expected no query: the version has a key of its own")
        # A bearer token goes there: plain HTTP only to the stand-in on this machine.
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("expected https")
        return cls(
            service=f"{parts.scheme}://{parts.netloc}",
            workspace=found["workspace"],
            kind=_FORMS[found["form"].lower()],
            id=found["id"],
        )

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
