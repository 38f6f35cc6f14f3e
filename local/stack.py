"""The whole thing on one machine: Azurite, the workspace stand-in and the function app, wired and ended together.

`Stack` is what `./retrain start`, the demo and the tests use; `app_settings` says where each setting comes from.
Never restarts a part that died: it says which one, with the end of its log, and ends the others.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

import psutil
import requests
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from azure.storage.queue import QueueServiceClient
from rich.console import Console
from rich.text import Text

from local import azurite, deployed
from local.process import HOST, Child, ChildFailedError, free_ports, listens

ROOT = Path(__file__).parents[1]
LOGS = ROOT / ".retrain" / "logs"
PARTS = ("storage", "workspace", "app")
COUNTS = {"storage": 3, "workspace": 1, "app": 1}  # ports of each part, one after the other
STACKS = Path(os.environ.get("RETRAIN_STACKS") or ROOT / ".retrain" / "stacks")  # tests have their own
OPTIONS = {"app": "--port", "workspace": "--workspace-port", "storage": "--storage-port"}
CONTAINER = "training-data"
ENDPOINT = "income"  # the pipeline endpoint of the workspace stand-in that the shipped retrain.toml calls
IDENTITY_HEADER = "local"  # as in local.settings.sample.json, so that an app started by hand finds this workspace, too
THREADS = {"PYTHON_THREADPOOL_THREAD_COUNT": "32"}  # as in the sample, too: what host.json starts at once, twice
BLOB_WEBHOOK = "/runtime/webhooks/blobs?functionName=Host.Functions."
EVENTS_QUEUE = "retrain-events"
OF_THE_APP = ("RETRAIN_", "INCOME_", "TRAINING_", "TrainingStorage", "AzureWebJobs", "AZURE_CLIENT_ID")
# The app's settings by what `--events` promises; its status tells what it goes by.
WAYS_IN = {
    "grid": {"RETRAIN_EVENTS": "blob", "RETRAIN_BLOB_SOURCE": "EventGrid"},
    "queue": {"RETRAIN_EVENTS": "queue"},
}
EVENTS_SPEED = 10  # how much sooner than Event Grid its stand-in tries again: after a second, three, six, thirty
FAULTS_LAST_S = 3  # what the app complains of for longer is not a part that is just coming up


class PortTakenError(RuntimeError):
    """Something else listens where a part is to listen; the message says who, and which option changes the port."""


class AppFaultsError(ChildFailedError):
    """The app answers, but only that it is not fit to work; the message has its own words, such as all faults."""


class Ports(NamedTuple):
    """Where each part listens, on loopback; `storage` is the first of three."""

    app: int = 7071
    workspace: int = 7081
    storage: int = 10000

    @classmethod
    def free(cls) -> Self:
        """Return ports that are free right now, for what must not clash with a running `./retrain start`."""
        return cls(free_ports(), free_ports(), free_ports(3))


class Stack:
    """The chosen parts, running, as a context manager: entering waits until all answer, leaving ends them all."""

    def __init__(
        self,
        ports: Ports,
        *,
        logs: Path,
        parts: Sequence[str] = PARTS,
        host: str = "auto",
        events: str = "scan",
        environment: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        file: Mapping[str, str] | None = None,
        keep: Path | None = None,
        say: Callable[[str], object] = str,
    ) -> None:
        """Prepare; nothing is started yet.

        `events`: how the app hears of uploads. "scan": it lists the container; "grid": a stand-in of Event Grid tells
        its blob functions; "queue": the stand-in puts events into the app's queue.
        `environment` and `file` (local.settings.json) are what may win over the wiring, see `app_settings`; left out,
        nothing does, so that a demo or a test can never reach a real workspace. `more`: further app settings. `keep` is
        the folder in which storage and the workspace keep what they have; left out, it is gone when they end.
        """
        self.ports, self.logs, self.parts, self.host, self.say = ports, logs, parts, host, say
        self.events, self.environment, self.file, self.keep = events, environment or {}, file or {}, keep
        self.more = more or {}
        self.storage = azurite.connection_string(ports.storage)
        self.workspace_url = f"http://{HOST}:{ports.workspace}"
        self.app_url = f"http://{HOST}:{ports.app}"
        self.info: dict[str, Any] = {}  # what the workspace stand-in says about itself
        self.deployed: dict[str, str] = {}  # what azd would have noted of it
        self.children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        taken = {part: by for part in self.parts if (by := taken_by(part, getattr(self.ports, part), COUNTS[part]))}
        if taken:
            free = self.ports._replace(**{part: free_ports(COUNTS[part]) for part in taken})
            told = " ".join(taken.values())
            raise PortTakenError(f"{told} End that, or start another stack beside it: {self._command(free)}")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self, ports: Ports) -> str:
        """Return the command that starts the same on other ports."""
        usual = Ports()
        words = ["./retrain start"]
        for part, option in OPTIONS.items():
            words += [f"{option} {getattr(ports, part)}"] if getattr(ports, part) != getattr(usual, part) else []
        words += [f"--host {self.host}"] if self.host != "auto" else []
        words += [f"--events {self.events}"] if self.events != "scan" else []
        words += [f"--parts {','.join(self.parts)}"] if tuple(self.parts) != PARTS else []
        words += [f"--keep {self.keep}"] if self.keep else []
        return " ".join(words)

    def _start(self) -> None:
        if "app" in self.parts:
            app_command(self.host, self.ports.app)  # before anything is started: is there such a host?
        if "workspace" in self.parts:  # comes up while Azurite does
            port = str(self.ports.workspace)
            command = [sys.executable, "-m", "local.workspace", "--port", port, "--storage", self.storage]
            command += ["--identity-header", IDENTITY_HEADER]
            command += ["--keep", str(self.keep / "workspace.json")] if self.keep else []
            self._begin("workspace", self.ports.workspace, command)
        if "storage" in self.parts:
            kept = self.keep / "storage" if self.keep else None
            running = azurite.start(self._log("storage", self.ports.storage), self.ports.storage, keep=kept)
            self.children["storage"] = running.child
            make_containers(self.storage, {**self._settings(), **self.file, **self.environment})
            self.say(f"storage    ready at {HOST}:{self.ports.storage}")
        if "workspace" in self.parts:
            self.children["workspace"].wait_until(self._read_info)
            self.say(f"workspace  ready at {self.workspace_url}")
        elif self._calls_the_stand_in():
            self._read_info()
        if "app" in self.parts:
            self.start_app()
            if self.events in WAYS_IN:
                self._start_events()

    def start_app(self, port: int | None = None, **settings: str) -> Child:
        """Start a function host with the app and wait until it answers; also after a kill, or on a port of its own.

        Raises AppFaultsError when the app answers that its configuration or its storage is at fault.
        """
        port = port or self.ports.app
        name = "app" if port == self.ports.app else f"app-{port}"
        child = self._begin(name, port, app_command(self.host, port), {**self._settings(), **settings})
        bad_since = 0.0

        def answers() -> bool:
            nonlocal bad_since
            status, body = get_json(f"http://{HOST}:{port}/api/status")
            # A host without the app yet answers 404 or 503, too, but not with a problem document of the app.
            if status == 500 or (status == 503 and isinstance(body, dict) and "detail" in body):
                bad_since = bad_since or time.monotonic()
                if time.monotonic() - bad_since > FAULTS_LAST_S:
                    fault = body["detail"] if status == 503 else f"It answers with status 500.\n{child.log_tail()}"
                    raise AppFaultsError(f"The app says that it is not fit to work, and was ended. {fault}")
            return status == 200

        child.wait_until(answers)
        self.say(f"{name:<10} ready at http://{HOST}:{port}")
        return child

    def _start_events(self) -> None:
        """Start a stand-in of Event Grid for each subscription of the app. Raises ChildFailedError."""
        _, status = get_json(f"{self.app_url}/api/status")
        said = status if isinstance(status, dict) else {}
        for setting, value in WAYS_IN[self.events].items():
            if said.get(setting.removeprefix("RETRAIN_").lower()) != value:
                raise ChildFailedError(
                    f"The app waits for no such events: {setting} says otherwise than --events {self.events}."
                )
        functions = blob_functions({**self._settings(), **self.file, **self.environment})
        make_letters(self.storage)
        if self.events == "queue":
            make_queue(self.storage)
            self._start_grid("events", list(functions), "--queue", EVENTS_QUEUE)
        else:
            for container, function in functions.items():
                name = f"events-{container}" if len(functions) > 1 else "events"
                hook = f"{self.app_url}{BLOB_WEBHOOK}{function}"
                self._start_grid(name, [container], "--to", f"{hook}&code={deployed.KEY}")
        if "workspace" in self.parts:
            told = deployed.told(self.events, self.ports.app, functions, self._all_settings(), self._functions())
            requests.post(f"{self.workspace_url}/_control/app", json=told, timeout=30).raise_for_status()
            self.deployed = deployed.outputs(self.events, self.workspace_url)

    def _all_settings(self) -> dict[str, str]:
        """Return the app's settings, wherever they come from."""
        own = {name: value for name, value in self.environment.items() if name.startswith(OF_THE_APP)}
        return {**self.file, **self._settings(), **own}

    def _functions(self) -> list[str]:
        """Return the functions that the host has found."""
        _, found = get_json(f"{self.app_url}/admin/functions")
        return [one["name"] for one in found or ()]

    def _start_grid(self, name: str, containers: Sequence[str], *target: str) -> None:
        """Start a stand-in of Event Grid that tells one target of uploads."""
        command = [sys.executable, "-m", "local.events", "--storage", self.storage, *target]
        command += ["--speed", str(EVENTS_SPEED), "--dead-letter", deployed.DEAD_LETTERS]
        command += [word for container in containers for word in ("--container", container)]
        child = self._begin(name, self.ports.app, command)
        child.wait_until(functools.partial(_says, child, "events ready"))
        self.say(f"{name:<10} ready, for uploads to {', '.join(containers)}")

    def check(self) -> None:
        """Raise ChildFailedError when a part has ended by itself."""
        for child in list(self.children.values()):
            child.check()

    def log_tails(self) -> str:
        """Return the last lines of each part's log."""
        return "\n".join(child.log_tail() for child in self.children.values())

    def stop(self) -> None:
        """End all parts, the last started first: the app ends while its storage is still there."""
        while self.children:
            self.children.popitem()[1].stop()

    def _begin(self, name: str, port: int, command: Sequence[str], settings: Mapping[str, str] | None = None) -> Child:
        old = self.children.pop(name, None)
        if old:
            old.stop()
        part = "app" if name.startswith("app-") else name
        log = old.log if old else self._log(part, port)  # one that is started again goes on in its log
        child = Child(name, command, log=log, env={"PYTHONUNBUFFERED": "1", **(settings or {})}, cwd=ROOT)
        self.children[name] = child
        return child

    def _log(self, part: str, port: int) -> Path:
        log = self.logs / f"{part}-{port}.log"
        log.unlink(missing_ok=True)
        return log

    def _read_info(self) -> bool:
        status, body = get_json(f"{self.workspace_url}/_control/info")
        self.info = body if status == 200 else {}
        return status == 200

    def _calls_the_stand_in(self) -> bool:
        """Tell whether the app is to call the workspace at its port here, as far as its settings say."""
        given = self.environment.get("INCOME_ENDPOINT_URL") or self.file.get("INCOME_ENDPOINT_URL")
        return given is None or given.replace("localhost", HOST).startswith(f"{self.workspace_url}/")

    @contextlib.contextmanager
    def told(self, folder: Path = STACKS) -> Iterator[None]:
        """Leave what was wired where the operator's commands look, as long as this runs (cli/environment.py)."""
        values = {name: value for name, value in self.environment.items() if name.startswith(("RETRAIN_", "INCOME_"))}
        listening = [getattr(self.ports, part) for part in self.parts]
        file = folder / f"{self.ports.app}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        values |= self._settings()
        content = {"port": self.ports.app, "ports": listening, "values": values, "deployed": self.deployed}
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def _settings(self) -> dict[str, str]:
        storage = {"AzureWebJobsStorage": self.storage, "TrainingStorage": self.storage}
        workspace = {}
        if self.info:
            url = next((one["url"] for one in self.info["endpoints"] if one["name"] == ENDPOINT), "")
            workspace = {
                "INCOME_ENDPOINT_URL": url,
                "IDENTITY_ENDPOINT": self.info["identity_endpoint"],
                "IDENTITY_HEADER": self.info["identity_header"],
            }
        always = {
            "TRAINING_CONTAINER": CONTAINER,
            "RETRAIN_BLOB_SOURCE": "LogsAndContainerScan",  # Azurite sends no storage events
            "FUNCTIONS_WORKER_RUNTIME": "python",
            **THREADS,
        }
        started = (storage if "storage" in self.parts else {}) | (workspace if "workspace" in self.parts else {})
        if "app" in self.parts:
            started |= WAYS_IN.get(self.events, {})
        settings = app_settings(
            environment=self.environment, started=started, file=self.file, expected=always | storage | workspace
        )
        return {**settings, **self.more}


