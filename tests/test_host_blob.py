"""Blob functions that scan, on the local host over Azurite: what runs, how often, with what, and what failure does."""

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from tests.apps.running import Host, Place, eventually, running

ODD_NAMES = [
    "ü/日本 語.csv",
    "a#b.csv",
    "100%.csv",
    "a%20b.csv",
    "a+b c.csv",
    "q?x=1&y.csv",
    "[x]{y}.csv",
    'it\'s "q".csv',
]


@pytest.fixture(scope="module")
def container(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, ContainerClient]]:
    """One host for all tests of this file, started before its container exists."""
    place = Place(storage, tmp_path_factory.mktemp("host"))
    with BlobServiceClient.from_connection_string(storage) as service, running("blobs", place) as host:
        eventually(lambda: "does not exist yet" in host.log)
        client = service.get_container_client(place.name)
        client.create_container()
        yield host, client


def runs(host: Host, function: str, name: str) -> list[dict[str, object]]:
    """Return the invocations of a function for a blob."""
    return [one for one in host.place.seen(function) if str(one["name"]).endswith(name)]


def test_an_upload_runs_its_function(container: tuple[Host, ContainerClient]) -> None:
    """Once, with a BlobClient for it."""
    host, client = container
    client.upload_blob("reference/first.csv", b"1")
    (seen,) = eventually(lambda: runs(host, "by_reference", "/first.csv"))
    assert seen["name"] == "reference/first.csv"


def test_a_function_that_takes_content(container: tuple[Host, ContainerClient]) -> None:
    """An InputStream has content, name, length, uri, properties and metadata."""
    host, client = container
    client.upload_blob("content/d/x.txt", "größe".encode(), metadata={"k": "v"})
    (seen,) = eventually(lambda: runs(host, "with_content", "/x.txt"))
    assert (seen["content"], seen["length"], seen["metadata"]) == ("größe", 7, {"k": "v"})
    assert seen["name"] == f"{host.place.name}/content/d/x.txt"
    assert str(seen["uri"]).endswith(f"/{host.place.name}/content/d/x.txt")


def test_a_blob_too_big_to_read(container: tuple[Host, ContainerClient]) -> None:
    """A function with a BlobClient runs as soon for it: its content is never downloaded."""
    host, client = container
    client.upload_blob("reference/big.csv", b"x" * 64 * 2**20)
    before = eventually(lambda: runs(host, "by_reference", "/big.csv"))
    assert "content" not in before[0]
    assert psutil.Process(host.child.process.pid).memory_info().rss < 128 * 2**20


def test_a_blob_that_matches_no_pattern(container: tuple[Host, ContainerClient]) -> None:
    """Nothing runs for it, while one uploaded after it runs."""
    host, client = container
    client.upload_blob("reference/other.json", b"1")
    client.upload_blob("reference/after-other.csv", b"1")
    eventually(lambda: runs(host, "by_reference", "/after-other.csv"))
    assert not runs(host, "by_reference", "/other.json")


def test_names_with_unusual_characters(container: tuple[Host, ContainerClient]) -> None:
    """Each runs once, under exactly its name, whatever needs escaping in it."""
    host, client = container
    names = [f"reference/odd/{name}" for name in ODD_NAMES]
    for name in names:
        client.upload_blob(name, b"1")

    def seen() -> list[str]:
        return sorted(one["name"] for one in host.place.seen("by_reference") if "/odd/" in one["name"])

    eventually(lambda: len(seen()) >= len(names))
    assert seen() == sorted(names)


def test_a_name_as_long_as_can_be(container: tuple[Host, ContainerClient]) -> None:
    """1,024 characters; its receipt, whose name would be longer, does not stand in the way."""
    host, client = container
    name = "reference/" + "long/" * 202 + ".csv"
    assert len(name) == 1024
    client.upload_blob(name, b"1")
    assert len(eventually(lambda: runs(host, "by_reference", name))) == 1


def test_a_blob_is_overwritten(container: tuple[Host, ContainerClient]) -> None:
    """Each version that was seen runs once: twice here, with the two ETags."""
    host, client = container
    first = client.upload_blob("reference/twice.csv", b"1").get_blob_properties().etag
    eventually(lambda: runs(host, "by_reference", "/twice.csv"))
    second = client.upload_blob("reference/twice.csv", b"2", overwrite=True).get_blob_properties().etag
    eventually(lambda: len(runs(host, "by_reference", "/twice.csv")) == 2)
    assert [one["etag"] for one in runs(host, "by_reference", "/twice.csv")] == [first, second]


def test_a_blob_whose_function_fails(container: tuple[Host, ContainerClient]) -> None:
    """Five attempts, then the platform's message in the poison queue, where another function finds it."""
    host, client = container
    etag = client.upload_blob("failing/x ü.csv", b"1").get_blob_properties().etag

    def buried() -> list[dict[str, Any]]:  # the queue is the account's: tests before may have left something there
        return [one for one in host.place.seen("bury") if one["message"]["ContainerName"] == host.place.name]

    (seen,) = eventually(buried)
    assert seen["message"] == {
        "Type": "BlobTrigger",
        "FunctionId": "Host.Functions.failing",
        "BlobType": "BlockBlob",
        "ContainerName": host.place.name,
        "BlobName": "failing/x ü.csv",
        "ETag": etag,
    }
    assert len(host.place.seen("failing")) == 5
    eventually(lambda: "went to queue webjobs-blobtrigger-poison" in host.log)


def test_admin_runs_a_blob_again(container: tuple[Host, ContainerClient]) -> None:
    """202 and one more run for a blob that is there, 404 for one that is not, 400 for what is no blob."""
    host, client = container
    client.upload_blob("reference/again.csv", b"1")
    eventually(lambda: runs(host, "by_reference", "/again.csv"))
    given = {"input": f"{host.place.name}/reference/again.csv"}
    assert host.post("/admin/functions/by_reference", json=given).status_code == 202
    eventually(lambda: len(runs(host, "by_reference", "/again.csv")) == 2)
    given = {"input": f"{host.place.name}/reference/none.csv"}
    assert host.post("/admin/functions/by_reference", json=given).status_code == 404
    assert host.post("/admin/functions/by_reference", json={"input": "x"}).status_code == 400
    assert host.post("/admin/functions/by_reference", content=b"{").status_code == 400
    assert host.post("/admin/functions/by_reference", json={"input": 1}).status_code == 400
    assert host.post("/admin/functions/nobody", json={"input": "x"}).status_code == 404


def test_a_scanned_blob_is_announced_too(container: tuple[Host, ContainerClient]) -> None:
    """The webhook serves a function that scans as well, as one more delivery."""
    host, client = container
    blob = client.upload_blob("reference/both.csv", b"1")
    eventually(lambda: runs(host, "by_reference", "/both.csv"))
    event = {"data": {"url": blob.url, "eTag": blob.get_blob_properties().etag.strip('"')}}
    answer = host.post(
        "/runtime/webhooks/blobs?functionName=Host.Functions.by_reference",
        headers={"aeg-event-type": "Notification"},
        content=json.dumps([event]),
    )
    assert answer.status_code == 202
    eventually(lambda: len(runs(host, "by_reference", "/both.csv")) == 2)
