"""What counts as a blob's path, and what is read off its properties."""

from datetime import UTC, datetime

import msgspec
import pytest
from azure.storage.blob import BlobProperties

from shared.errors import BadRequestError
from shared.rules.arrival import LONGEST_PATH, Arrival, Source, checked_path, from_properties
from tests.samples import arrival


@pytest.mark.parametrize(
    "path", ["a.csv", "in come/ü#1%20+.csv", "日本/データ.csv", "..a/b..csv", "x" * LONGEST_PATH, "a//b.csv", "🎈.csv"]
)
def test_legal_blob_names_pass_unharmed(path: str) -> None:
    """Spaces, Unicode and characters that mean something in a URL are part of a name like any other."""
    assert checked_path(path) == path


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("", "empty"),
        ("/income/us.csv", "slash"),
        ("income/../secrets.csv", "'..'"),
        ("..", "'..'"),
        ("./a.csv", "'.'"),
        ("a\\b.csv", "backslash"),
        ("a\nb.csv", "control character"),
        ("\ud800.csv", "surrogate"),
        ("x" * (LONGEST_PATH + 1), "1,025"),
    ],
)
def test_paths_that_no_blob_should_be_asked_for_are_refused(path: str, fault: str) -> None:
    """The error says what is wrong with the path."""
    with pytest.raises(BadRequestError, match=fault.replace(".", r"\.")):
        checked_path(path)


def properties(**changes: object) -> BlobProperties:
    """Return what the storage client says of a blob."""
    found = BlobProperties()
    found.name, found.etag, found.size, found.metadata = "income/us", '"0x8D"', 0, {}
    found.last_modified = datetime(2026, 11, 1, tzinfo=UTC)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_directory_stub_of_a_hierarchical_account() -> None:
    """The metadata that marks a stub is read whatever its casing, and the ETag loses its quotes."""
    stub = from_properties("training", Source.BLOB_SCAN, properties(metadata={"hdi_isfolder": "True"}))
    assert stub.is_folder
    assert stub.etag == "0x8D"


@pytest.mark.parametrize(
    ("status", "pending"), [("pending", True), ("success", False), ("aborted", False), ("failed", False), (None, False)]
)
def test_copy_that_is_under_way(status: str | None, pending: bool) -> None:
    """Only until it has ended, in whatever way; most blobs were never copied."""
    found = properties()
    found.copy.status = status
    assert from_properties("training", Source.SEARCH, found).pending is pending


def test_rows_of_earlier_versions_say_reconcile() -> None:
    """What the search found then is read as that, and written with its new name; other words are still refused."""
    row = msgspec.json.encode(arrival(source=Source.SEARCH))
    assert b'"source":"search"' in row
    old = msgspec.json.decode(row.replace(b'"search"', b'"reconcile"').replace(b',"pending":false', b""), type=Arrival)
    assert (old.source, old.pending) == (Source.SEARCH, False)
    assert Source("reconcile") is Source.SEARCH
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(row.replace(b'"search"', b'"hearsay"'), type=Arrival)


@pytest.mark.parametrize(
    ("value", "is_folder"), [("true", True), ("TRUE", True), ("false", False), ("", False), ("z", False)]
)
def test_what_says_that_a_blob_is_a_directory(value: str, is_folder: bool) -> None:
    """The word itself, in any case."""
    found = from_properties("training", Source.SEARCH, properties(metadata={"hdi_isfolder": value}))
    assert found.is_folder is is_folder
    assert not from_properties("training", Source.SEARCH, properties()).is_folder


@pytest.mark.parametrize(
    ("tier", "archived"), [("Archive", True), ("Hot", False), ("Cool", False), ("Cold", False), (None, False)]
)
def test_tier_in_which_nothing_can_be_read(tier: str | None, archived: bool) -> None:
    """Archive alone; premium and page blobs tell none."""
    found = from_properties("training", Source.SEARCH, properties(blob_tier=tier))
    assert (found.archived, bool(found.not_yet)) == (archived, archived)


def test_why_a_blob_is_no_data_yet() -> None:
    """A copy first; nothing where it is data."""
    assert arrival().not_yet == ""
    assert "copy" in arrival(pending=True, archived=True).not_yet
    assert "archive" in arrival(archived=True).not_yet


@pytest.mark.parametrize("word", ["aaa", "zzz", "", "Reconcile"])
def test_source_that_nobody_ever_wrote(word: str) -> None:
    """Only the one word of earlier versions is read as another."""
    with pytest.raises(ValueError, match="not a valid Source"):
        Source(word)
