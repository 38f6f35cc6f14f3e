"""Starting, wiring and ending the parts, with a tiny stand-in for Core Tools where a function host is needed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psutil
import pytest

from local.process import HOST, Child, ChildFailedError, free_ports
from local.stack import ROOT, AppFaultsError, Ports, PortTakenError, Stack, app_settings, settings_file
from tests.fixtures_workspace import LocalWorkspace

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and scripts as POSIX has them")

FUNC = """
import http.server, os, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(print("4.14.0"))
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["FAKE_BODY"].encode()
        self.send_response(int(os.environ["FAKE_STATUS"]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("process", os.getpid(), flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), App).serve_forever()
"""


@pytest.fixture
def func(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Core Tools on PATH that say an app is well, whatever the app."""
    script, tool = tmp_path / "func.py", tmp_path / "bin" / "func"
    tool.parent.mkdir()
    script.write_text(FUNC)
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')  # a #! line takes no path with spaces
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_STATUS", "200")
    monkeypatch.setenv("FAKE_BODY", "{}")


def _app_alone(tmp_path: Path, host: str = "func") -> Stack:
    return Stack(Ports.free(), logs=tmp_path, parts=["app"], host=host)


# Settings


def test_setting_is_in_the_environment() -> None:
    """It wins, over what was started, too: the app inherits it, and nothing is laid over it."""
    assert app_settings(environment={"A": "env"}, started={"A": "new"}, file={"A": "file"}, expected={"A": "def"}) == {}


def test_setting_comes_from_a_started_part() -> None:
    """It wins over local.settings.json, which may speak of the cloud."""
    assert app_settings(environment={}, started={"A": "new"}, file={"A": "file"}, expected={"A": "def"}) == {"A": "new"}


def test_setting_is_in_local_settings() -> None:
    """It wins over the default ports: the host reads it by itself, and nothing is laid over it."""
    assert app_settings(environment={}, started={}, file={"A": "file"}, expected={"A": "def"}) == {}


def test_setting_is_nowhere() -> None:
    """A part that was not started is expected at its port."""
    assert app_settings(environment={}, started={}, file={}, expected={"A": "def"}) == {"A": "def"}


@pytest.mark.parametrize("where", ["environment", "file"])
def test_setting_is_given_in_parts(where: str) -> None:
    """An identity-based connection counts as given; a connection string would win over it in the host."""
    given = {"environment": dict[str, str](), "file": dict[str, str](), where: {"TrainingStorage__accountName": "mine"}}
    assert app_settings(started={}, expected={"TrainingStorage": "def"}, **given) == {}


def test_local_settings_is_no_json(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "local.settings.json").write_text("{")
    with pytest.raises(ChildFailedError, match=r"local\.settings\.json is not what"):
        settings_file(tmp_path)


# Starting


def test_port_is_taken(tmp_path: Path) -> None:
    """The message names the port, the part, who has it, and the option that changes it."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError) as caught, Stack(Ports(app=port), logs=tmp_path, parts=["app"]):
            pass
    for part in (f"Port {port} (app) is taken", f"process {os.getpid()}", "--port "):
        assert part in str(caught.value)


def test_second_port_of_storage_is_taken(tmp_path: Path) -> None:
    """Azurite needs three: the message names the one that is taken."""
    first = free_ports(3)
    with (
        socket.create_server((HOST, first + 1)),
        pytest.raises(PortTakenError, match=rf"Port {first + 1} \(storage\).*--storage-port"),
        Stack(Ports(storage=first), logs=tmp_path, parts=["storage"]),
    ):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("where", ["environment", "file"])
def test_app_that_is_pointed_at_the_stand_in_by_hand(
    func: None, workspace: LocalWorkspace, tmp_path: Path, host: str, where: str
) -> None:
    """Another of its endpoints, named by its address: the app gets the stand-in's identity all the same."""
    port = urlsplit(workspace.base_url).port
    assert port
    given = {"INCOME_ENDPOINT_URL": f"http://{host}:{port}/pipelines/v1.0/other"}
    settings: dict[str, dict[str, str]] = {where: given}
    with Stack(Ports.free()._replace(workspace=port), logs=tmp_path, parts=["app"], host="func", **settings) as stack:  # type: ignore[arg-type]
        wired = stack._settings()
    assert wired["IDENTITY_ENDPOINT"] == workspace.info["identity_endpoint"]
    assert "INCOME_ENDPOINT_URL" not in wired


def test_app_that_is_pointed_at_a_real_workspace(func: None, workspace: LocalWorkspace, tmp_path: Path) -> None:
    """It gets no identity of a stand-in, though one runs at the port."""
    port = urlsplit(workspace.base_url).port
    assert port
    given = {"INCOME_ENDPOINT_URL": "https://westeurope.api.azureml.ms/pipelines/v1.0/other"}
    ports = Ports.free()._replace(workspace=port)
    with Stack(ports, logs=tmp_path, parts=["app"], host="func", environment=given) as stack:
        assert "IDENTITY_ENDPOINT" not in stack._settings()


def test_port_of_a_part_that_is_not_started_is_taken(func: None, tmp_path: Path) -> None:
    """It is expected to be: that is where the part is."""
    with socket.create_server((HOST, 0)) as taken:
        ports = Ports.free()._replace(storage=taken.getsockname()[1])
        with Stack(ports, logs=tmp_path, parts=["app"], host="func") as stack:
            assert list(stack.children) == ["app"]


def test_host_is_func_and_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with (
        pytest.raises(ChildFailedError, match="--host builtin"),
        Stack(Ports.free(), logs=tmp_path, host="func", say=said.append),
    ):
        pass
    assert said == []


def test_core_tools_on_path(func: None, tmp_path: Path) -> None:
    """`auto` takes them."""
    with _app_alone(tmp_path, host="auto") as stack:
        assert stack.children["app"].process.args[1] == "start"  # type: ignore[index]


def test_app_reports_faults(func: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack says them in the app's own words, and ends."""
    monkeypatch.setattr("local.stack.FAULTS_LAST_S", 0)
    monkeypatch.setenv("FAKE_STATUS", "503")
    monkeypatch.setenv("FAKE_BODY", json.dumps({"detail": "2 faults: no version; no rule"}))
    stack = _app_alone(tmp_path)
    with pytest.raises(AppFaultsError, match="2 faults: no version; no rule"), stack:
        pass
    assert stack.children == {}


def test_app_is_killed_and_started_again(func: None, tmp_path: Path) -> None:
    """It answers at the same port, and its log goes on."""
    with _app_alone(tmp_path) as stack:
        first = stack.children["app"]
        first.kill()
        with pytest.raises(ChildFailedError, match="app was ended by SIGKILL"):
            stack.check()
        second = stack.start_app()
        stack.check()
        log = second.log.read_text()
        assert f"process {first.process.pid}" in log
        assert f"process {second.process.pid}" in log


def test_second_app_on_a_port_of_its_own(func: None, tmp_path: Path) -> None:
    """Both run, and both end with the stack."""
    with _app_alone(tmp_path) as stack:
        apps = [stack.children["app"], stack.start_app(free_ports())]
        stack.check()
        assert len(stack.children) == 2
    assert [app.process.poll() is None for app in apps] == [False, False]


# Ending


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_parent_is_killed(tmp_path: Path) -> None:
    """Its child ends, too, though nobody could tell it to."""
    code = (
        "import sys; from pathlib import Path; from local.process import Child\n"
        "child = Child('x', ['sleep', '600'], log=Path(sys.argv[1])); print(child.process.pid, flush=True)\n"
        "child.process.wait()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        child = psutil.Process(int(_line(parent.stdout)))
        parent.kill()
    child.wait(timeout=10)


@posix
def test_child_leaves_something_behind(tmp_path: Path) -> None:
    """What a child has started ends with it."""
    log = tmp_path / "log"
    with Child("x", ["sh", "-c", "sleep 600 & echo $!; wait"], log=log) as child:
        child.wait_until(lambda: log.read_text().endswith("\n"))
        grandchild = psutil.Process(int(log.read_text()))
    grandchild.wait(timeout=10)


@contextmanager
def _start(*options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `./retrain start` with the app alone, until it is ready."""
    command = [sys.executable, "-m", "local", "start", "--parts", "app", "--host", "func", *options]
    command += ["--port", str(free_ports())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            while (line := _line(process.stdout)) != "ready\n":
                assert line, process.communicate()[1]
            yield process
        finally:
            process.kill()


def _line(stream: IO[str] | None) -> str:
    assert stream
    return stream.readline()


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_is_asked_to_end(func: None, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end all parts; exit code 0."""
    with _start() as process:
        (app,) = psutil.Process(process.pid).children()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
        assert not app.is_running()


@posix
def test_part_dies(func: None) -> None:
    """`start` says which, with the end of its log; exit code 1."""
    with _start() as process:
        (app,) = psutil.Process(process.pid).children()
        app.kill()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "app was ended by SIGKILL" in err
        assert f"process {app.pid}" in err
