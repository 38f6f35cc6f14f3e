"""Which workspace is asked, and whether runs may be started there: settings from the environment.

Never holds a credential: the identity is found as the app finds its own.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self

import msgspec

from shared.pipelines.address import Address
from shared.pipelines.clouds import CLOUDS, PUBLIC, Cloud, cloud_of
from shared.rules.decision import written_text

PREFIX = "LIVE_AZUREML_"
KEYS = 16  # more than there are submissions


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The settings `LIVE_AZUREML_...`, each by its name in small letters; what is empty is not asked about."""

    endpoint_url: str = ""
    """REST endpoint of a pipeline endpoint."""
    version: str = ""
    """The version of it to ask about, and to submit to."""
    batch_url: str = ""
    """Scoring URI of a batch endpoint ..."""
    workspace: str = ""
    """... in this workspace, from /subscriptions/."""
    deployment: str = ""
    """The deployment of it to ask about, and to invoke."""
    experiment: str = "retrain-live-check"
    datastore: str = ""
    path: str = ""
    """Of a file on the datastore that runs may read."""
    component: str = ""
    """`name:version` of a pipeline component that ends at once, for jobs of the same name."""
    submit: bool = False
    """Runs may be started; each is asked to end at once."""
    keys: tuple[str, ...] = ()
    """Of the form of the app's, one for each submission."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises ValueError naming each that is not as expected, or unknown."""
        given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
        beside = {"replay", "folder"}
        known = {name for name in cls.__struct_fields__ if name != "keys"} | beside
        faults = [f"{PREFIX}{name.upper()} is none of them" for name in sorted(given.keys() - known)]
        if given.get("submit", "") not in ("", "0", "1"):
            faults.append(f"{PREFIX}SUBMIT: expected 1 (start runs) or 0, got {given['submit']!r}")
        submit = given.pop("submit", "") == "1"
        values = {name: value for name, value in given.items() if value and name in known - beside}
        place = cls(**values, submit=submit, keys=new_keys())
        for name, address in (("ENDPOINT_URL", "published"), ("BATCH_URL", "batch")):
            try:
                getattr(place, address)
            except ValueError as error:
                faults.append(f"{PREFIX}{name}: {error}")
        if not (place.endpoint_url or place.batch_url):
            faults.append(f"one of {PREFIX}ENDPOINT_URL and {PREFIX}BATCH_URL says which endpoint to ask about")
        if faults:
            raise ValueError("; ".join(faults))
        return place

    @property
    def published(self) -> Address | None:
        """The pipeline endpoint."""
        return Address.parse(self.endpoint_url) if self.endpoint_url else None

    @property
    def batch(self) -> Address | None:
        """The batch endpoint."""
        return Address.of_batch(self.batch_url, self.workspace) if self.batch_url else None

    @property
    def cloud(self) -> Cloud:
        """The cloud that all of it is in; of a pipeline endpoint by its host."""
        if batch := self.batch:
            return cloud_of(batch.management)
        service = self.published.service if self.published else ""
        return next((cloud for cloud in CLOUDS.values() if service.endswith(cloud.services)), PUBLIC)

    @property
    def arm(self) -> str:
        """The workspace in Azure Resource Manager; on the stand-in everything has one address."""
        address = self.batch or self.published
        assert address is not None
        local = address.service.startswith("http://")
        return f"{address.service if local else self.cloud.management}{address.workspace}"


def new_keys() -> tuple[str, ...]:
    """Return keys that nobody has used."""
    return tuple(f"{written_text(datetime.now(UTC))}-{secrets.token_hex(16)}" for _ in range(KEYS))
