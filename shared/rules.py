"""Which arrivals start which pipeline with which parameters. `match()` is pure: no clock, network or settings inside.

A rule whose data path is the file decides at once; one whose data path is the folder settles first: `match()` says
which folder, and `settled()` makes the request once somebody has waited. `docs/rules.md` explains by example,
`rulecheck.py` finds what is wrong with a rule.

Never submits anything: a decision is data, a RetrainRequest, a Settling or a Skip with its reason. And no blob's name,
however odd, makes `match()` raise: what cannot be converted is a skip of that rule alone.
"""

import hashlib
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.arrival import Arrival, checked_path
from shared.durations import duration
from shared.errors import BadRequestError
from shared.patterns import CaptureError, Pattern, Value, escaped
from shared.patterns import literal_prefix as literal_prefix
from shared.templates import Template, TemplateError

Assignment = Literal["data_path", "dataset", "string"]
Duration = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]$", description="a number and a unit (s, m, h, d), such as '10m'")
]
Bytes = Annotated[int, Meta(ge=0, description="a number of bytes")]
Count = Annotated[int, Meta(ge=1, description="a number of at least 1")]
Text = Annotated[str, Meta(min_length=1, description="a text")]

# What the service takes (Azure ML, "Service limits": tags, descriptions, experiments). Three tags are ours.
TAGS, TAG_NAME, TAG_VALUE, DESCRIPTION = 50 - 3, 100, 1000, 5000
RESERVED = "retrain."
# Where manifests are written, in the datastore of their data. No rule takes what is there.
OWN_FOLDER = "_retrain"
_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")

# What a template may name beside the rule's captures, by grain. A capture of the same name hides the field.
FILE_FIELDS: dict[str, type] = {
    "path": str,
    "name": str,
    "stem": str,
    "folder": str,
    "datastore": str,
    "etag": str,
    "size": int,
    "last_modified": datetime,
}
FOLDER_FIELDS: dict[str, type] = {
    "folder": str,
    "name": str,
    "datastore": str,
    "files": int,
    "size": int,
    "last_modified": datetime,
}


class DataPathParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the arrival's path is handed to the pipeline."""

    parameter: Text
    """Name of the pipeline parameter that takes the path."""
    grain: Literal["file", "folder", "manifest"] = "file"
    """What the path points at: the file that arrived; the folder it belongs to, once that has settled; or a list of
    exactly the files that were in the folder then, which the app writes below _retrain/ in the same datastore."""
    folder: Text | None = None
    """With grain "folder" or "manifest": which one, as the first segments of the rule's path, such as
    "income/{country}". Not given: the folder that the file is in."""
    assignment: Assignment = "data_path"
    """Which map of the submission the parameter belongs in (DataPathAssignments, DataSetDefinitionValueAssignments
    or ParameterAssignments): a DataPath, a dataset or a string parameter of the pipeline."""


class FurtherDataPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data path that goes with the arrived one: always the same, or made from captures."""

    parameter: Text
    """Name of the pipeline parameter that takes the path."""
    path: Text
    """The path below the datastore's root; a template."""
    datastore: Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,255}$")] | None = None
    """Name of a datastore of the workspace. Not given: the rule's."""
    assignment: Assignment = "data_path"
    """As for `data_path`."""


