"""Many uploads at once, through the whole stack: how many a second are done, how long each takes, how much memory.

The app runs in the built-in host as in `./retrain start`, and is told by the stand-in of Event Grid; host, app,
emulator, stand-ins and whoever uploads share one machine. Latency is from an upload's answer to the end of its
function, by the host's own log. Never uploads anything twice.
"""

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
from azure.storage.blob import BlobProperties

from local.bench.measure import Bench, Result, Table
from local.bench.package import pack
from local.bench.servers import servers
from local.configuration import shipped, toml
from local.events import Blob, EventGrid, Subscription
from local.process import Child, ChildFailedError
from local.stack import BLOB_WEBHOOK, CONTAINER

DEGREES = (1, 2, 4, 8, 16, 32)
SHIPPED = 8
UPLOADERS = 8
PATIENCE_S = 1_800
DONE = re.compile(r"^(\d\d):(\d\d):(\d\d)\.(\d\d\d) .*arrive_\w+ succeeded, .* blob [^/]+/(\S+), attempt", re.MULTILINE)
FAILED = re.compile(r"arrive_\w+ failed, ")


def run(bench: Bench) -> Result:
    """Take the measure."""
    result = Result()
    app = pack(bench.logs / "app", compiled=True)
    many, few = bench.of(2_000, 40), bench.of(400, 20)
    files = [f"income/us/{number:05d}.csv" for number in range(many)]
    rows = [burst(bench, result, app, SHIPPED, shipped(), files, "files")]
    result.tables.append(table(f"{many:,} uploads at once, a run each", rows))
    rows = [
        burst(bench, result, app, degree, shipped(), files[:few], f"degree_{degree}")
        for degree in ((SHIPPED,) if bench.quick else DEGREES)
    ]
    result.tables.append(table(f"{few:,} uploads at once, by `maxDegreeOfParallelism` of host.json", rows))
    return result


def gather(bench: Bench) -> Result:
    """Take the measure for folders: nothing is submitted, each file is noted."""
    result = Result()
    app = pack(bench.logs / "app", compiled=True)
    gathered = bench.of(20_000, 60)
    into = [f"income/{number % 100:02d}/{number:05d}.csv" for number in range(gathered)]
    rows = [burst(bench, result, app, SHIPPED, settling(), into, "folders")]
    result.tables.append(table(f"{gathered:,} uploads at once, into a hundred folders that settle", rows))
    return result


def table(title: str, rows: list[tuple[str, ...]]) -> Table:
    """Return a table about bursts."""
    columns = (
        *("at once", "uploads a second", "done a second"),
        *("half", "90 %", "99 %", "last"),
        "peak MB of host and app",
    )
    return Table(title, columns, rows, ("Latency in seconds, from an upload's answer to the end of its function.",))


def settling() -> dict[str, Any]:
    """Return a retrain.toml whose rule takes folders, when nothing has come for hours."""
    content = shipped()
    [rule] = content["rules"]
    rule |= {"path": "income/{part}/*.csv", "settle": {"quiet": "2h", "max_wait": "6h"}, "examples": []}
    rule["data_path"] |= {"grain": "folder"}
    return content


def burst(
    bench: Bench, result: Result, app: Path, degree: int, content: dict[str, Any], names: list[str], key: str
) -> tuple[str, ...]:
    """Upload files, wait until each was acted on; return the row."""
    bench.say(f"bursts: {key}, {len(names):,} uploads, {degree} at once ...")
    logs = bench.logs / key
    folder = variant(app, logs, degree, content)
    with servers(logs) as running, hosted(folder, running.environment(), logs) as (host, url):
        hook = f"{url}{BLOB_WEBHOOK}arrive_training"
        with EventGrid(running.storage, [Subscription([hook])]) as grid, running.container() as container:
            uploaded, began = dict[str, float](), time.time()

            def upload(name: str) -> None:
                written: Any = container.upload_blob(name, b"age\n1\n").get_blob_properties()
                uploaded[name] = time.time()
                grid.publish(Blob.of(named(written)))

            with ThreadPoolExecutor(UPLOADERS) as pool:
                list(pool.map(upload, names))
            uploads = len(names) / (max(uploaded.values()) - began)
            done, peak_mb = finished(host, len(names))
    latencies = [done[name] - uploaded[name] for name in names]
    parts = quantiles(latencies, n=100, method="inclusive")
    told = {"median": parts[49], "p90": parts[89], "p99": parts[98], "last": max(latencies)}
    rate = len(names) / (max(done.values()) - began)
    result.figures |= {f"{key}.{what}_s": value for what, value in told.items()}
    result.figures |= {f"{key}.a_second": rate, f"{key}.peak_mb": peak_mb, f"{key}.done": len(done)}
    return (
        str(degree),
        f"{uploads:.0f}",
        f"{rate:.1f}",
        *(f"{value:.1f}" for value in told.values()),
        f"{peak_mb:.0f}",
    )


def named(written: BlobProperties) -> BlobProperties:
    """Return what an event is made of."""
    written.container = written.container or CONTAINER
    return written


def variant(app: Path, logs: Path, degree: int, content: dict[str, Any]) -> Path:
    """Return a copy of the app with another host.json and retrain.toml."""
    folder = logs / "app"
    shutil.copytree(app, folder)
    host = json.loads((folder / "host.json").read_text(encoding="utf-8"))
    host["extensions"]["blobs"]["maxDegreeOfParallelism"] = degree
    (folder / "host.json").write_text(json.dumps(host), encoding="utf-8")
    (folder / "retrain.toml").write_text(toml(content), encoding="utf-8")
    return folder


@contextmanager
def hosted(folder: Path, environment: dict[str, str], logs: Path) -> Iterator[tuple[Child, str]]:
    """Run the app in the built-in host; yield it and its address."""
    command = [sys.executable, "-m", "local.host", "--port", "0", "--app-dir", str(folder)]
    settings = {**environment, "RETRAIN_BLOB_SOURCE": "EventGrid", "PYTHONUNBUFFERED": "1"}
    with Child("host", command, log=logs / "host.log", env=settings) as host:
        host.wait_until(lambda: "host ready " in host.log.read_text())
        yield host, host.log.read_text().partition("host ready ")[2].split()[0]


def finished(host: Child, count: int) -> tuple[dict[str, float], float]:
    """Wait until a function has ended for so many blobs; return when, by name, and the most memory there was."""
    process, peak, deadline = psutil.Process(host.process.pid), 0, time.monotonic() + PATIENCE_S
    while True:
        host.check()
        peak = max(peak, process.memory_info().rss)
        text = host.log.read_text(errors="replace")
        if FAILED.search(text):
            raise ChildFailedError(f"A function failed.\n{host.log_tail()}")
        ends = DONE.findall(text)
        if len({name for *_, name in ends}) >= count:
            return {name: at(*clock) for *clock, name in reversed(ends)}, peak / 1e6
        if time.monotonic() > deadline:
            raise ChildFailedError(f"{len(ends)} of {count} within {PATIENCE_S} s.\n{host.log_tail()}")
        time.sleep(0.5)


def at(hours: str, minutes: str, seconds: str, thousandths: str) -> float:
    """Return the time of a log line, whose clock is this machine's."""
    now = datetime.now().astimezone()
    found = now.replace(hour=int(hours), minute=int(minutes), second=int(seconds), microsecond=int(thousandths) * 1000)
    return (found if found <= now else found - timedelta(days=1)).timestamp()
