"""Queue functions on the local host over Azurite: messages, attempts, poison queues."""

import base64
import contextlib
from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from tests.apps.running import Host, Place, eventually, running


@pytest.fixture(scope="module")
def host(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for all tests of this file; its queues do not exist yet, its leases last a second."""
    place = Place(storage, tmp_path_factory.mktemp("host"))
    with running("queues", place, "--lease", "1") as host:
        yield host


@pytest.fixture
def queue(host: Host) -> Iterator[QueueClient]:
    """The queue of `work`."""
    with QueueClient.from_connection_string(host.place.storage, host.place.name) as client:
        with contextlib.suppress(ResourceExistsError):
            client.create_queue()
        yield client


def bodies(host: Host) -> list[str]:
    """Return what `work` was given."""
    return [one["body"] for one in host.place.seen("work")]


def test_a_base64_message(host: Host, queue: QueueClient) -> None:
    """The function gets it decoded, with id, count and times, and it is gone afterwards."""
    sent = queue.send_message(base64.b64encode("grüße".encode()).decode())
    eventually(lambda: "grüße" in bodies(host))
    (seen,) = [one for one in host.place.seen("work") if one["body"] == "grüße"]
    assert (seen["id"], seen["count"]) == (sent.id, 1)
    assert all(seen["times"])
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)


def test_a_plain_message(host: Host, queue: QueueClient) -> None:
    """It is taken as it is, with a warning that the platform would not."""
    queue.send_message("{plain}")
    eventually(lambda: "{plain}" in bodies(host))
    assert "is not base64 and is taken as it is" in host.log


def test_admin_puts_a_message(host: Host, queue: QueueClient) -> None:
    """202, and the input is the message."""
    assert host.post("/admin/functions/work", json={"input": "by hand"}).status_code == 202
    eventually(lambda: "by hand" in bodies(host))


def test_a_message_whose_function_fails(host: Host) -> None:
    """maxDequeueCount attempts, then it is in the poison queue of its queue, unchanged."""
    host.post("/admin/functions/bad", json={"input": "poison"})
    eventually(lambda: host.place.seen("poisoned"))
    assert [one["count"] for one in host.place.seen("bad")] == [1, 2, 3]
    assert host.place.seen("poisoned")[0]["body"] == "poison"


def test_a_message_fails_in_a_poison_queue(host: Host) -> None:
    """It stays and comes back when its lease ends: there is no poison queue of a poison queue."""
    eventually(lambda: len(host.place.seen("poisoned")) > 3)
    eventually(lambda: "it stays in its queue and comes back" in host.log)
