"""What can be decided about an arrival: to train, to wait, or not to act. And the key that makes a request itself.

Never decides: `match.py` and `folder.py` do. Nothing here says where a request goes: what is not sent yet goes to what
is pinned at the moment of sending.
"""

import hashlib
from datetime import UTC, datetime

import msgspec

from shared.rules.arrival import Arrival
from shared.rules.rule import Assignment


class DataPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path on a datastore, and the pipeline parameter it goes onto."""

    datastore: str
    path: str
    parameter: str
    assignment: Assignment = "data_path"


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The decision to train: everything that a submission needs except where it goes."""

    key: str
    """Identity of this request; same arrival, same key. See `key_of`."""
    rule: str
    pipeline: str
    """Name of the pipeline in retrain.toml."""
    data_path: DataPath
    parameters: dict[str, str]
    arrival: Arrival
    """What arrived. Of a folder: its path, the digest of its content, when its newest file was written."""
    data_paths: tuple[DataPath, ...] = ()
    """Further ones, on parameters of their own."""
    experiment: str = ""
    """Empty: the pipeline's."""
    tags: dict[str, str] = {}
    description: str = ""
    """Empty: made from the rule and the data path."""
    attempt: int = 1
    """1, and one more for each time a person asked to train on the same data again."""
    content: str = ""
    """Identity of the content, of which there is one request, too; empty where the key alone is. See `content_of`."""


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    """The decision to wait until a folder is complete, or a file left alone. What arrived starts nothing yet."""

    rule: str
    datastore: str
    folder: str
    """Path of the folder, without a slash at either end; with grain "file", of the file itself."""
    arrival: Arrival
    is_marker: bool = False
    """What arrived is the marker."""
    is_manifest: bool = False
    """What arrived is the manifest."""


class Skip(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The decision not to act, with its reason. `rule` is None when the arrival itself is not data."""

    reason: str
    rule: str | None = None


Decision = RetrainRequest | Settling | Skip


def key_of(rule: str, arrival: Arrival, attempt: int = 1) -> str:
    """Return the key: when the data was written, and a SHA-256 over rule, datastore, path, ETag and attempt.

    All deliveries of an arrival agree on it, and it does not matter how the data is handed over. The time in front
    sorts, tells a reader when the data came, and leads from the key to its row in the ledger without an index. Only
    [0-9TZa-f-], so that it is safe in a filter.
    """
    parts = (rule, arrival.datastore, arrival.path, arrival.etag, str(attempt))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]  # 128 bits: no two requests ever share them
    return f"{written_text(arrival.last_modified)}-{digest}"


def content_of(rule: str, arrival: Arrival, attempt: int = 1) -> str:
    """Return the identity of the content by Content-MD5, for `identity = "content"`; empty when there is none.

    It has no time in it: what was written anew with the same content is the same.
    """
    if not arrival.content_md5:
        return ""
    parts = (rule, arrival.datastore, arrival.path, arrival.content_md5, str(attempt))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def once_of(rule: str, key: str) -> str:
    """Return what stands in place of the content's identity where a caller gave the call a key of its own."""
    return hashlib.sha256(f"{rule}\n{key}".encode()).hexdigest()[:32]


def written_text(time: datetime) -> str:
    """Return the time that a key begins with; such texts sort as the times do."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def again(request: RetrainRequest, attempt: int) -> RetrainRequest:
    """Return the same request as attempt number `attempt`, with a key of its own."""
    content = content_of(request.rule, request.arrival, attempt) if request.content else ""
    key = key_of(request.rule, request.arrival, attempt)
    return msgspec.structs.replace(request, key=key, attempt=attempt, content=content)