def app_settings(
    *, environment: Mapping[str, str], started: Mapping[str, str], file: Mapping[str, str], expected: Mapping[str, str]
) -> dict[str, str]:
    """Return the settings to lay over the app's environment.

    Strongest first: what the `environment` says already; what was `started` for the app; local.settings.json (which the
    host reads by itself, below the environment); what is `expected` at the local ports. A setting that is given in
    parts (`TrainingStorage__blobServiceUri`) is given.
    """

    def given(name: str, where: Mapping[str, str]) -> bool:
        return any(other == name or other.startswith(f"{name}__") for other in where)

    settings = {name: value for name, value in expected.items() if not given(name, file)} | dict(started)
    return {name: value for name, value in settings.items() if not given(name, environment)}


def settings_file(folder: Path = ROOT) -> dict[str, str]:
    """Return the Values of local.settings.json, none when there is no such file."""
    try:
        content = json.loads((folder / "local.settings.json").read_text(encoding="utf-8-sig"))
        return {str(name): str(value) for name, value in content.get("Values", {}).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise ChildFailedError(
            f"{folder / 'local.settings.json'} is not what a Functions host reads: {error}"
        ) from error


def taken_by(part: str, port: int, count: int) -> str:
    """Say who listens on one of the `count` ports from `port` on; empty when they are free."""
    for number in range(port, port + count):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, sys.platform != "win32")
            try:
                if not listens(number):
                    sock.bind((HOST, number))
                    continue
            except OSError as error:
                if isinstance(error, PermissionError):
                    return f"Port {number} ({part}) needs rights that you do not have."
        return f"Port {number} ({part}) is taken{_by_whom(number)}."
    return ""