class Settle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a folder is complete. With several of these, all must hold."""

    quiet: Duration | None = None
    """Nothing has been written into it for this long."""
    marker: Text | None = None
    """A file of this name is in it, such as _SUCCESS; it may be empty, and is no data itself."""
    manifest: Text | None = None
    """A file of this name is in it, and everything that it lists."""
    min_files: Count | None = None
    """It holds at least so many files that the rule takes."""
    min_bytes: Count | None = None
    """These files have at least so many bytes together."""
    max_wait: Duration | None = None
    """Longer than this nobody waits. Not given: for ever."""
    on_max_wait: Literal["start", "give_up"] = "start"
    """What happens then: train on what is there, or not at all."""

    @property
    def quiet_for(self) -> timedelta | None:
        """`quiet` as a length of time."""
        return duration(self.quiet) if self.quiet else None

    @property
    def longest_wait(self) -> timedelta | None:
        """`max_wait` as a length of time."""
        return duration(self.max_wait) if self.max_wait else None


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a rule is meant to do with one blob; `rulecheck.example_faults` says where it does something else."""

    path: Text
    """The blob's name."""
    skip: bool = False
    """It starts nothing."""
    data_path: str | None = None
    """The path that the pipeline is given."""
    parameters: dict[str, str] | None = None
    """All the parameters that the pipeline is given beside it."""
    size: Bytes | None = None
    """The blob's size; given when the rule asks for one."""
    metadata: dict[str, str] | None = None
    """The blob's metadata; given when the rule asks for some."""
    last_modified: Annotated[datetime, Meta(tz=True)] | None = None
    """When the blob was written; given when a parameter says so."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which arrivals start which pipeline with which parameters: one [[rules]] table of retrain.toml."""

    name: str
    """Part of every key, so that it stays as it is once runs were started."""
    datastore: str
    """The table's name under [datastores]."""
    path: str
    """Pattern over the blob's name: `*`, `**`, `?` and captures such as `{country}` and `{day:date}`."""
    ignore: list[str] = []
    """Patterns of blobs that are none of the rule's although `path` takes them."""
    case_sensitive: bool = True
    """Whether `A` and `a` differ in `path` and `ignore`, as they do in blob names."""
    min_bytes: Bytes | None = None
    """Smaller blobs start nothing. Empty ones never do."""
    max_bytes: Bytes | None = None
    """Larger blobs start nothing."""
    metadata: dict[str, str] = {}
    """What the blob's metadata must say; the case of the names does not count."""
    pipeline: str
    """The table's name under [pipelines]."""
    data_path: DataPathParameter
    """The parameter that takes the path of what arrived."""
    data_paths: list[FurtherDataPath] = []
    """Further data paths of the same run."""
    parameters: dict[str, str] = {}
    """Further parameters; templates over captures and fields, such as "{country:upper}"."""
    experiment: Text | None = None
    """Experiment of the runs, a template. Not given: the pipeline's."""
    tags: dict[str, str] = {}
    """Tags of the runs; the values are templates."""
    description: Text | None = None
    """Description of the runs, a template. Not given: the rule, and the path of the data."""
    settle: Settle | None = None
    """When the folder is complete; needed with grain "folder"."""
    max_active: Count | None = None
    """At most so many runs of this rule at a time. Not given: any number."""
    when_busy: Literal["queue", "latest", "skip"] = "queue"
    """What else arrives meanwhile: waits its turn, waits unless something newer comes, or starts nothing."""
    daily_cap: Count | None = None
    """At most so many runs of this rule a day (UTC)."""
    since: (
        Annotated[datetime, Meta(tz=True, description="a time with its zone, such as 2026-01-01T00:00:00Z")] | None
    ) = None
    """Older blobs found by a scan start nothing. Not given: when the rule was first seen (the ledger keeps it)."""
    examples: list[Example] = []
    """What the rule is meant to do, for `check` and your tests."""

    def origin(self) -> str:
        """Return what the rule watches, as a short digest: another one is another rule to `since`."""
        return hashlib.sha256(f"{self.datastore}\n{self.path}".encode()).hexdigest()[:12]

    def prefix(self) -> str:
        """Return what the name of every blob that the rule looks at begins with, markers included."""
        patterns = [self.path, *(_announcing(self, name) for name in _announcers(self))]
        prefixes = [literal_prefix(pattern, self.case_sensitive) for pattern in patterns]
        return os.path.commonprefix(prefixes)  # noqa: RUF071 - of characters, as a listing takes it

    def path_parameters(self) -> set[str]:
        """Return the names of the parameters that take a data path: nobody may give them another value."""
        return {self.data_path.parameter, *(path.parameter for path in self.data_paths)}

    def folder_path(self) -> str:
        """Return the part of `path` that is the pattern of the folder; it ends in `**` where the depth is open."""
        segments = self.path.split("/")
        if self.data_path.folder:
            return "/".join(segments[: self.data_path.folder.count("/") + 1])
        return self.path if segments[-1] == "**" else "/".join(segments[:-1])

    def fields(self) -> dict[str, type]:
        """Return the fields that the rule's templates may name, with their types. Raises PatternError."""
        if self.data_path.grain != "file":
            captures = Pattern.parse(self.folder_path(), self.case_sensitive).captures
            return {**FOLDER_FIELDS, **{capture.name: capture.type for capture in captures}}
        captures = Pattern.parse(self.path, self.case_sensitive).captures
        return {**FILE_FIELDS, **{capture.name: capture.type for capture in captures}}


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


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    """The decision to wait until a folder is complete. What arrived into it is noted, and starts nothing yet."""

    rule: str
    datastore: str
    folder: str
    """Path of the folder, without a slash at either end."""
    arrival: Arrival
    captures: dict[str, str]
    """What the folder's captures hold, for people."""
    is_marker: bool = False
    """What arrived is the marker."""
    is_manifest: bool = False
    """What arrived is the manifest."""
    parameters: dict[str, str] = {}
    """What the caller gave; it wins over the rule's own."""


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """The decision not to act, with its reason. `rule` is None when the arrival itself is not data."""

    reason: str
    rule: str | None = None


