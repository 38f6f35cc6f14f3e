"""Lists a container's blobs page by page, and reads of each entry what an arrival is made of, straight from the XML.

The SDK asks, pages, retries and parses, as it does for names only; the models that it makes for whole properties cost
ten times as much as all of that (docs/benchmarks.md), and a search reads every blob there is. tests/test_listing.py
holds both together. Never decides what an entry means.
"""

import base64
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import unquote
from xml.etree.ElementTree import Element  # only its type: azure-core parses

from azure.core.exceptions import DecodeError
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.storage.blob import ContainerClient

from shared.rules.arrival import Arrival, Source, is_stub

PAGE = 5000  # blobs in one answer, the service's most


class Listing:
    """The pages of a listing. Raises what the SDK raises."""

    def __init__(self, datastore: str, container: ContainerClient, prefix: str, marker: str) -> None:
        """List the blobs below `prefix`, from `marker` on; none: from the beginning."""
        self.datastore = datastore
        names = container.list_blob_names(
            name_starts_with=prefix,
            include=["metadata", "copy"],
            results_per_page=PAGE,
            raw_response_hook=self._keep,
        )
        self._pages: Any = names.by_page(marker or None)  # an iterator that knows where it is
        self._answer: Any = None

    def _keep(self, response: object) -> None:
        """Keep what was answered: the SDK parses it, once it is through."""
        self._answer = response

    def __iter__(self) -> Self:
        """It is its own iterator."""
        return self

    def __next__(self) -> list[Arrival]:
        """Give the next page; one may be empty and others follow."""
        next(self._pages)
        root: Element = self._answer.context[ContentDecodePolicy.CONTEXT_NAME]
        try:
            return [listed(self.datastore, entry) for entry in root.iterfind("Blobs/Blob")]
        except ValueError as error:
            raise DecodeError(f"List Blobs: an entry cannot be read: {error}") from error

    @property
    def marker(self) -> str:
        """Where it goes on after the page that was given last; empty: that was the last."""
        return self._pages.continuation_token or ""


def listed(datastore: str, entry: Element) -> Arrival:
    """Build the arrival from one entry of List Blobs, asked for with metadata and copy. Raises ValueError."""
    name, properties, given = entry.find("Name"), entry.find("Properties"), entry.find("Metadata")
    if name is None or properties is None:
        raise ValueError("it has no name or no properties")
    if not (etag := properties.findtext("Etag", "").strip('"')):
        raise ValueError("it has no ETag")
    path = name.text or ""
    metadata = {one.tag: one.text or "" for one in given} if given is not None else {}
    return Arrival(
        datastore=datastore,
        path=unquote(path) if name.get("Encoded") == "true" else path,  # characters that XML cannot have
        etag=etag,
        last_modified=parsedate_to_datetime(properties.findtext("Last-Modified", "")),
        size=int(properties.findtext("Content-Length", "")),
        source=Source.SEARCH,
        is_folder=is_stub(metadata),
        metadata=metadata,
        pending=properties.findtext("CopyStatus") == "pending",
        archived=properties.findtext("AccessTier") == "Archive",
        content_md5=base64.b64decode(properties.findtext("Content-MD5") or "").hex(),
    )
