"""Which arrivals start which pipeline with which parameters. `match()` is pure: no clock, network or settings inside.

Never submits anything: a decision is data, a RetrainRequest or a Skip with its reason.
"""

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.arrival import Arrival

Assignment = Literal["data_path", "dataset", "string"]


class DataPathParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the arrival's path is handed to the pipeline."""

    parameter: str
    """Name of the pipeline parameter that takes the path."""
    grain: Literal["file"] = "file"
    """What the path points at: the file that arrived."""
    assignment: Assignment = "data_path"
    """Which map of the submission the parameter belongs in (DataPathAssignments, DataSetDefinitionValueAssignments
    or ParameterAssignments): a DataPath, a dataset or a string parameter of the pipeline."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which arrivals start which pipeline with which parameters: one [[rules]] table of retrain.toml."""

    name: str
    datastore: str
    path: str
    """Glob over the blob's name: `*` and `?` stay within a segment, `**/` spans any number of them."""
    pipeline: str
    data_path: DataPathParameter
    parameters: dict[str, str] = {}
    settle: "Settle | None" = None
    max_active: int | None = None
    when_busy: Literal["queue", "latest", "skip"] = "queue"
    daily_cap: int | None = None
    since: (
        Annotated[datetime, Meta(tz=True, description="a time with its zone, such as 2026-01-01T00:00:00Z")] | None
    ) = None
    """Older blobs found by a scan start nothing. Not given: when the rule was first seen (the ledger keeps it)."""

    def origin(self) -> str:
        """Return what the rule watches, as a short digest: another one is another rule to `since`."""
        return hashlib.sha256(f"{self.datastore}\n{self.path}".encode()).hexdigest()[:12]


class DataPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path on a datastore, and the pipeline parameter it goes onto."""

    datastore: str
    path: str
    parameter: str
    assignment: Assignment = "data_path"


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The decision to train: everything that a submission needs except the endpoint's address."""

    key: str
    """Identity of this request; same arrival, same key. See `key_of`."""
    rule: str
    pipeline: str
    """Name of the pipeline in retrain.toml."""
    version: str
    """What is pinned: the endpoint's version, or the id of the published pipeline."""
    data_path: DataPath
    parameters: dict[str, str]
    arrival: Arrival
    attempt: int = 1
    """1, and one more for each time a person asked to train on the same data again."""


class Settle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    quiet: timedelta | None = None
    marker: str = ""
    max_wait: timedelta | None = None
    on_max_wait: Literal["start", "give_up"] = "start"
    min_files: int = 0
    min_bytes: int = 0
    manifest: str = ""


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    datastore: str
    folder: str
    arrival: Arrival
    captures: dict[str, str] = {}
    is_marker: bool = False


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """The decision not to act, with its reason. `rule` is None when the arrival itself is not data."""

    reason: str
    rule: str | None = None


Decision = RetrainRequest | Settling | Skip


def settled(rule: Rule, pins: Mapping[str, str], settling: Settling, listing: list[Arrival]) -> RetrainRequest | Skip:
    newest = max(a.last_modified for a in listing)
    digest = hashlib.sha256(
        "".join(f"{a.path} {a.etag}" for a in sorted(listing, key=lambda a: a.path)).encode()
    ).hexdigest()
    arrival = Arrival(
        datastore=settling.datastore,
        path=settling.folder,
        etag=digest,
        last_modified=newest,
        size=sum(a.size for a in listing),
        source=settling.arrival.source,
    )
    data_path = DataPath(datastore=settling.datastore, path=settling.folder, parameter=rule.data_path.parameter)
    return RetrainRequest(
        key=key_of(rule.name, data_path, arrival),
        rule=rule.name,
        pipeline=rule.pipeline,
        version=pins[rule.pipeline],
        data_path=data_path,
        parameters={},
        arrival=arrival,
    )


