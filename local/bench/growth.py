"""What grows when there is more of something: rows, rules, open runs, what waits, blobs. Requests are counted.

Time that the emulator needs for more rows is told apart by signed requests to the same table, which do nothing else.
Never fills storage through the emulator's API where that would take longer than the measure: see `stock`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from local.bench import environments as who
from local.bench import stock
from local.bench.contestant import Contestant, blob, in_turns
from local.bench.environments import SOURCES
from local.bench.measure import Bench, Result, Sample, Table, sample
from local.bench.servers import Servers, control, servers

TABLE, RULE = "retrains", "income-files"  # as shipped
GROWTH = SOURCES / "retrain_trigger" / "growth.py"
RAW = SOURCES / "raw" / "arrival.py"
SLOW_S = 0.2


def of_rows(bench: Bench) -> Result:
    """Take the measure with more and more rows."""
    result = Result()
    rows(bench, result, who.stands(bench, result.missing, who.OURS)[who.OURS])
    return result


def run(bench: Bench) -> Result:
    """Take the measure with more and more rules, and open runs."""
    result = Result()
    stand = who.stands(bench, result.missing, who.OURS)[who.OURS]
    rules(bench, result, stand)
    ticks(bench, result, stand)
    return result


def of_blobs(bench: Bench) -> Result:
    """Take the measure with many blobs in the container."""
    result = Result()
    blobs(bench, result, who.stands(bench, result.missing, who.OURS)[who.OURS])
    return result


def rows(bench: Bench, result: Result, stand: who.Stand) -> None:
    """An arrival, the open work and a page of the history, with more and more ended entries."""
    sizes = [100, 1_000] if bench.quick else [100, 10_000, 100_000]
    rounds = bench.of(75, 4)
    bench.say(f"growth: {', '.join(f'{size:,}' for size in sizes)} rows, {rounds} rounds ...")
    with contextlib.ExitStack() as stack:
        many, raw, places = list[Contestant](), list[Contestant](), dict[str, Servers]()
        for size in sizes:
            running = stack.enter_context(used(bench, stand, size))
            environment = {**running.environment(), "RAW_TABLE": TABLE, "RAW_PARTITION": RULE, "RAW_FRESH": "1"}
            ours = Contestant(f"{size:,} rows", stand.python, GROWTH, environment, bench.logs)
            floor = Contestant(f"{size:,} rows, raw", stand.python, RAW, environment, bench.logs)
            many.append(stack.enter_context(ours))
            raw.append(stack.enter_context(floor))
            running.upload([blob(one.name, number) for one in (ours, floor) for number in range(rounds)])
            places[ours.name] = running

        def words(one: Contestant, number: int) -> tuple[str, ...]:
            return (blob(one.name, number),) if one in raw else ("arrival", blob(one.name, number))

        arrived = in_turns([*many, *raw], rounds, words)
        opened = in_turns(many, rounds, lambda _one, _number: ("open_work",))
        paged = in_turns(many, rounds, lambda _one, _number: ("history",))
        counted = {name: requests_of(place, many[at], "history") for at, (name, place) in enumerate(places.items())}
    table = list[tuple[str, ...]]()
    for size, one, floor in zip(sizes, many, raw, strict=True):
        said = [told(arrived[one.name]), told(arrived[floor.name])]
        said += [told(opened[one.name]), told(paged[one.name]), str(counted[one.name])]
        table.append((f"{size:,}", *said))
        for what, turns in (("arrival", arrived), ("open", opened), ("history", paged)):
            result.figures[f"rows.{what}_cpu_ms.{size}"] = took(turns[one.name], "cpu_s").median * 1000
            result.figures[f"rows.{what}_wall_ms.{size}"] = took(turns[one.name], "wall_s").median * 1000
        result.figures[f"rows.raw_wall_ms.{size}"] = took(arrived[floor.name], "wall_s").median * 1000
        result.figures[f"rows.raw_cpu_ms.{size}"] = took(arrived[floor.name], "cpu_s").median * 1000
        result.figures[f"rows.history_requests.{size}"] = counted[one.name]
    columns = ("ended rows", "arrival: wall ms, CPU ms", "raw: the same", "open work", "history page", "requests of it")
    figures = result.figures
    for what in ("cpu", "wall"):
        grown, beside = (
            figures[f"rows.{name}_{what}_ms.{sizes[-1]}"] / figures[f"rows.{name}_{what}_ms.{sizes[0]}"]
            for name in ("arrival", "raw")
        )
        figures |= {f"rows.arrival_{what}_growth": grown, f"rows.arrival_{what}_growth_net": grown / beside}
    cpu, wall, cpu_net, wall_net = (
        f"{figures[f'rows.arrival_{what}_growth{net}']:.2f}" for net in ("", "_net") for what in ("cpu", "wall")
    )
    note = (
        f"With {sizes[-1]:,} rows an arrival takes {cpu} times the CPU and {wall} times the wall time of one with "
        f"{sizes[0]:,}. Raw requests into the same partition grow with the emulator, too: divided by that, it is "
        f"{cpu_net} and {wall_net} times."
    )
    result.tables.append(Table(f"With more rows, median of {rounds} (quartiles)", columns, table, (note,)))


@contextlib.contextmanager
def used(bench: Bench, stand: who.Stand, count: int) -> Iterator[Servers]:
    """Run servers whose ledger has so many ended entries."""
    logs = bench.logs / f"rows-{count}"
    logs.mkdir()
    keep = logs / "storage"
    with servers(logs, keep=keep) as running:
        running.upload(["income/first.csv"])
        with Contestant("first", stand.python, GROWTH, running.environment(), logs) as first:
            first.act("arrival", "income/first.csv")
        stock.wait_until_kept()
    stock.multiply(keep, stock.history(TABLE, count))
    with servers(logs, keep=keep, counting=True) as running:
        yield running


def rules(bench: Bench, result: Result, stand: who.Stand) -> None:
    """`match()` with more and more rules; log lines of a blob that none takes."""
    table = list[tuple[str, ...]]()
    bench.say("growth: rules ...")
    with servers(bench.logs) as running:
        running.upload(["elsewhere/a.txt"])
        with Contestant("rules", stand.python, GROWTH, running.environment(), bench.logs) as one:
            for count in (1, 10, 100, 1_000):
                one.act("rules", count)
                times = max(2_000 // count, 5)
                one.act("matched", times)
                turns = [one.act("matched", times) for _ in range(bench.of(15, 2))]
                cost = sample([turn["cpu_s"] / times for turn in turns])
                lines = one.act("lines_of_a_skip", "elsewhere/a.txt")["told"]
                table.append((f"{count:,}", cost.told(1e6), str(lines)))
                result.figures |= {f"match_us.{count}": cost.median * 1e6, f"skip_lines.{count}": lines}
    columns = ("rules", "match(), microseconds of CPU", "log lines of a blob that none takes")
    result.tables.append(Table("With more rules", columns, table))


def ticks(bench: Bench, result: Result, stand: who.Stand) -> None:
    """A tick with more and more open runs, none of them new; with a slow endpoint; with a full rule's queue."""
    table = list[tuple[str, ...]]()
    rounds = bench.of(9, 2)
    opens = [0, 50] if bench.quick else [0, 1_000, 10_000]
    with (
        servers(bench.logs, counting=True) as running,
        Contestant("open runs", stand.python, GROWTH, running.environment(), bench.logs) as one,
    ):
        there = 0
        for count in opens:
            bench.say(f"growth: ticks with {count:,} open runs ...")
            one.act("fill", "submitted", count - there)
            there = count
            row(result, table, f"{count:,} open runs", f"open_{count}", *ticked(running, one, rounds))
            if count == opens[1]:
                slow = {"on": "list", "kind": "delay", "delay_s": SLOW_S, "times": rounds + 2}
                control(running.plain, "faults", [slow])
                name = f"{count:,} open runs, the endpoint answers after {SLOW_S * 1000:.0f} ms"
                row(result, table, name, f"open_{count}_slow", *ticked(running, one, rounds))
    waits = bench.of(2_000, 100)
    with servers(bench.logs, counting=True) as running:
        running.upload(["income/active.csv"])
        with Contestant("queue", stand.python, GROWTH, running.environment(), bench.logs) as one:
            bench.say(f"growth: ticks with {waits:,} that wait ...")
            one.act("limited", 1)
            one.act("arrival", "income/active.csv")
            one.act("fill", "queued", waits)
            row(result, table, f"{waits:,} wait, the rule is full", "queued", *ticked(running, one, rounds))
    columns = ("tick with", "wall ms", "CPU ms", "requests", "which")
    result.tables.append(Table(f"The timer's tick when nothing is new, median of {rounds} (quartiles)", columns, table))


