"""What arrived: one version (ETag) of one blob in a datastore, and where we heard of it.

Never reads a blob's content, and decides nothing: `match.py` does.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from shared.errors import BadRequestError, shown

if TYPE_CHECKING:  # the decisions need no storage client
    from azure.storage.blob import BlobProperties

LONGEST_PATH = 1024  # characters in a blob's name ("Naming and referencing containers, blobs, and metadata")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""A control character, or half a surrogate pair, which is no character at all."""


class Source(StrEnum):
    """Who told us of the arrival."""

    BLOB_SCAN = "blob_scan"  # the blob trigger, listing the container: also sees blobs that are long there
    BLOB_EVENT = "blob_event"  # a storage event, by whichever way: sees new blobs only
    WEBHOOK = "webhook"  # a caller of POST /api/retrain, who names the blob
    SEARCH = "search"  # the search for arrivals that nobody told of
    POISON = "poison"  # the queue of arrivals that the platform gave up on
    REDRIVE = "redrive"  # an operator, about an entry
    BACKFILL = "backfill"  # an operator, about blobs that are already there

    @classmethod
    def _missing_(cls, value: object) -> "Source | None":
        """Read what rows of earlier versions say."""
        return cls.SEARCH if value == "reconcile" else None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one blob."""

    datastore: str
    """Name of the datastore as registered in the workspace."""
    path: str
    """The blob's name: the path below the container's root, without a leading slash."""
    etag: str
    """The version of the content, as the service gives it, without quotes."""
    last_modified: datetime
    """When this version was written, by the storage service's clock (whole seconds, UTC)."""
    size: int
    """Bytes."""
    source: Source
    is_folder: bool = False
    """A directory stub, as hierarchical accounts and some tools write them; or a folder that has settled."""
    metadata: dict[str, str] | None = None
    """The blob's metadata. None: the blob's properties could not be read, or they decided already."""
    pending: bool = False
    """A copy into it is under way."""
    archived: bool = False
    """It is in the archive tier."""
    content_md5: str = ""
    """Content-MD5 as the service has it, in hexadecimal; of a folder, a digest over those of its files."""

    @property
    def not_yet(self) -> str:
        """Why it is no data yet, in words; empty when it is data."""
        if self.pending:
            return "a copy into it is under way"
        return "it is in the archive tier, where nothing can read it" if self.archived else ""


def from_properties(datastore: str, source: Source, properties: "BlobProperties") -> Arrival:
    """Build the arrival from Get Blob Properties."""
    metadata = {name: value or "" for name, value in (properties.metadata or {}).items()}
    return Arrival(
        datastore=datastore,
        path=properties.name,
        etag=properties.etag.strip('"'),
        last_modified=properties.last_modified,
        size=properties.size,
        source=source,
        is_folder=is_stub(metadata),
        metadata=metadata,
        pending=properties.copy.status == "pending",
        archived=properties.blob_tier == "Archive",
        content_md5=bytes(properties.content_settings.content_md5 or b"").hex(),
    )


def is_stub(metadata: dict[str, str]) -> bool:
    """Tell whether a blob with this metadata stands for a directory."""
    return metadata.get("hdi_isfolder", "").lower() == "true"


def checked_path(path: str) -> str:
    """Return `path` when it can be a blob's name below the container's root.

    Raises BadRequestError with what is wrong: empty, too long, a leading slash, a `..` segment, a backslash, or a
    control character. Everything else is legal in a blob's name and passes unharmed.
    """
    if not path:
        fault = "is empty"
    elif len(path) > LONGEST_PATH:
        fault = f"has {len(path):,} characters; a blob's name has at most {LONGEST_PATH:,}"
    elif path.startswith("/"):
        fault = "starts with a slash; give it relative to the container's root"
    elif {".", ".."} & set(path.split("/")):
        fault = "has a '.' or '..' segment; name the blob itself"
    elif "\\" in path:
        fault = "has a backslash; segments are separated by '/'"
    elif CONTROL.search(path):
        fault = "has a control character or half a surrogate pair"
    else:
        return path
    raise BadRequestError(f"path {shown(path)} {fault}.")