Decision = RetrainRequest | Settling | Skip


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
    if arrival.path.startswith(f"{OWN_FOLDER}/"):
        return [Skip(reason=f"below {OWN_FOLDER}/, where the app itself writes")]
    candidates = [rule for rule in rules if rule.datastore == arrival.datastore]
    if arrival.size == 0 and not any(_announced(rule, arrival.path) for rule in candidates):
        return [Skip(reason="empty blob")]
    if not candidates:
        return [Skip(reason=f"no rule for datastore {arrival.datastore!r}")]
    return [_decide(rule, pins, arrival, since.get(rule.name), parameters or {}) for rule in candidates]


def _decide(
    rule: Rule, pins: Mapping[str, str], arrival: Arrival, since: datetime | None, parameters: Mapping[str, str]
) -> Decision:
    announced = _announced(rule, arrival.path)
    captures = announced[1] if announced else taken(rule, arrival)
    if isinstance(captures, str):
        return Skip(rule=rule.name, reason=captures)
    # Last-Modified has whole seconds: compare in seconds, or a blob of the first second would look older than it is.
    if since is not None and arrival.last_modified < since.replace(microsecond=0):
        written, seen = (f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for time in (arrival.last_modified, since))
        return Skip(rule=rule.name, reason=f"written {written}, before the rule's since {seen}")
    if rule.data_path.grain == "file":
        values = {**_file_values(arrival), **captures}
        return _request(rule, pins, arrival, values, parameters)
    folder = arrival.path.rpartition("/")[0] if announced else folder_of(rule, arrival.path)
    if not folder:
        return Skip(rule=rule.name, reason="lies at the container's root, which is no folder of its own")
    inside = Pattern.parse(rule.folder_path(), rule.case_sensitive).captures
    name = announced[0] if announced else None
    return Settling(
        rule=rule.name,
        datastore=arrival.datastore,
        folder=folder,
        arrival=_bare(arrival),
        captures={capture.name: str(captures[capture.name]) for capture in inside},
        is_marker=name is not None and rule.settle is not None and name == rule.settle.marker,
        is_manifest=name is not None and rule.settle is not None and name == rule.settle.manifest,
        parameters=dict(parameters),
    )


def taken(rule: Rule, arrival: Arrival) -> dict[str, Value] | str:
    """Return what the rule's captures hold when it takes a blob as data; else the reason why it does not.

    Where the blob's properties could not be read (`metadata` is None), only its name counts.
    """
    path = arrival.path
    try:
        captures = Pattern.parse(rule.path, rule.case_sensitive).match(path)
    except CaptureError as error:
        return _ignored(rule, path) or f"a capture does not convert: {error}"
    if captures is None:
        return f"path does not match {rule.path!r}"
    if reason := _ignored(rule, path):
        return reason
    if arrival.size == 0:
        return "empty blob"
    if arrival.metadata is None:
        return captures
    if rule.min_bytes is not None and arrival.size < rule.min_bytes:
        return f"has {arrival.size:,} bytes, less than the rule's min_bytes {rule.min_bytes:,}"
    if rule.max_bytes is not None and arrival.size > rule.max_bytes:
        return f"has {arrival.size:,} bytes, more than the rule's max_bytes {rule.max_bytes:,}"
    present = {name.lower(): value for name, value in arrival.metadata.items()} if rule.metadata else {}
    for name, wanted in rule.metadata.items():
        if (found := present.get(name.lower())) != wanted:
            return f"metadata {name!r} is {found!r}, not {wanted!r}" if found is not None else f"no metadata {name!r}"
    return captures


