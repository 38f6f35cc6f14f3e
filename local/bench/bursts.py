"""Many uploads at once, through the whole stack: how many a second are done, how long each takes, how much memory.

The app is told by the stand-in of Event Grid; host, app, emulator, stand-ins and whoever uploads share one machine.
Latency is from an upload's answer to the end of its function. Never uploads anything twice.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from azure.storage.blob import BlobProperties

from local.bench.hosting import Ends, hosted, variant
from local.bench.measure import Bench, Result, Table, percentiles
from local.bench.package import pack
from local.bench.servers import control, servers
from local.configuration import shipped
from local.events import Blob, EventGrid, Subscription
from local.process import ChildFailedError
from local.stack import BLOB_WEBHOOK, CONTAINER, THREADS

DEGREES = (1, 4, 8, 16, 32)
POOLS = (0, 32)  # threads; 0: Python's own number, four more than processors
SLOW_S = 1.0
UPLOADERS = 8
AHEAD = 500
PATIENCE_S = 1_800
LOOK_S = 0.1


class Burst(NamedTuple):
    """What is uploaded, and to an app of which settings."""

    key: str
    names: list[str]
    content: dict[str, Any]
    """Of its retrain.toml."""
    degree: int = 0
    """`maxDegreeOfParallelism`; 0: as shipped."""
    threads: int | None = None
    """`PYTHON_THREADPOOL_THREAD_COUNT`; none: as shipped."""
    delay_s: float = 0
    """How long the endpoint takes."""
    ahead: int = 0
    """How many uploads may wait for their function; 0: all."""


def run(bench: Bench) -> Result:
    """Take the measure."""
    result = Result()
    app = pack(bench.logs / "app", compiled=True)
    files = [f"income/us/{number:05d}.csv" for number in range(bench.of(2_000, 40))]
    rows = [burst(bench, result, app, Burst("files", files, shipped()))]
    result.tables.append(table(f"{len(files):,} uploads at once, a run each", rows))
    for delay_s, few, degrees in ((0.0, bench.of(400, 20), DEGREES), (SLOW_S, bench.of(120, 10), DEGREES[1:])):
        rows = [
            burst(
                bench,
                result,
                app,
                Burst(key(degree, threads, delay_s), files[:few], shipped(), degree, threads, delay_s),
            )
            for degree in (degrees[-1:] if bench.quick else degrees)
            for threads in POOLS
        ]
        told = f"the endpoint answers after {delay_s:g} s" if delay_s else "the endpoint answers at once"
        result.tables.append(table(f"{few:,} uploads at once, {told}", rows))
    return result


def gather(bench: Bench) -> Result:
    """Take the measure for folders: nothing is submitted, each file is noted."""
    result = Result()
    app = pack(bench.logs / "app", compiled=True)
    gathered = bench.of(20_000, 60)
    into = [f"income/{number % 100:02d}/{number:05d}.csv" for number in range(gathered)]
    rows = [burst(bench, result, app, Burst("folders", into, settling(), ahead=AHEAD))]
    note = (
        f"At most {AHEAD} wait at a time: a long queue makes the emulator slow, and it would be all that is measured."
    )
    result.tables.append(table(f"{gathered:,} uploads into a hundred folders that settle", rows, note))
    return result


def key(degree: int, threads: int, delay_s: float) -> str:
    """Return what the figures of a point of a curve are called."""
    return f"{'slow' if delay_s else 'fast'}_{degree}_{threads or 'own'}"


def table(title: str, rows: list[tuple[str, ...]], *notes: str) -> Table:
    """Return a table about bursts."""
    columns = (
        *("`maxDegreeOfParallelism`", "threads", "uploads a second", "done a second"),
        *("half", "90 %", "99 %", "last"),
        "peak MB of host and app",
        "failed attempts",
    )
    latency = (
        "Latency in seconds, from an upload's answer to the end of its function. What is not done after a minute "
        "the timer sends, too, whichever is first. After a failed attempt the host tries again: the emulator stands "
        "still at times."
    )
    return Table(title, columns, rows, (latency, *notes))


def settling() -> dict[str, Any]:
    """Return a retrain.toml whose rule takes folders, when nothing has come for hours."""
    content = shipped()
    [rule] = content["rules"]
    rule |= {"path": "income/{part}/*.csv", "settle": {"quiet": "2h", "max_wait": "6h"}, "examples": []}
    rule["data_path"] |= {"grain": "folder"}
    return content


def burst(bench: Bench, result: Result, app: Path, one: Burst) -> tuple[str, ...]:
    """Upload files, wait until each was acted on; return the row."""
    bench.say(f"bursts: {one.key}, {len(one.names):,} uploads ...")
    logs = bench.logs / one.key
    folder = variant(app, logs, one.content, {"maxDegreeOfParallelism": one.degree} if one.degree else {})
    threads = {} if one.threads is None else dict.fromkeys(THREADS, str(one.threads or ""))
    with servers(logs) as running, hosted(folder, running.environment() | threads, logs) as (host, url):
        if one.delay_s:
            slow = {"on": "submit", "kind": "delay", "delay_s": one.delay_s, "times": len(one.names)}
            control(running.plain, "faults", [slow])
        hook = f"{url}{BLOB_WEBHOOK}arrive_training"
        with EventGrid(running.storage, [Subscription([hook])]) as grid, running.container() as container:
            uploaded, ends, room = dict[str, float](), Ends(host), threading.Semaphore(one.ahead or len(one.names))

            def upload(name: str) -> None:
                room.acquire()
                written: Any = container.upload_blob(name, b"age\n1\n").get_blob_properties()
                uploaded[name] = time.time()
                grid.publish(Blob.of(named(written)))

            began = time.time()
            with uploading(upload, one.names, room) as under_way:
                finish(ends, len(one.names), under_way, room)
    told = percentiles([ends.at[name] - uploaded[name] for name in one.names])
    rate = len(one.names) / (max(ends.at.values()) - began)
    counts = {"a_second": rate, "peak_mb": ends.peak_mb, "failed": ends.failed, "done": len(ends.at)}
    result.figures |= {f"{one.key}.{what}_s": value for what, value in told.items()}
    result.figures |= {f"{one.key}.{what}": value for what, value in counts.items()}
    return (
        str(one.degree or "as shipped"),
        "as shipped" if one.threads is None else str(one.threads or "Python's own"),
        f"{len(one.names) / (max(uploaded.values()) - began):.0f}",
        f"{rate:.1f}",
        *(f"{value:.1f}" for value in told.values()),
        f"{ends.peak_mb:.0f}",
        str(ends.failed),
    )


@contextmanager
def uploading(upload: Any, names: list[str], room: threading.Semaphore) -> Iterator[deque[Future[None]]]:
    """Upload from several threads; yield what is under way, and leave undone what was not begun when it ends early."""
    with ThreadPoolExecutor(UPLOADERS) as pool:
        try:
            yield deque(pool.submit(upload, name) for name in names)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            room.release(UPLOADERS)  # none of them may wait for ever


def finish(ends: Ends, count: int, under_way: deque[Future[None]], room: threading.Semaphore) -> None:
    """Wait until a function has ended for so many blobs; one that has makes room for another upload."""
    deadline = time.monotonic() + PATIENCE_S
    while len(ends.at) < count:
        if new := ends.look():
            room.release(new)
        while under_way and under_way[0].done():
            under_way.popleft().result()
        if time.monotonic() > deadline:
            raise ChildFailedError(f"{len(ends.at)} of {count} within {PATIENCE_S} s.")
        time.sleep(LOOK_S)


def named(written: BlobProperties) -> BlobProperties:
    """Return what an event is made of."""
    written.container = written.container or CONTAINER
    return written
