"""Runs: what was submitted, how it stands, and how times are written.

Types and transitions only; never starts anything.
"""

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.workspace.catalog import Pipeline


class RunStatus(enum.IntEnum):
    """Status of a pipeline run; the v1 service writes the number, the names are its words."""

    NotStarted = 0
    Running = 1
    Failed = 2
    Finished = 3
    Canceled = 4

    @property
    def ended(self) -> bool:
        """Tell whether nothing more can happen to the run."""
        return self in (RunStatus.Failed, RunStatus.Finished, RunStatus.Canceled)


def utc_now() -> datetime:
    """Return the current time, aware."""
    return datetime.now(UTC)


def wire_time(moment: datetime) -> str:
    """Write a time as .NET services do: UTC with seven fractional digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


@dataclass(frozen=True)
class Received:
    """A submission as it arrived, for those who check what was sent; the token is left out."""

    url: str
    """Path and query, percent-encoded as they came."""
    headers: dict[str, str]
    body: Any
    method: str = "POST"


@dataclass(frozen=True)
class DataPath:
    """A path on a registered datastore."""

    datastore: str
    path: str


@dataclass(frozen=True)
class Submission:
    """A submission that was read and found in order."""

    experiment: str
    description: str = ""
    run_source: str | None = None
    run_type: int = 0
    parameters: dict[str, str] = field(default_factory=dict)
    data_paths: dict[str, DataPath] = field(default_factory=dict)
    datasets: dict[str, DataPath] = field(default_factory=dict)
    outputs: dict[str, DataPath] = field(default_factory=dict)
    """Of jobs: where an output is to be written, beside the workspace's own place."""
    continue_on_failure: bool | None = None
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    parent_run_id: str | None = None


@dataclass
class Run:
    """One accepted submission on its way from NotStarted to its end."""

    id: str
    number: int
    submission: Submission
    pipeline: Pipeline
    received: Received
    accepted: datetime
    endpoint_id: str | None = None
    version: str | None = None
    root_run_id: str = ""
    status: RunStatus = RunStatus.NotStarted
    step: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = None
    metrics: dict[str, float] | None = None
    outputs: tuple[str, ...] = ()  # blob names
    roc: tuple[tuple[float, float], ...] = ()  # points of the curve: false positive rate, true positive rate
    component_id: str | None = None  # of a job that ARM started
    is_job: bool = False  # started by a batch endpoint or by ARM, not by the pipelines service
    held: bool = False
    removed: bool = False  # as if somebody had deleted it: no service knows it any more
    tags: dict[str, str] = field(default_factory=dict)  # set later, through run history
    properties: dict[str, str] = field(default_factory=dict)  # set later, through run history

    def start(self) -> None:
        """NotStarted -> Running; a run that has ended stays as it is."""
        if self.status is RunStatus.NotStarted:
            self.status, self.started = RunStatus.Running, utc_now()

    def end(
        self,
        status: RunStatus,
        *,
        error: str | None = None,
        metrics: dict[str, float] | None = None,
        outputs: tuple[str, ...] = (),
        roc: tuple[tuple[float, float], ...] = (),
    ) -> None:
        """Bring the run to its end; the first end stands."""
        if not self.status.ended:
            self.status, self.ended, self.step = status, utc_now(), None
            self.error, self.metrics, self.outputs, self.roc = error, metrics, outputs, roc

    @property
    def data(self) -> DataPath:
        """The path that Import Data reads: the submitted one, else the pipeline's default."""
        content = self.pipeline.content
        given = {**self.submission.data_paths, **self.submission.datasets}
        defaults = {p.name: DataPath(p.datastore, p.path) for p in (*content.data_paths, *content.datasets)}
        return given.get(content.imported) or defaults[content.imported]

    @property
    def parameters(self) -> dict[str, str]:
        """Basic parameters as the run uses them: the pipeline's defaults, then what was submitted."""
        defaults = {p.name: str(p.default) for p in self.pipeline.content.parameters if p.default is not None}
        return {**defaults, **self.submission.parameters}