def _ignored(rule: Rule, path: str) -> str | None:
    """Return which of the rule's `ignore` takes a path, in words."""
    found = (pattern for pattern in rule.ignore if Pattern.parse(pattern, rule.case_sensitive).takes(path))
    pattern = next(found, None)
    return f"is ignored by {pattern!r}" if pattern is not None else None


def _announcers(rule: Rule) -> list[str]:
    """Return the names of the files that say something of a folder and are no data."""
    settle = rule.settle
    return [name for name in (settle.marker, settle.manifest) if name] if settle else []


def _announcing(rule: Rule, name: str) -> str:
    """Return the pattern of the marker or manifest called `name`: it lies in the folder itself."""
    return f"{rule.folder_path()}/{escaped(name)}"


def _announced(rule: Rule, path: str) -> tuple[str, dict[str, Value] | str] | None:
    """Return the marker's or manifest's name, and its captures or why they do not convert, when `path` is one's."""
    last = path.rpartition("/")[2]
    for name in _announcers(rule):
        if last != name and (rule.case_sensitive or last.casefold() != name.casefold()):
            continue
        try:
            captures = Pattern.parse(_announcing(rule, name), rule.case_sensitive).match(path)
        except CaptureError as error:
            return name, f"a capture does not convert: {error}"
        if captures is not None:
            return name, captures
    return None


def folder_of(rule: Rule, path: str) -> str:
    """Return the folder that a blob which the rule takes belongs to; empty at the container's root."""
    segments, folder = path.split("/"), rule.data_path.folder
    if folder is None:
        return "/".join(segments[:-1])
    depth = folder.count("/") + 1
    if "**" in folder.split("/"):  # counted from the end, where the rule's check sees to it that the depth is fixed
        depth -= rule.path.count("/") + 1
    return "/".join(segments[:depth])


def members(rule: Rule, folder: str, listing: Iterable[Arrival]) -> list[Arrival]:
    """Return, by name, the blobs of a listing that are the folder's data to the rule: no marker, nothing ignored."""
    found = [
        arrival
        for arrival in listing
        if arrival.datastore == rule.datastore
        and arrival.path.startswith(f"{folder}/")
        and not arrival.is_folder
        and not _announced(rule, arrival.path)
        and not isinstance(taken(rule, arrival), str)
        and folder_of(rule, arrival.path) == folder
    ]
    return sorted(found, key=lambda arrival: arrival.path)


def manifest(data: Sequence[Arrival]) -> bytes:
    """Return the list of a folder's files that is handed over with grain "manifest": one JSON object on each line."""
    lines = [{"path": item.path, "size": item.size, "etag": item.etag} for item in data]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def settled(
    rule: Rule, pins: Mapping[str, str], settling: Settling, listing: Iterable[Arrival]
) -> RetrainRequest | Skip:
    """Decide what a complete folder starts; `listing` has what is in it (further blobs do no harm).

    The content's identity is a digest of the names and ETags of its data: the same content never starts twice, another
    one does. The time in the key is that of the newest file. Does not judge whether the folder is complete.
    """
    data = members(rule, settling.folder, listing)
    if not data:
        return Skip(rule=rule.name, reason=f"nothing in {settling.folder!r} is data to the rule")
    return of_folder(rule, pins, settling, data)


def of_folder(
    rule: Rule, pins: Mapping[str, str], settling: Settling, data: Sequence[Arrival]
) -> RetrainRequest | Skip:
    """Make the request of a folder that holds `data`, sorted by name and not empty."""
    content = msgspec.json.encode([(arrival.path, arrival.etag) for arrival in data])
    whole = Arrival(
        datastore=settling.datastore,
        path=settling.folder,
        etag=hashlib.sha256(content).hexdigest(),
        last_modified=max(arrival.last_modified for arrival in data),
        size=sum(arrival.size for arrival in data),
        source=settling.arrival.source,
        is_folder=True,
    )
    announced = _announced(rule, data[0].path)
    captures = announced[1] if announced else taken(rule, data[0])
    if isinstance(captures, str):
        return Skip(rule=rule.name, reason=captures)
    inside = {capture.name for capture in Pattern.parse(rule.folder_path(), rule.case_sensitive).captures}
    values: dict[str, Value] = {
        "folder": whole.path,
        "name": whole.path.rpartition("/")[2],
        "datastore": whole.datastore,
        "files": len(data),
        "size": whole.size,
        "last_modified": whole.last_modified,
        **{name: value for name, value in captures.items() if name in inside},
    }
    return _request(rule, pins, whole, values, settling.parameters)


