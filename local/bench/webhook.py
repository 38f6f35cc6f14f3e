"""A caller of `POST /api/retrain`: how long until the answer, which comes when row and submission are done.

In the built-in host, with Azurite; with nothing else at work, and while the timer ticks without a pause over many open
runs. The goal is about the row alone: what is measured includes the submission. Never calls twice for one blob.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests

from local.bench import environments as who
from local.bench.contestant import Contestant
from local.bench.growth import GROWTH
from local.bench.hosting import hosted
from local.bench.measure import Bench, Result, Table, percentiles
from local.bench.package import pack
from local.bench.servers import servers
from local.process import Child

PATIENCE_S = 60
TICKED = "tick succeeded"


def run(bench: Bench) -> Result:
    """Take the measure."""
    result = Result()
    stand = who.stands(bench, result.missing, who.OURS)[who.OURS]
    app = pack(bench.logs / "app", compiled=True)
    calls, opens = bench.of(300, 20), bench.of(1_000, 20)
    rows = []
    with servers(bench.logs) as running:
        names = [f"income/us/{number}.csv" for number in range(2 * calls + 2)]
        running.upload(names)
        with hosted(app, running.environment(), bench.logs) as (host, url):
            bench.say(f"webhook: {calls} calls ...")
            called(url, names[-2:])  # the token, the connections
            rows.append(row(result, "nothing else is at work", "alone", called(url, names[:calls])))
            with Contestant("open runs", stand.python, GROWTH, running.environment(), bench.logs) as one:
                one.act("fill", "submitted", opens)
            bench.say(f"webhook: {calls} calls while the timer ticks over {opens:,} open runs ...")
            with ticking(host, url) as ticks:
                took = called(url, names[calls : 2 * calls])
            told = f"ticks over {opens:,} open runs, one after the other"
            rows.append(row(result, told, "ticking", took))
            result.figures["ticks"] = ticks[-1] - ticks[0]
    columns = ("meanwhile", "half", "90 %", "99 %", "longest")
    note = f"{ticks[-1] - ticks[0]} ticks were at work during the second row."
    title = f"{calls} calls of the webhook, ms from request to answer: row written, run submitted"
    result.tables.append(Table(title, columns, rows, (note,)))
    return result


def called(url: str, names: list[str]) -> list[float]:
    """Announce blobs one after the other; return how long each answer took, in seconds."""
    took = []
    with requests.Session() as session:
        for name in names:
            begun = time.perf_counter()
            answer = session.post(
                f"{url}/api/retrain", json={"datastore": "training", "path": name}, timeout=PATIENCE_S
            )
            took.append(time.perf_counter() - begun)
            answer.raise_for_status()
            state = answer.json()["state"]
            if state != "submitted":
                raise requests.RequestException(f"{name} is {state}, not submitted", response=answer)
    return took


def row(result: Result, told: str, key: str, took: list[float]) -> tuple[str, ...]:
    """Return the row about answers."""
    found = percentiles(took)
    result.figures |= {f"{key}.{what}_ms": value * 1000 for what, value in found.items()}
    return (told, *(f"{value * 1000:,.0f}" for value in found.values()))


@contextmanager
def ticking(host: Child, url: str) -> Iterator[list[int]]:
    """Let the timer's function run again and again; yield how many have ended, before the first and after each.

    What goes wrong with a tick is raised at the end: calls with none at work would be measured as calls with some.
    """
    over, ticks = threading.Event(), [ended(host)]

    def again() -> None:
        while not over.is_set():
            requests.post(f"{url}/admin/functions/tick", json={}, timeout=PATIENCE_S).raise_for_status()
            host.wait_until(lambda: ended(host) > ticks[-1], PATIENCE_S)
            ticks.append(ended(host))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(again)
        try:
            yield ticks
        finally:
            over.set()
        done.result()


def ended(host: Child) -> int:
    """Return how many ticks have ended."""
    return host.log.read_text(errors="replace").count(TICKED)
