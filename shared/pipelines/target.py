"""Where a submission goes: endpoint, pinned version, experiment, audience, as one whole. Never anything but data.

A row of the ledger keeps the target that it was sent to, and every later step works from that, whatever the
configuration says by then.
"""

import msgspec

from shared.pipelines.address import Address

PUBLIC = "https://management.azure.com"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint at a pinned version, and what else decides where a run is found again."""

    address: Address
    version: str
    """The endpoint's version or deployment; of a published pipeline its id."""
    experiment: str
    """The experiment that the run goes to."""
    audience: str = PUBLIC
    """Audience of the bearer token."""
    outputs: tuple[tuple[str, str], ...] = ()
    """Of the v2 kinds: outputs that have a place of their own, each with its URI; `{key}` in it is the request's."""
    compute: str = ""
    """Of a component job: the compute that its steps run on, where they name none."""

    @property
    def place(self) -> str:
        """Which endpoint this is: service, workspace and id, for people too."""
        return f"{self.address.service}{self.address.workspace}/{self.address.id}"

    @property
    def pin(self) -> tuple[Address, str]:
        """What runs are listed by: the endpoint and the version."""
        return self.address, self.version
