"""What the flow needs of an endpoint that starts runs; and what a submission may come to, as data.

Never raises for an outcome: the four answers below are all there is.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self

import msgspec

from shared.rules import RetrainRequest


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint accepted the submission; the run exists."""

    run_id: str
    run_url: str
    """The run's page, for people."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint said no, and would say so again."""

    reason: str


class NotAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """Surely not accepted, and worth another try: throttled, connection refused, no token."""

    reason: str
    retry_after: timedelta | None = None
    """What the endpoint asked for."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """Sent, and no answer that tells: the run may exist or not."""

    reason: str


Answer = Submitted | Refused | NotAccepted | Unknown


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


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a submission may take, in seconds. Together less than the grace period, by design: after it nobody may
    still be sending, or a submission that is found nowhere could not be said to be absent."""

    begin_s: float
    """From the row's `sending` to the request: a worker that was stopped for longer does not send any more."""
    connect_s: float
    read_s: float
    """For the answer: the service may take many seconds; what has none after a minute is settled by looking."""
    retry_s: float
    """For repeating what surely was not accepted."""

    @classmethod
    def within(cls, grace: timedelta) -> Self:
        """Return limits whose sum stays below `grace`; a fifth of it remains for clocks that differ."""
        share = grace.total_seconds() / 5
        return cls(begin_s=min(60, share), connect_s=min(5, share), read_s=min(60, share), retry_s=min(15, share))


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as it would be sent."""

    method: str
    url: str
    body: dict[str, Any]


class Pipeline(Protocol):
    """An endpoint at a pinned version. Reading raises EndpointError."""

    def submit(self, request: RetrainRequest) -> Answer:
        """Send the submission once, or again where it surely was not accepted."""
        ...

    def preview(self, request: RetrainRequest) -> Preview:
        """Return what `submit` would send, without the token."""
        ...

    def run(self, run_id: str) -> Run:
        """Read a run."""
        ...

    def error_of(self, run_id: str) -> str:
        """Read why a run failed, as far as the service tells."""
        ...

    def runs(self, version: str) -> list[Run]:
        """List the runs of the pinned version."""
        ...

    def search(self, key: str) -> Run | None:
        """Look for our key in run history."""
        ...

    def pinned(self, version: str) -> str:
        """Return the id of the published pipeline that `version` stands for."""
        ...

    def close(self) -> None:
        """Give back all connections."""
        ...
