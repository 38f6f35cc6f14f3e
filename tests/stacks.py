"""Runs `./retrain start` as a real process, on ports of its own. Never looks into it: it sees what a user sees."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from azure.storage.blob import ContainerClient

from local.azurite import connection_string
from local.process import HOST
from local.stack import Ports
from tests.waiting import until

ROOT = Path(__file__).parent.parent
INCOME = (ROOT / "tests" / "data" / "income.csv").read_bytes()
"""Something that the stand-in really trains on."""


class Started:
    """A `./retrain start` of its own."""

    def __init__(self, ports: Ports, process: subprocess.Popen[str], log: Path) -> None:
        self.ports, self.process, self.log = ports, process, log
        self.url = f"http://{HOST}:{ports.app}"
        self.container = ContainerClient.from_connection_string(connection_string(ports.storage), "training-data")

    def tick(self) -> None:
        """Let the timer tick now."""
        requests.post(f"{self.url}/admin/functions/tick", json={"input": ""}, timeout=60).raise_for_status()


@contextmanager
def start(ports: Ports, log: Path, *words: str, folder: Path = ROOT, **environ: str) -> Iterator[Started]:
    """Run `./retrain start` of a project's folder on ports until it is ready; end it as Ctrl-C does."""
    options = ["--port", ports.app, "--workspace-port", ports.workspace, "--storage-port", ports.storage]
    line = [sys.executable, "-m", "local", "start", *map(str, options), "--host", "builtin", *words]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "RETRAIN_STACKS") if name in os.environ}
    with log.open("w") as out:
        process = subprocess.Popen(line, cwd=folder, env={**kept, **environ}, stdout=out, stderr=out, text=True)
    try:
        until(lambda: "Ctrl-C ends everything" in log.read_text() or process.poll() is not None, timeout_s=60)
        assert process.poll() is None, log.read_text()
        yield Started(ports, process, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
