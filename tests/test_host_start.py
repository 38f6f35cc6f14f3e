"""Starts of the local host that must fail, and ends that must be prompt."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from local.host.host import GRACE_S
from local.host.server import listen
from tests.apps.running import Place, eventually, running, start


@pytest.fixture
def place(storage: str, tmp_path: Path) -> Place:
    """Names of its own for each test."""
    return Place(storage, tmp_path)


def failed(app: str, place: Place, **environment: str) -> str:
    """Return the log of a host that ended with code 1."""
    child = start(app, place, **environment)
    assert child.process.wait(20) == 1
    text = child.log.read_text()
    assert "host ready" not in text
    return text


def test_an_app_that_cannot_be_imported(place: Place) -> None:
    """Exit code 1 and the original traceback, down to the app's own line."""
    log = failed("broken", place)
    assert 'raise RuntimeError("broken on purpose")\nRuntimeError: broken on purpose' in log


def test_a_setting_that_is_not_set(place: Place) -> None:
    """Exit code 1; function, property and setting are named, for every function."""
    log = failed("blobs", place, CONTAINER="")
    assert (
        "function by_reference, binding client, path: %CONTAINER% is used, but the setting CONTAINER is not set" in log
    )
    assert "function slow, binding client, path: %CONTAINER%" in log


def test_a_connection_that_is_no_connection_string(place: Place) -> None:
    """Exit code 1; the setting is named, its value is not shown."""
    log = failed("queues", place, AzureWebJobsStorage="S3cret;nothing")
    assert "AzureWebJobsStorage is no storage connection string" in log
    assert "S3cret" not in log


def test_storage_that_does_not_answer(place: Place) -> None:
    """Exit code 1 within seconds; the connection is named."""
    nobody = place.storage.replace("127.0.0.1:", "127.0.0.1:1")[:-1].replace(":1", ":9") + ";"
    log = failed("queues", place, AzureWebJobsStorage=nobody)
    assert "the storage account of AzureWebJobsStorage does not answer" in log


def test_a_port_that_is_taken(place: Place) -> None:
    """Exit code 1; the port is named."""
    with running("web", place) as host:
        port = host.url.rpartition(":")[2]
        child = start("web", place, "--port", port)
        assert child.process.wait(20) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in child.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_an_idle_host(place: Place, number: signal.Signals) -> None:
    """It ends with code 0, well before the time that running functions would get."""
    with running("queues", place) as host:
        host.child.process.send_signal(number)
        assert host.child.process.wait(GRACE_S - 1) == 0


def test_a_signal_while_a_function_runs(place: Place) -> None:
    """The running invocation gets its time and finishes."""
    with ContainerClient.from_connection_string(place.storage, place.name) as container:
        container.create_container()
        container.upload_blob("slow/x", b"1")
    with running("blobs", place, SLOW_S="1.5") as host:
        eventually(lambda: place.seen("slow"))
        host.child.process.terminate()
        assert host.child.process.wait(10) == 0
    assert len(place.seen("slow-done")) == 1


def test_a_signal_while_a_function_never_ends(place: Place) -> None:
    """The host ends all the same, and says what it left."""
    with ContainerClient.from_connection_string(place.storage, place.name) as container:
        container.create_container()
        container.upload_blob("slow/x", b"1")
    with running("blobs", place, SLOW_S="60") as host:
        eventually(lambda: place.seen("slow"))
        host.child.process.terminate()
        try:
            assert host.child.process.wait(12) == 0
        except subprocess.TimeoutExpired:
            pytest.fail(host.log)
        assert "abandoned: slow" in host.log


def test_answers_are_not_held_back() -> None:
    """What comes in two parts goes out at once, on each connection."""
    with listen(0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
