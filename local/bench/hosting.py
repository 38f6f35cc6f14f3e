"""The app in the built-in host as `./retrain start` runs it, and when its functions ended, by the host's own log.

Never changes what is measured, but for host.json, retrain.toml and app settings where a measure is about them.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from local.configuration import toml
from local.process import Child
from local.stack import THREADS

DONE = re.compile(r"^(\d\d):(\d\d):(\d\d)\.(\d\d\d) .*arrive_\w+ succeeded, .* blob [^/]+/(\S+), attempt", re.MULTILINE)
FAILED = re.compile(r"arrive_\w+ failed, ")


def variant(app: Path, logs: Path, content: dict[str, Any], blobs: Mapping[str, Any]) -> Path:
    """Return a copy of the app with another retrain.toml, and other words about blob triggers in host.json."""
    folder = logs / "app"
    shutil.copytree(app, folder)
    host = json.loads((folder / "host.json").read_text(encoding="utf-8"))
    host["extensions"]["blobs"] |= blobs
    (folder / "host.json").write_text(json.dumps(host), encoding="utf-8")
    (folder / "retrain.toml").write_text(toml(content), encoding="utf-8")
    return folder


@contextmanager
def hosted(folder: Path, environment: Mapping[str, str], logs: Path) -> Iterator[tuple[Child, str]]:
    """Run the app in the built-in host; yield it and its address."""
    command = [sys.executable, "-m", "local.host", "--port", "0", "--app-dir", str(folder)]
    settings = {**THREADS, **environment, "RETRAIN_BLOB_SOURCE": "EventGrid", "PYTHONUNBUFFERED": "1"}
    with Child("host", command, log=logs / "host.log", env=settings) as host:
        host.wait_until(lambda: "host ready " in host.log.read_text())
        yield host, host.log.read_text().partition("host ready ")[2].split()[0]


class Ends:
    """When a blob's function ended, by the blob's name; each look reads on in the log where the one before stopped."""

    def __init__(self, host: Child) -> None:
        """Follow a host, and how much memory it takes, the app with it."""
        self.at = dict[str, float]()
        self.peak_mb, self.failed = 0.0, 0
        """`failed`: attempts after which the host tries again, as the platform does."""
        self._host, self._process, self._read = host, psutil.Process(host.process.pid), 0

    def look(self) -> int:
        """Read on; return how many blobs' functions have ended since the look before. Raises ChildFailedError."""
        self._host.check()
        self.peak_mb = max(self.peak_mb, self._process.memory_info().rss / 1e6)
        with self._host.log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        text, before = new.decode(errors="replace"), len(self.at)
        self.failed += len(FAILED.findall(text))
        for *clock, name in DONE.findall(text):
            self.at.setdefault(name, _time(*clock))
        return len(self.at) - before


def _time(hours: str, minutes: str, seconds: str, thousandths: str) -> float:
    """Return the time of a log line, whose clock is this machine's."""
    now = datetime.now().astimezone()
    found = now.replace(hour=int(hours), minute=int(minutes), second=int(seconds), microsecond=int(thousandths) * 1000)
    return (found if found <= now else found - timedelta(days=1)).timestamp()