def _by_whom(port: int) -> str:
    """Name the process that listens on a port, where the system tells."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return (
                    f" by {psutil.Process(connection.pid).name()} (process {connection.pid})" if connection.pid else ""
                )
    return ""


def make_containers(storage: str, settings: Mapping[str, str]) -> None:
    """Make the container of each datastore in retrain.toml, so that the first upload has somewhere to go."""
    with BlobServiceClient.from_connection_string(storage) as service:
        for name in blob_functions(settings) or {CONTAINER: ""}:
            with contextlib.suppress(ResourceExistsError):
                service.create_container(name)


def make_queue(storage: str) -> None:
    """Make the queue that events come by: neither a subscription nor a function does."""
    with QueueServiceClient.from_connection_string(storage) as service, contextlib.suppress(ResourceExistsError):
        service.create_queue(EVENTS_QUEUE)


def make_letters(storage: str) -> None:
    """Make the container of dead letters, as the templates do."""
    with BlobServiceClient.from_connection_string(storage) as service, contextlib.suppress(ResourceExistsError):
        service.create_container(deployed.DEAD_LETTERS)


def blob_functions(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the container of each datastore in retrain.toml, and the app's blob function for it.

    The function has its name from the first datastore on the container. Nothing when the file has a fault: the app
    itself reports that.
    """
    found = dict[str, str]()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        datastores = tomllib.loads((ROOT / "retrain.toml").read_text(encoding="utf-8"))["datastores"]
        for name, datastore in datastores.items():
            found.setdefault(re.sub("%([^%]+)%", lambda m: settings[m[1]], datastore["container"]), f"arrive_{name}")
    return found


