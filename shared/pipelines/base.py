"""What the flow needs of an endpoint that starts runs; and what a submission may come to, as data.

Never raises for an outcome: the four answers below are all there is.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self

import msgspec

from shared.errors import EndpointError
from shared.pipelines.target import Target
from shared.rules.decision import RetrainRequest
from shared.rules.rule import Assignment


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint accepted the submission; the run exists."""

    run_id: str
    run_url: str
    """The run's page, for people."""
    repeated: bool = False
    """It was there already, and the service said so: sending it again has started nothing."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint said no to what this request is, and would say so again."""

    reason: str


class NotAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """Surely not accepted, and not because of what the request is: throttled, no role, no token, not there."""

    reason: str
    soon: bool = False
    """It may pass within seconds: worth another try at once."""
    blocked: bool = True
    """The endpoint takes nothing at present, so that others need not try."""
    retry_after: timedelta | None = None
    """What the endpoint asked for."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """Sent, and no answer that tells: the run may exist or not."""

    reason: str


Answer = Submitted | Refused | NotAccepted | Unknown


class Evidence(StrEnum):
    """What must have been seen of an endpoint before what is found nowhere is sent again without a person's word."""

    KEYS = "keys"
    """Its lists of runs give our keys back: what is not in them is not there."""
    REPEATS = "repeats"
    """It refuses a second job of a name: sending again starts nothing where there is one."""


class Phase(StrEnum):
    """Where a run is, whatever words its service has for it."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the service tells it."""

    run_id: str
    run_url: str
    phase: Phase
    word: str
    """The status in the service's own word."""
    key: str | None
    """Our key, if the service gives it back."""
    pipeline_id: str | None
    """The published pipeline that the run really is of."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""


class ReadError(EndpointError):
    """A read that the service answered with something else than 200 (`status`), or not at all (None)."""

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(text)


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a published pipeline."""

    name: str
    assignment: Assignment
    """Which map of a submission it belongs in: what it was published as."""
    type: str = ""
    """Int, Double, Bool or String, of a plain parameter."""
    required: bool
    """Neither optional nor with a default."""
    datastore: str | None = None
    """Datastore of the default value, of a path."""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What the service tells of an endpoint and its pinned version. A published pipeline is a version by itself."""

    name: str
    status: str
    versions: tuple[str, ...] = ()
    """All versions of the endpoint; none for a published pipeline."""
    pipeline_id: str | None = None
    """The published pipeline that is pinned; None when the endpoint has no such version."""
    pipeline_status: str = ""
    inputs: tuple[Input, ...] = ()


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A datastore as it is registered in the workspace. Never holds its credential."""

    kind: str
    account: str | None = None
    container: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a submission may take, in seconds. Together less than the grace period, by design: after it nobody may
    still be sending, or a submission that is found nowhere could not be said to be absent."""

    begin_s: float
    """From the row's `sending` to the last request: a worker that stood still for longer does not send any more."""
    retry_s: float
    """For repeating, within that, what surely was not accepted."""
    connect_s: float
    read_s: float
    """For the answer: the service may take many seconds; what has none after a minute is settled by looking."""

    @classmethod
    def within(cls, grace: timedelta) -> Self:
        """Return limits that end within four fifths of `grace`; the rest remains for clocks that differ."""
        share = grace.total_seconds() / 5
        return cls(begin_s=min(60, share * 2), retry_s=min(15, share), connect_s=min(5, share), read_s=min(60, share))


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as it would be sent."""

    method: str
    url: str
    body: dict[str, Any]


class Endpoint(Protocol):
    """An endpoint that starts runs; safe to share between threads. Reading raises EndpointError."""

    evidence: Evidence

    def submit(
        self, request: RetrainRequest, target: Target, in_time: Callable[[], bool] = ..., patient: bool = ...
    ) -> Answer:
        """Send the submission once; `patient`: again, within a bound, where it surely was not accepted and that may
        pass. Never once `in_time` is false."""
        ...

    def preview(self, request: RetrainRequest, target: Target) -> Preview:
        """Return what `submit` would send, without the token."""
        ...

    def run(self, run_id: str) -> Run:
        """Read a run. Raises ReadError, with status 404 when there is none."""
        ...

    def cancel(self, run_id: str) -> None:
        """Ask that a run ends; it may take a while. Raises ReadError, with status 404 when there is none."""
        ...

    def error_of(self, run_id: str) -> str:
        """Read why a run failed, as far as the service tells."""
        ...

    def runs(self, version: str) -> list[Run]:
        """List the runs of a version."""
        ...

    def search(self, key: str, experiment: str) -> Run | None:
        """Look for our key in the run history of an experiment."""
        ...

    def pinned(self, version: str) -> str:
        """Return the id of the published pipeline that `version` stands for."""
        ...

    def described(self, version: str) -> Described:
        """Read the endpoint, the pipeline that `version` stands for, and its parameters. Raises ReadError, too."""
        ...

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore of the workspace; None when there is none of this name. Raises ReadError, too."""
        ...