def _file_values(arrival: Arrival) -> dict[str, Value]:
    folder, _, name = arrival.path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return {
        "path": arrival.path,
        "name": name,
        "stem": stem if dot and stem else name,
        "folder": folder,
        "datastore": arrival.datastore,
        "etag": arrival.etag,
        "size": arrival.size,
        "last_modified": arrival.last_modified,
    }


def _request(
    rule: Rule, pins: Mapping[str, str], arrival: Arrival, values: Mapping[str, Value], parameters: Mapping[str, str]
) -> RetrainRequest | Skip:
    """Make the request, or the skip when what the templates come to is nothing that the service takes."""

    def filled(where: str, template: str) -> str:
        try:
            text = Template.parse(template).render(values)
        except TemplateError as error:
            raise TemplateError(f"{where}: {error}") from error
        if fault := text_fault(where, text):
            raise TemplateError(f"{where}: {fault}")
        return text

    data_path = DataPath(
        datastore=arrival.datastore,
        path=arrival.path,
        parameter=rule.data_path.parameter,
        assignment=rule.data_path.assignment,
    )
    key = key_of(rule.name, data_path, arrival)
    if rule.data_path.grain == "manifest":
        data_path = msgspec.structs.replace(data_path, path=f"{OWN_FOLDER}/{rule.name}/{key}.jsonl")
    try:
        if data_path.assignment == "string" and (fault := text_fault("parameters", data_path.path)):
            raise TemplateError(f"data_path: {fault}")
        return RetrainRequest(
            key=key,
            rule=rule.name,
            pipeline=rule.pipeline,
            version=pins[rule.pipeline],
            data_path=data_path,
            data_paths=tuple(
                DataPath(
                    datastore=further.datastore or arrival.datastore,
                    path=filled(f"data_paths.{further.parameter}", further.path),
                    parameter=further.parameter,
                    assignment=further.assignment,
                )
                for further in rule.data_paths
            ),
            parameters={
                **{name: filled(f"parameters.{name}", text) for name, text in rule.parameters.items()},
                **parameters,
            },
            experiment=filled("experiment", rule.experiment) if rule.experiment else "",
            tags={name: filled(f"tags.{name}", text) for name, text in rule.tags.items()},
            description=filled("description", rule.description) if rule.description else "",
            arrival=_bare(arrival),
        )
    except TemplateError as error:
        return Skip(rule=rule.name, reason=str(error))


def text_fault(where: str, text: str) -> str | None:
    """Say why a text cannot be sent, or None; `where` is the rule's key that it comes from."""
    match where.partition(".")[0]:
        case "parameters" if text.splitlines() not in ([], [text]):
            return f"{text[:100]!r} has several lines, which a pipeline parameter does not take"
        case "experiment" if not _EXPERIMENT.fullmatch(text):
            return (
                f"{text[:100]!r} is no name for an experiment: 1 to 256 letters, digits, dashes and underscores, "
                "the first a letter or digit"
            )
        case "tags" if len(text) > TAG_VALUE:
            return f"{text[:100]!r}... has {len(text):,} characters; a tag takes {TAG_VALUE:,}"
        case "description" if len(text) > DESCRIPTION:
            return f"{text[:100]!r}... has {len(text):,} characters; a description takes {DESCRIPTION:,}"
        case "data_paths":
            try:
                checked_path(text)
            except BadRequestError as error:
                return str(error)
    return None


def _bare(arrival: Arrival) -> Arrival:
    """Return the arrival as it is written down: without the metadata, which decided already and may be long."""
    return msgspec.structs.replace(arrival, metadata=None) if arrival.metadata is not None else arrival


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
