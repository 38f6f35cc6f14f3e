"""Receipts: which blob versions have been queued, so that several hosts can scan one container without a lock.

Each version has a blob of its own below `azure-webjobs-hosts/blobreceipts`:

    (none) --create, If-None-Match: *--> incomplete --message queued--> complete
                                          incomplete --no change for TAKE_OVER_S--> taken over, If-Match: <etag>

The message is queued between the two steps: who dies before it leaves an incomplete receipt that somebody takes over,
who dies after it causes a second delivery. Nothing is lost. Never says whether a function succeeded.
"""

import hashlib
import time

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local.host.storage import Account
from local.host.triggers.blob import BlobVersion

CONTAINER = "azure-webjobs-hosts"
TAKE_OVER_S = 5.0  # queueing takes milliseconds; longer means that its host died or hangs
_NAME_LIMIT = 1024  # of the service
_OPEN, _DONE = {"completed": "false"}, {"completed": "true"}


class Receipts:
    """The receipts of one host id; used from threads. Raises AzureError when storage does not answer."""

    def __init__(self, account: Account, host_id: str) -> None:
        """Make the container unless it is there."""
        self._container: ContainerClient = account.blobs.get_container_client(CONTAINER)
        self._host_id = host_id
        self._open_since: dict[str, tuple[str, float]] = {}  # receipt -> its ETag, and since when this process sees it
        try:
            self._container.create_container()
        except ResourceExistsError:
            return

    def name(self, function: str, version: BlobVersion) -> str:
        """Return the receipt's name; a blob name too long to be a part of it goes in hashed."""
        head = f"{self._prefix(function)}{version.etag}/{version.container}/"
        name = head + version.blob
        return name if len(name) <= _NAME_LIMIT else f"{head}sha256-{hashlib.sha256(version.blob.encode()).hexdigest()}"

    def completed(self, function: str) -> set[str]:
        """Return the names of all complete receipts of a function."""
        listing = self._container.list_blobs(name_starts_with=self._prefix(function), include=["metadata"])
        return {blob.name for blob in listing if blob.metadata == _DONE}

    def claim(self, name: str) -> str | None:
        """Return the receipt's ETag if we may queue the version now, "" if it is queued, None if another is at it."""
        client = self._container.get_blob_client(name)
        try:
            return str(client.upload_blob(b"", metadata=_OPEN, overwrite=False)["etag"])
        except ResourceExistsError:
            found = client.get_blob_properties()
        if found.metadata == _DONE:
            self._open_since.pop(name, None)
            return ""
        seen_etag, since = self._open_since.get(name, ("", 0.0))
        if seen_etag != found.etag:
            self._open_since[name] = found.etag, time.monotonic()
            return None
        if time.monotonic() - since < TAKE_OVER_S:
            return None
        return self._mark(name, _OPEN, found.etag)

    def complete(self, name: str, etag: str) -> None:
        """Mark a claimed receipt complete; no harm when it was taken over meanwhile."""
        self._open_since.pop(name, None)
        self._mark(name, _DONE, etag)

    def _mark(self, name: str, metadata: dict[str, str], etag: str) -> str | None:
        client = self._container.get_blob_client(name)
        try:
            marked = client.set_blob_metadata(metadata, etag=etag, match_condition=MatchConditions.IfNotModified)
        except (ResourceModifiedError, ResourceNotFoundError):
            return None  # somebody else was quicker
        return str(marked["etag"])

    def _prefix(self, function: str) -> str:
        return f"blobreceipts/{self._host_id}/Host.Functions.{function}/"
