"""What it would cost: arithmetic at list prices (`prices`), from requests and executions that are counted here.

The others are their documentation's simplest way to the same start, none of which claims an arrival or follows a run.
Never counts what the platform itself does: its queues, leases, logs, the files of the package.
"""

from collections.abc import Mapping
from typing import NamedTuple

import requests

from local.bench import environments as who
from local.bench import prices
from local.bench.contestant import Contestant
from local.bench.growth import GROWTH
from local.bench.measure import Bench, Result, Table
from local.bench.prices import LEAST_S, PAGE, Price
from local.bench.servers import Servers, servers

MEMORY_GB = 2.0  # infra/ takes instances of 2,048 MB
MINUTES = 60 * 730  # of a month
POLLS = MINUTES / 5
BLOBS = 100_000  # in the container that is polled
RUN_HOURS = 1.0
"""How long a run takes: Data Factory's activity waits for it."""
STORAGE: Mapping[str, Price] = {
    "table": prices.TABLE,
    "queue": prices.QUEUE,
    "blob read": prices.BLOB_READ,
    "blob write": prices.BLOB_LIST,
    "blob list": prices.BLOB_LIST,
}


class Bill(NamedTuple):
    """What is used in one way: how much of what."""

    of: str
    lines: list[tuple[Price, float]]

    @property
    def usd(self) -> float:
        """What it costs."""
        return sum(price.of(count) for price, count in self.lines)

    def told(self) -> str:
        """Return its lines."""
        return "; ".join(f"{count:,.0f} {price.unit}" for price, count in self.lines if count)


def run(bench: Bench) -> Result:
    """Count, and compute."""
    result = Result()
    arrival, tick = counted(bench, result)
    executions = [(prices.EXECUTIONS, 1_000), (prices.MEMORY, 1_000 * LEAST_S * MEMORY_GB)]
    pages = BLOBS / PAGE
    ours = Bill("this app", [*executions, (prices.EVENTS, 2_000), *bill(arrival, 1_000)])
    ticks = [(prices.EXECUTIONS, MINUTES), (prices.MEMORY, MINUTES * LEAST_S * MEMORY_GB)]
    idle = Bill("this app", [*ticks, *bill(tick, MINUTES)])
    polling = [(prices.EXECUTIONS, POLLS), (prices.MEMORY, POLLS * LEAST_S * MEMORY_GB)]
    thousand = {
        "this app": ours,
        "a function that polls each five minutes": Bill("", [(prices.BLOB_READ, 1_000)]),
        "a Logic App": Bill("", [(prices.CONNECTOR, 1_000), (prices.ACTION, 1_000)]),
        "Data Factory": Bill(
            "", [(prices.ORCHESTRATION, 2_000), (prices.EXTERNAL, 1_000 * RUN_HOURS), (prices.EVENTS, 2_000)]
        ),
    }
    month = {
        "this app": idle,
        "a function that polls each five minutes": Bill("", [*polling, (prices.BLOB_LIST, POLLS * pages)]),
        "a Logic App": Bill("", [(prices.CONNECTOR, POLLS)]),
        "Data Factory": Bill("", []),
    }
    rows = []
    for name, one in thousand.items():
        rows.append((name, f"{one.usd:,.4f}", one.told(), f"{month[name].usd:,.2f}", month[name].told() or "nothing"))
        key = name.replace(" ", "_")
        result.figures |= {f"usd_thousand.{key}": one.usd, f"usd_idle_month.{key}": month[name].usd}
    columns = ("", "a thousand arrivals, USD", "for", "an idle month, USD", "for")
    notes = (
        f"List prices of {prices.AS_OF}, East US, without what is free; they vary by region and contract.",
        f"Free each month and subscription, and so often the whole bill of this app: {free()}.",
        f"An execution is billed for at least {LEAST_S:.0f} s of an instance of {MEMORY_GB:.0f} GB; several at once on "
        "one instance are billed once, so this is the most.",
        f"Polling and Logic App look each five minutes; the container that the function lists has {BLOBS:,} blobs. An "
        f"arrival waits two and a half minutes on average. Data Factory waits for the run, {RUN_HOURS:.0f} h.",
    )
    result.tables.append(Table("What it costs", columns, rows, notes))
    price_rows = [
        (one.unit, f"{one.usd:g}", f"{one.per:,}", f"{one.free:,.0f}" if one.free else "", one.source)
        for one in prices.ALL
    ]
    result.tables.append(Table("The prices", ("of", "USD", "for", "free a month", "where to look"), price_rows))
    return result


def free() -> str:
    """Return what is free."""
    return ", ".join(f"{one.free:,.0f} {one.unit}" for one in prices.ALL if one.free)


def bill(found: Mapping[str, float], times: float) -> list[tuple[Price, float]]:
    """Return the storage lines of requests."""
    return [(STORAGE[what], count * times) for what, count in found.items() if what in STORAGE and count]


def counted(bench: Bench, result: Result) -> tuple[dict[str, float], dict[str, float]]:
    """Return what an arrival comes to, up to the end of its run, and what an idle tick comes to."""
    many = bench.of(50, 5)
    bench.say(f"money: requests of {many} arrivals, their runs, and an hour of idle ticks ...")
    stand = who.stands(bench, result.missing, who.OURS)[who.OURS]
    with servers(bench.logs, counting=True) as running:
        running.upload([f"income/{many}.csv"])
        with Contestant("money", stand.python, GROWTH, running.environment(), bench.logs) as one:
            one.act("arrival", f"income/{many}.csv")
            for status in ("Running", "Finished"):
                turn(running, status)
                one.act("one_tick", 1)
            with running.counted() as idle:
                one.act("hours", 1)
            running.upload([f"income/{number}.csv" for number in range(many)])  # not before: the search would find them
            with running.counted() as busy:
                for number in range(many):
                    one.act("arrival", f"income/{number}.csv")
                for status in ("Running", "Finished"):
                    turn(running, status)
                    one.act("one_tick", 1)
    tick = {what: count / 60 for what, count in idle.items()}
    # Of the two ticks only what the arrivals added.
    arrival = {what: max(count - 2 * tick.get(what, 0), 0) / many for what, count in busy.items()}
    for name, found in (("arrival", arrival), ("tick", tick)):
        result.figures |= {f"{name}_requests.{what}": count for what, count in found.items()}
    rows = [
        (name, f"{sum(found.values()):.1f}", ", ".join(f"{count:.2f} {what}" for what, count in sorted(found.items())))
        for name, found in (("an arrival, up to the end of its run", arrival), ("an idle tick", tick))
    ]
    result.tables.append(Table("Requests, counted at the servers", ("of", "in all", "which"), rows))
    return arrival, tick


def turn(running: Servers, status: str) -> None:
    """Bring all runs that are held to a status."""
    for one in running.plain.control("runs"):
        if one["status"] not in ("Finished", status):
            url = f"{running.plain.url}/_control/runs/{one['run_id']}/status"
            requests.post(url, json={"status": status}, timeout=30).raise_for_status()
