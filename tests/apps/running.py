"""Starts the local host on a sample app, as a real process with names of its own in storage, and watches it.

Never looks into the host: it sees what a user sees, HTTP, storage, the log, and what the sample app records.
"""

import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from local.process import Child

APPS = Path(__file__).parent
ROOT = APPS.parents[1]


@dataclass
class Place:
    """What several hosts may share: storage, the names in it, the record of invocations."""

    storage: str
    folder: Path
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")

    @property
    def environment(self) -> dict[str, str]:
        """The settings the sample apps read."""
        return {
            "AzureWebJobsStorage": self.storage,
            "DataStorage": self.storage,
            "AzureFunctionsWebHost__hostid": self.name,
            "CONTAINER": self.name,
            "QUEUE": self.name,
            "EACH_SECOND": "* * * * * *",
            "RECORD": str(self.folder / f"{self.name}.jsonl"),
        }

    def seen(self, function: str | None = None) -> list[dict[str, Any]]:
        """Return what the functions recorded, oldest first."""
        path = Path(self.environment["RECORD"])
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if function in (None, one["function"])]


@dataclass
class Host:
    """A running host."""

    child: Child
    place: Place
    client: httpx.Client

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return str(self.client.base_url).rstrip("/")

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Make one GET request."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Make one POST request."""
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make one request."""
        return self.client.request(method, path, **options)

    @property
    def log(self) -> str:
        """All it has printed."""
        return self.child.log.read_text()


@contextmanager
def running(app: str | Path, place: Place, *options: str, **environment: str) -> Iterator[Host]:
    """Run the host on a sample app until the block is left."""
    child = start(app, place, *options, **environment)
    with child, httpx.Client(base_url=ready(child), timeout=30) as client:
        yield Host(child, place, client)


def start(app: str | Path, place: Place, *options: str, **environment: str) -> Child:
    """Start the host, and wait for nothing."""
    log = place.folder / f"host-{uuid.uuid4().hex[:6]}.log"
    command = [sys.executable, "-m", "local.host", "--port", "0", "--app-dir", str(APPS / app), *options]
    return Child("host", command, log=log, env=place.environment | environment, cwd=ROOT)


def ready(child: Child) -> str:
    """Wait until the host says that it is ready, and return its URL."""

    def url() -> str | None:
        match = re.search(r"^host ready (http://127\.0\.0\.1:\d+)$", child.log.read_text(), re.MULTILINE)
        return match[1] if match else None

    child.wait_until(lambda: url() is not None)
    return url() or ""


def eventually[T](what: Callable[[], T], timeout_s: float = 20) -> T:
    """Return what `what()` gives as soon as it is true. Raises AssertionError when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
    return found