def match(
    rules: Iterable[Rule],
    pins: Mapping[str, str],
    arrival: Arrival,
    since: Mapping[str, datetime],
    parameters: Mapping[str, str] | None = None,
) -> list[Decision]:
    """Decide what `arrival` starts: one decision for each rule of its datastore, or one Skip.

    `pins` gives the pinned version of each pipeline. `since` (rule name to time) is what applies to this arrival; rules
    without an entry take blobs of any age. `parameters` come from the caller and win over the rule's own.
    """
    if arrival.is_folder:
        return [Skip(reason="directory stub")]
    if arrival.size == 0:
        return [Skip(reason="empty blob")]
    candidates = [rule for rule in rules if rule.datastore == arrival.datastore]
    if not candidates:
        return [Skip(reason=f"no rule for datastore {arrival.datastore!r}")]
    return [_decide(rule, pins, arrival, since.get(rule.name), parameters or {}) for rule in candidates]


def _decide(
    rule: Rule, pins: Mapping[str, str], arrival: Arrival, since: datetime | None, parameters: Mapping[str, str]
) -> Decision:
    if not matcher(rule.path).match(arrival.path):
        return Skip(rule=rule.name, reason=f"path does not match {rule.path!r}")
    # Last-Modified has whole seconds: compare in seconds, or a blob of the first second would look older than it is.
    if since is not None and arrival.last_modified < since.replace(microsecond=0):
        written, seen = (f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for time in (arrival.last_modified, since))
        return Skip(rule=rule.name, reason=f"written {written}, before the rule's since {seen}")
    if rule.settle:
        folder, _, name = arrival.path.rpartition("/")
        return Settling(
            rule=rule.name,
            datastore=rule.datastore,
            folder=folder,
            arrival=arrival,
            is_marker=name == rule.settle.marker,
        )
    data_path = DataPath(
        datastore=arrival.datastore,
        path=arrival.path,
        parameter=rule.data_path.parameter,
        assignment=rule.data_path.assignment,
    )
    return RetrainRequest(
        key=key_of(rule.name, data_path, arrival),
        rule=rule.name,
        pipeline=rule.pipeline,
        version=pins[rule.pipeline],
        data_path=data_path,
        parameters={**rule.parameters, **parameters},
        arrival=arrival,
    )


def key_of(rule: str, data_path: DataPath, arrival: Arrival, attempt: int = 1) -> str:
    """Return the key: when the data was written, and a SHA-256 over rule, datastore, data path, ETag and attempt.

    All deliveries of an arrival agree on it. The time in front sorts, tells a reader when the data came, and leads
    from the key to its row in the ledger without an index. Only [0-9TZa-f-], so that it is safe in a filter.
    """
    parts = (rule, data_path.datastore, data_path.path, arrival.etag, str(attempt))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[
        :32
    ]  # 128 bits: no two requests will ever share them
    return f"{written_text(arrival.last_modified)}-{digest}"


def written_text(time: datetime) -> str:
    """Return the time that a key begins with; such texts sort as the times do."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def again(request: RetrainRequest, attempt: int) -> RetrainRequest:
    """Return the same request as attempt number `attempt`, with a key of its own."""
    key = key_of(request.rule, request.data_path, request.arrival, attempt)
    return msgspec.structs.replace(request, key=key, attempt=attempt)


@lru_cache(maxsize=512)
def matcher(pattern: str) -> re.Pattern[str]:
    """Return the compiled form of a rule's path pattern. Raises ValueError saying what is wrong with it."""
    if fault := _pattern_fault(pattern):
        raise ValueError(fault)
    literal_brackets = pattern.replace("[", "[[]")  # blob names may hold brackets; character sets are not offered
    return re.compile(glob.translate(literal_brackets, recursive=True, include_hidden=True, seps="/"))


def literal_prefix(pattern: str) -> str:
    """Return what every path that matches `pattern` begins with."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def _pattern_fault(pattern: str) -> str | None:
    segments = pattern.split("/")
    if not pattern:
        return "is empty"
    if pattern.startswith("/"):
        return "starts with a slash; it is relative to the container's root"
    if "" in segments[:-1]:
        return "has an empty segment ('//')"
    if pattern.endswith("/"):
        return "ends with a slash, which no file's path does; did you mean a final '**'?"
    if {".", ".."} & set(segments):
        return "has a '.' or '..' segment, which no blob's name matches"
    if "\\" in pattern:
        return "has a backslash; segments are separated by '/'"
    if "{" in pattern or "}" in pattern:
        return "has a brace; captures are not offered in a path"
    if any("**" in segment and segment != "**" for segment in segments):
        return "has '**' beside other characters; it stands alone between slashes"
    return None