def app_command(host: str, port: int) -> list[str]:
    """Return the command of the function host: Core Tools when it runs here (`auto`), else the built-in one."""
    func = find_func() if host in ("auto", "func") else None
    if func:
        return [func, "start", "--port", str(port)]
    if host == "func":
        raise ChildFailedError("There is no Azure Functions Core Tools (func) on PATH that runs; try --host builtin.")
    return [sys.executable, "-m", "local.host", "--port", str(port), "--app-dir", str(ROOT)]


def _says(child: Child, words: str) -> bool:
    return words in child.log.read_text(errors="replace")


def find_func() -> str | None:
    """Return Core Tools, when it is on PATH and runs."""
    if func := shutil.which("func"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if subprocess.run([func, "--version"], capture_output=True, timeout=30, check=False).returncode == 0:
                return func
    return None


def get_json(url: str) -> tuple[int, Any]:
    """GET from a part; return its status and JSON body: 0 when it does not answer yet, None when it is no JSON."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy is for the world outside
            response = session.get(url, timeout=5)
            return response.status_code, response.json()
    except requests.JSONDecodeError:
        return response.status_code, None
    except requests.RequestException:
        return 0, None


# ./retrain start


def start(
    ports: Ports, *, host: str, events: str, parts: Sequence[str], keep: Path | None, environment: Mapping[str, str]
) -> int:
    """Run the parts until Ctrl-C or SIGTERM (exit code 0), or until one of them dies (1)."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        with interruptible():
            stack = Stack(
                ports,
                logs=LOGS,
                parts=parts,
                host=host,
                events=events,
                environment=environment,
                file=settings_file(),
                keep=keep,
                say=console.print,
            )
            with stack, stack.told(), showing_logs(stack, console):
                console.print(ready_text(stack), markup=False)
                while True:
                    stack.check()
                    time.sleep(0.2)
    except KeyboardInterrupt:
        console.print("ended")
        return 0
    except (ChildFailedError, PortTakenError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        return 1


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into KeyboardInterrupt; further ones wait for the orderly end."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked
        if not asked:
            asked = True
            raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def showing_logs(stack: Stack, console: Console) -> Iterator[None]:
    """Show what the parts log from now on: the app's lines plain, the others' dim."""
    over = threading.Event()
    places = {child.log: child.log.stat().st_size for child in stack.children.values()}

    def follow() -> None:
        last = False
        while not last:
            last = over.wait(0.1)
            for name, child in list(stack.children.items()):
                with contextlib.suppress(OSError), child.log.open("rb") as log:
                    log.seek(places.get(child.log, 0))
                    lines = log.read().rpartition(b"\n")[0]
                    places[child.log] = places.get(child.log, 0) + (len(lines) + 1 if lines else 0)
                for line in lines.decode(errors="replace").splitlines():
                    console.print(Text(f"{name} | {line}", style="" if name.startswith("app") else "dim"))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def ready_text(stack: Stack) -> str:
    """Return the line `ready`, the URLs, and the first things to do."""
    lines = ["ready"]
    if "app" in stack.parts:
        lines.append(f"  app        {stack.app_url}/api/status")
    if "workspace" in stack.parts:
        lines.append(f"  workspace  {stack.workspace_url}/")
    if "storage" in stack.parts:
        default = stack.ports.storage == Ports().storage
        lines.append(f"  storage    {'UseDevelopmentStorage=true' if default else stack.storage}")
        lines.append("Make some data and upload it (the app sees it by itself):")
        python = os.path.relpath(sys.executable, ROOT)
        lines.append(f"  {python} -m local.workspace.sample_data --country us --rows 2000 --out new.csv")
        lines.append(f"  curl -X PUT -H 'x-ms-blob-type: BlockBlob' --data-binary @new.csv '{upload_url(stack)}'")
    lines.append("Look from a second terminal (they find this stack; of several, the one of --port):")
    lines.append("  ./retrain check; ./retrain history")
    if "app" in stack.parts:
        body = '{"datastore": "training", "path": "income/us/new.csv"}'
        lines.append("Announce it over HTTP (the answer names the run):")
        lines.append(f"  curl -H 'Content-Type: application/json' -d '{body}' {stack.app_url}/api/retrain")
    kept = f"what is there is kept in {stack.keep}" if stack.keep else "all of it is in memory (see --keep)"
    return "\n".join([*lines, f"Ctrl-C ends everything; {kept}."])


def upload_url(stack: Stack) -> str:
    """Return a URL that takes uploads of income/us/new.csv from anything that speaks HTTP."""
    signature = generate_container_sas(
        azurite.ACCOUNT,
        CONTAINER,
        account_key=azurite.KEY,
        permission=ContainerSasPermissions(write=True, create=True),
        expiry=datetime.now(UTC) + timedelta(days=365),
    )
    return f"http://{HOST}:{stack.ports.storage}/{azurite.ACCOUNT}/{CONTAINER}/income/us/new.csv?{signature}"
