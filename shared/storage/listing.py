"""Lists a container's blobs page by page, and reads of each entry what an arrival is made of, straight from the XML.

The SDK asks, pages, retries and parses, as it does for names alone; its models of whole properties take ten times the
CPU of all that, and a search reads every blob there is. tests/test_listing.py holds both together. Never decides what
an entry means, and never takes what is no listing for an empty one.
"""

import base64
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element  # only its type: azure-core parses

from azure.core.exceptions import DecodeError
from azure.storage.blob import ContainerClient

from shared.rules.arrival import Arrival, Source, is_stub

PAGE = 5000  # blobs in one answer, the service's most


class Listing:
    """A listing that is read page by page. Raises what the SDK raises, DecodeError for an answer that is no listing."""

    def __init__(self, datastore: str, container: ContainerClient, prefix: str, marker: str) -> None:
        """List the blobs below `prefix`, from `marker` on; none: from the beginning."""
        self.datastore = datastore
        # `include` is not among its documented options; like all others it is handed on to List Blobs.
        names = container.list_blob_names(name_starts_with=prefix, include=["metadata", "copy"], results_per_page=PAGE)
        self._pages: Any = names.by_page(marker or None)  # an iterator that knows where it is

    def read(self) -> list[Arrival]:
        """Read the next page; one may be empty and others follow."""
        try:
            next(self._pages)
            blobs = _entries(self._pages._response)  # of this page, as the SDK has read the names from it
            return [listed(self.datastore, entry) for entry in blobs]
        except (AttributeError, ValueError, OverflowError) as error:  # the first is the SDK's, of what is no XML
            raise DecodeError(f"no listing, or an entry that cannot be read: {error}") from error

    @property
    def marker(self) -> str:
        """Where it goes on after the page that was read last; empty: that was the last."""
        return self._pages.continuation_token or ""


def _entries(answer: Element) -> Element:
    """Return the entries of an answer. Raises ValueError where it is another document."""
    entries = answer.find("Blobs")
    if answer.tag != "EnumerationResults" or entries is None:
        raise ValueError(f"it is <{answer.tag}>")
    return entries


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
        last_modified=_time(properties.findtext("Last-Modified", "")),
        size=int(properties.findtext("Content-Length", "")),
        source=Source.SEARCH,
        is_folder=is_stub(metadata),
        metadata=metadata,
        pending=properties.findtext("CopyStatus") == "pending",
        archived=properties.findtext("AccessTier") == "Archive",
        content_md5=base64.b64decode(properties.findtext("Content-MD5") or "").hex(),
    )


def _time(text: str) -> datetime:
    """Read a time as HTTP has it. Raises ValueError."""
    time = parsedate_to_datetime(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return time
