"""One warm arrival: wall, CPU and round trips, beside its four calls through the SDKs, by hand, and the SDK-based apps.

Round trips are counted at the servers, in a run of their own: a log of requests takes time. Never asserts anything.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from local.bench import environments as who
from local.bench.contestant import Contestant, blob, in_turns, word
from local.bench.environments import SOURCES
from local.bench.measure import Bench, Result, Table, ratios, sample
from local.bench.servers import Servers, servers

WARM_UP = 5
DUPLICATE = "this app, a duplicate"
OWN = {  # what runs with the app's own packages
    who.OURS: SOURCES / "retrain_trigger" / "arrival.py",
    who.SHORTEST: SOURCES / "shortest" / "arrival.py",
    who.RAW: SOURCES / "raw" / "arrival.py",
}


def run(bench: Bench) -> Result:
    """Take the measure."""
    result, rounds = Result(), bench.of(300, 6)
    stands = who.stands(bench, result.missing)
    bench.say(f"one arrival: {rounds} rounds of {len(stands) + 2} that take turns ...")
    with servers(bench.logs) as running, contestants(bench.logs, running, stands) as many:
        names = [blob(one.name, number) for one in many for number in range(rounds + WARM_UP)]
        running.upload(names)
        in_turns(many, WARM_UP, lambda one, number: (blob(one.name, number),))
        taken = in_turns(many, rounds, lambda one, number: (blob(one.name, number + WARM_UP),))
    trips = round_trips(bench, stands)
    rows = []
    for name, turns in taken.items():
        wall, cpu = [turn["wall_s"] for turn in turns], [turn["cpu_s"] for turn in turns]
        ours = [[turn[what] for turn in taken[who.OURS]] for what in ("wall_s", "cpu_s")]
        against = ratios(ours[0], wall), ratios(ours[1], cpu)
        said = ("", "") if name == who.OURS else tuple(one.told(digits=2) for one in against)
        rows.append((name, sample(wall).told(1000), sample(cpu).told(1000), *said, *told(trips[name])))
        key = word(name)
        result.figures |= {f"wall_ms.{key}": sample(wall).median * 1000, f"cpu_ms.{key}": sample(cpu).median * 1000}
        result.figures |= {f"wall_against.{key}": against[0].median, f"cpu_against.{key}": against[1].median}
        result.figures[f"round_trips.{key}"] = trips[name].total()
    result.figures["round_trips.duplicate"] = trips[DUPLICATE].total()
    rows.append((DUPLICATE, "", "", "", "", *told(trips[DUPLICATE])))
    columns = ("", "wall ms", "CPU ms", "ours / it, wall", "ours / it, CPU", "round trips", "which")
    result.tables.append(
        Table(f"One warm arrival, median of {rounds} (quartiles)", columns, rows, notes=("CPU is of the client only.",))
    )
    return result


def told(found: Counter[str]) -> tuple[str, str]:
    """Return how many round trips, and which."""
    return str(found.total()), ", ".join(f"{count} {what}" for what, count in sorted(found.items()))


@contextlib.contextmanager
def contestants(logs: Path, running: Servers, stands: dict[str, who.Stand]) -> Iterator[list[Contestant]]:
    """Run all that can be run here; azure-ai-ml talks to the workspace over TLS."""
    with contextlib.ExitStack() as stack:
        many = []
        ours = stands[who.OURS].python
        for name, source in OWN.items():
            many.append(stack.enter_context(Contestant(name, ours, source, running.environment(), logs)))
        for name, stand in stands.items():
            if name == who.OURS:
                continue
            environment = running.environment(running.tls if name == who.AI_ML else running.plain)
            many.append(
                stack.enter_context(Contestant(name, stand.python, stand.app / "arrival.py", environment, logs))
            )
        yield many


def round_trips(bench: Bench, stands: dict[str, who.Stand]) -> dict[str, Counter[str]]:
    """Return what one warm arrival of each comes to at the servers, and a second delivery of one of ours."""
    found = dict[str, Counter[str]]()
    with servers(bench.logs, counting=True) as running, contestants(bench.logs, running, stands) as many:
        for one in many:
            running.upload([blob(one.name, 0), blob(one.name, 1)])
            one.act(blob(one.name, 0))
            with running.counted() as found[one.name]:
                one.act(blob(one.name, 1))
        source = SOURCES / "retrain_trigger" / "duplicate.py"
        ours = Contestant(DUPLICATE, stands[who.OURS].python, source, running.environment(), bench.logs)
        with ours:
            ours.act(blob(who.OURS, 0))
            with running.counted() as found[DUPLICATE]:
                ours.act(blob(who.OURS, 1))
    return found