def ticked(running: Servers, one: Contestant, rounds: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Let it tick: what is found out once is found out before; return what the ticks took, and one's requests."""
    one.act("one_tick", 0)
    with running.counted() as counted:  # the first: later on runs are looked at less often
        one.act("one_tick", 1)
    turns = [one.act("one_tick", 1) for _ in range(rounds)]
    return turns, dict(counted)


def row(
    result: Result,
    table: list[tuple[str, ...]],
    name: str,
    key: str,
    turns: list[dict[str, Any]],
    requests: dict[str, int],
) -> None:
    """Add a row about ticks."""
    wall, cpu = took(turns, "wall_s"), took(turns, "cpu_s")
    which = ", ".join(f"{count} {what}" for what, count in sorted(requests.items()))
    table.append((name, wall.told(1000), cpu.told(1000), str(sum(requests.values())), which))
    result.figures |= {f"tick.{key}.wall_ms": wall.median * 1000, f"tick.{key}.cpu_ms": cpu.median * 1000}
    result.figures[f"tick.{key}.requests"] = sum(requests.values())
    result.figures |= {f"tick.{key}.requests.{what}": count for what, count in requests.items()}


def blobs(bench: Bench, result: Result, stand: who.Stand) -> None:
    """A day of ticks with many blobs in the container, none of them new, against an empty one."""
    count, before, hours = bench.of(100_000, 1_000), bench.of(8, 1), bench.of(24, 1)
    bench.say(f"growth: {hours} hours of ticks with {count:,} blobs ...")
    table = list[tuple[str, ...]]()
    for name, blobs_there in (("empty", 0), (f"{count:,} blobs", count)):
        logs = bench.logs / f"blobs-{blobs_there}"
        logs.mkdir()
        with servers(logs, keep=logs / "storage") as running:
            running.upload(["income/first.csv"])
            stock.wait_until_kept()
        if blobs_there:
            stock.multiply(logs / "storage", stock.blobs(blobs_there, lambda number: f"income/us/{number:06d}.csv"))
        with (
            servers(logs, keep=logs / "storage", counting=True) as running,
            Contestant(name, stand.python, GROWTH, running.environment(), logs) as one,
        ):
            one.act("hours", before)
            with running.counted() as found:
                took_ = one.act("hours", hours)
        requests = found.total()
        said = (
            f"{took_['wall_s']:.2f}",
            f"{took_['cpu_s']:.2f}",
            f"{took_['peak_mb']:.0f}",
            str(requests),
            str(found["blob list"]),
        )
        table.append((name, *said))
        key = "many" if blobs_there else "none"
        result.figures |= {
            f"ticks.{key}.wall_s": took_["wall_s"],
            f"ticks.{key}.cpu_s": took_["cpu_s"],
            f"ticks.{key}.peak_mb": took_["peak_mb"],
            f"ticks.{key}.requests": requests,
            **{f"ticks.{key}.requests.{what}": number for what, number in found.items()},
        }
    result.figures["ticks.cpu_growth"] = result.figures["ticks.many.cpu_s"] / result.figures["ticks.none.cpu_s"]
    columns = ("container", "wall s", "CPU s", "peak MB", "requests", "of these listings")
    note = (
        f"The clock is moved on a minute for each tick; {before} hours have gone before. "
        f"{result.figures['ticks.cpu_growth']:.2f} times the CPU of an empty container."
    )
    result.tables.append(Table(f"{hours} hours of ticks", columns, table, (note,)))


def took(turns: list[dict[str, Any]], what: str) -> Sample:
    """Return what turns took."""
    return sample([turn[what] for turn in turns])


def told(turns: list[dict[str, Any]]) -> str:
    """Return wall and CPU of turns, in ms."""
    return f"{took(turns, 'wall_s').told(1000)}, {took(turns, 'cpu_s').told(1000)}"


def requests_of(running: Servers, one: Contestant, *words: str) -> int:
    """Return how many requests one turn comes to."""
    with running.counted() as found:
        one.act(*words)
    return found.total()
