"""A rule as retrain.toml has it: one [[rules]] table, its keys, their types and meanings.

Never decides anything about an arrival: `take.py` and `match.py` do. `docs/rules.md` explains by example, `check.py`
finds what is wrong with a rule.
"""

import os.path
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.rules.durations import duration
from shared.rules.patterns import Pattern, escaped, literal_prefix

Assignment = Literal["data_path", "dataset", "string"]
Duration = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]$", description="a number and a unit (s, m, h, d), such as '10m'")
]
Bytes = Annotated[int, Meta(ge=0, description="a number of bytes")]
Count = Annotated[int, Meta(ge=1, description="a number of at least 1")]
Text = Annotated[str, Meta(min_length=1, description="a text")]

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
    datastore: (
        Annotated[
            str,
            Meta(pattern="^[A-Za-z0-9_]{1,255}$", description="a datastore's name: letters, digits and underscores"),
        ]
        | None
    ) = None
    """Name of a datastore of the workspace. Not given: the rule's."""
    assignment: Assignment = "data_path"
    """As for `data_path`."""


class Settle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a folder is complete; with several of these, all must hold. A file takes `quiet` and `max_wait` only."""

    quiet: Duration | None = None
    """Nothing has been written into it for this long. With a file: no newer version of it came."""
    marker: Text | None = None
    """A file of this name is in it, such as _SUCCESS; it may be empty, and is no data itself. It completes what is
    there; what is written into the folder after its run needs a newer one."""
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
    """What a rule is meant to do with one blob; `check.example_faults` says where it does something else."""

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
    identity: Literal["etag", "content"] = "etag"
    """By what the same data is known again: the ETag, which each write changes, of metadata alone, too; or Content-MD5,
    where the blob has one."""
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
    """When the folder is complete; needed with grain "folder" and "manifest". With grain "file": how long a file must
    be quiet before it counts as written."""
    max_active: Count | None = None
    """At most so many runs of this rule at a time. Not given: any number."""
    when_busy: Literal["queue", "latest", "skip"] = "queue"
    """What else arrives meanwhile: waits its turn, waits unless something newer comes, or starts nothing."""
    daily_cap: Count | None = None
    """At most so many runs of this rule a day (UTC)."""
    since: (
        Annotated[datetime, Meta(tz=True, description="a time with its zone, such as 2026-01-01T00:00:00Z")] | None
    ) = None
    """Older blobs start nothing. Not given: of what a scan finds, those from before the rule was first seen (the ledger
    keeps that)."""
    examples: list[Example] = []
    """What the rule is meant to do, for `check` and your tests."""

    @property
    def limited(self) -> bool:
        """Whether the rule says how many runs there may be, at a time or a day."""
        return self.max_active is not None or self.daily_cap is not None

    def announcing(self, name: str) -> str:
        """Return the pattern of the marker or manifest called `name`: it lies in the folder itself."""
        return f"{self.folder_path()}/{escaped(name)}"

    def prefix(self) -> str:
        """Return what the name of every blob that the rule looks at begins with, markers included."""
        announcers = (self.settle.marker, self.settle.manifest) if self.settle else ()
        patterns = [self.path, *(self.announcing(name) for name in announcers if name)]
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
