"""What counts as a blob's path, and what is read off its properties."""

from datetime import UTC, datetime

import pytest
from azure.storage.blob import BlobProperties

from shared.arrival import LONGEST_PATH, Source, checked_path, from_properties
from shared.errors import BadRequestError


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


def test_directory_stub_of_a_hierarchical_account() -> None:
    """The metadata that marks a stub is read whatever its casing, and the ETag loses its quotes."""
    properties = BlobProperties()
    properties.name, properties.etag, properties.size = "income/us", '"0x8D"', 0
    properties.last_modified, properties.metadata = datetime(2026, 11, 1, tzinfo=UTC), {"hdi_isfolder": "True"}
    arrival = from_properties("training", Source.BLOB_SCAN, properties)
    assert arrival.is_folder
    assert arrival.etag == "0x8D"
