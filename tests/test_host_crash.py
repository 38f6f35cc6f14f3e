"""Hosts that are killed, and hosts beside each other, on one storage account: nothing is lost, nothing runs twice."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from local.host.triggers.blob import BlobVersion
from local.host.triggers.receipts import TAKE_OVER_S, Receipts
from tests.apps.running import Place, eventually, running


@pytest.fixture
def place(storage: str, tmp_path: Path) -> Place:
    """Names of its own for each test."""
    return Place(storage, tmp_path)


@pytest.fixture
def container(place: Place) -> Iterator[ContainerClient]:
    """The container that the app watches."""
    with ContainerClient.from_connection_string(place.storage, place.name) as client:
        client.create_container()
        yield client


def test_a_host_is_killed_while_a_function_runs(place: Place, container: ContainerClient) -> None:
    """The next host gets the message when the lease ends, and the function runs again, to its end."""
    container.upload_blob("slow/x", b"1")
    with running("blobs", place, "--lease", "1", SLOW_S="60") as host:
        eventually(lambda: place.seen("slow"))
        host.child.kill()
    with running("blobs", place, "--lease", "1"):
        eventually(lambda: place.seen("slow-done"))
    assert len(place.seen("slow")) == 2


def test_a_function_runs_longer_than_its_lease(place: Place, container: ContainerClient) -> None:
    """The lease is renewed: nobody else gets the message meanwhile."""
    container.upload_blob("slow/x", b"1")
    with running("blobs", place, "--lease", "1", SLOW_S="2.5"), running("blobs", place, "--lease", "1", SLOW_S="2.5"):
        eventually(lambda: place.seen("slow-done"))
    assert len(place.seen("slow")) == 1


def test_a_host_is_killed_between_receipt_and_message(place: Place, container: ContainerClient, storage: str) -> None:
    """The receipt it left is taken over after a few seconds, and the function runs once."""
    blob = container.upload_blob("reference/left.csv", b"1")
    with BlobServiceClient.from_connection_string(storage) as service:
        account = type("Account", (), {"blobs": service})()
        receipts = Receipts(account, place.name)
        version = BlobVersion(place.name, "reference/left.csv", blob.get_blob_properties().etag)
        assert receipts.claim(receipts.name("by_reference", version))
    with running("blobs", place):
        began = time.monotonic()
        eventually(lambda: place.seen("by_reference"))
        assert time.monotonic() - began > TAKE_OVER_S - 1
        container.upload_blob("reference/next.csv", b"1")
        eventually(lambda: len(place.seen("by_reference")) > 1)
    assert [one["name"] for one in place.seen("by_reference")] == ["reference/left.csv", "reference/next.csv"]


def test_two_hosts_and_two_hundred_blobs(place: Place, container: ContainerClient) -> None:
    """Each blob runs once, and a third host that comes later finds nothing to do."""
    with running("blobs", place), running("blobs", place), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: container.upload_blob(f"slow/{number}", b"1"), range(200)))
        eventually(lambda: len(place.seen("slow")) >= 200)
    with running("blobs", place):
        container.upload_blob("slow/last", b"1")
        eventually(lambda: any(one["name"] == "slow/last" for one in place.seen("slow")))
    counts = Counter(one["name"] for one in place.seen("slow"))
    assert len(counts) == 201
    assert set(counts.values()) == {1}
