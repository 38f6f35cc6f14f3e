"""What the flow needs of an endpoint that starts runs; and what a submission may come to, as data.

Never raises for an outcome: the four answers below are all there is.
"""

from datetime import timedelta
from typing import Protocol

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


class Pipeline(Protocol):
    """An endpoint at a pinned version."""

    def close(self) -> None:
        """Give back all connections."""
        ...

    def submit(self, request: RetrainRequest) -> Answer:
        """Send the submission once, or again where it surely was not accepted."""
        ...
