"""Cold start: fresh processes up to functions indexed, and up to the first arrival submitted, beside the other apps.

Each figure is of a whole process, from its start to its end, so that nothing is left out. Never measures the platform's
own part: allocating an instance, its host, mounting the package.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from local.bench import environments as who
from local.bench.contestant import blob, clean, word
from local.bench.environments import Stand
from local.bench.measure import Bench, Result, Table, ratios, sample
from local.bench.package import pack, size
from local.bench.servers import Servers, servers
from local.process import ChildFailedError

PROBE = Path(__file__).parent / "probes" / "index.py"
# Up to the import's end: taking a process down costs a quarter of it, and is no part of a start.
END = "import os; os._exit(0)"
BASE = f"import azure.functions, azure.storage.blob, azure.identity, requests; {END}"
APP = f"import function_app; {END}"
WITHOUT = "this app, nothing of its own compiled"
# The settings that the app reads while it is imported: nothing is asked at any of these addresses.
SETTINGS = {
    "TrainingStorage": "UseDevelopmentStorage=true",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "TRAINING_CONTAINER": "training-data",
    "INCOME_ENDPOINT_URL": "https://example.invalid/pipelines/v1.0/subscriptions/s/resourceGroups/g/providers"
    "/Microsoft.MachineLearningServices/workspaces/w/PipelineRuns/PipelineEndpointSubmit/Id/e",
}
WATCHED = (
    "azurefunctions.extensions.bindings.blob",
    "azure.storage.blob",
    "azure.functions",
    "azure.identity",
    "azure.data.tables",
    "cryptography",
    "requests",
    "msgspec",
    "re2",
    "opentelemetry",
    "stamina",
    "standardwebhooks",
    "jinja2",
    "shared",
    "functions",
)


class Took(NamedTuple):
    """Of a process, from start to end."""

    wall_s: float
    cpu_s: float


def run(bench: Bench) -> Result:
    """Take the measure."""
    result = Result()
    stands, worker = who.stands(bench, result.missing), who.worker_packages()
    ours = stands[who.OURS]
    packed = {
        who.OURS: pack(bench.logs / "package-compiled", compiled=True),
        WITHOUT: pack(bench.logs / "package", compiled=False),
    }
    imports(bench, result, ours, packed)
    indexed(bench, result, stands, packed, worker)
    first_arrival(bench, result, stands, packed, worker)
    costs(bench, result, ours, packed[who.OURS])
    sizes(result, stands, packed[WITHOUT])
    return result


def imports(bench: Bench, result: Result, ours: Stand, packed: Mapping[str, Path]) -> None:
    """A fresh interpreter that imports `function_app`, against one that imports the four base packages."""
    rounds = bench.of(20, 3)
    bench.say(f"cold start: imports, {rounds} rounds ...")
    python = str(ours.python)
    nothing, base = "python alone", "four base packages"
    commands = {
        nothing: ([python, "-c", END], ours.app, {}),
        base: ([python, "-c", BASE], bench.logs, {}),
        who.OURS: ([python, "-c", APP], packed[who.OURS], {}),
        WITHOUT: ([python, "-c", APP], packed[WITHOUT], {"PYTHONDONTWRITEBYTECODE": "1"}),
    }
    taken = in_turns(
        rounds, {name: (words, folder, {**SETTINGS, **more}) for name, (words, folder, more) in commands.items()}
    )
    rows = []
    against = {WITHOUT: base, who.OURS: base}
    for name, times in taken.items():
        other = against.get(name)
        told = ratios(walls(times), walls(taken[other])).told(digits=2) if other else ""
        cpu = ratios(cpus(times), cpus(taken[other])).told(digits=2) if other else ""
        rows.append((name, sample(walls(times)).told(1000, 0), sample(cpus(times)).told(1000, 0), told, cpu))
    for name, key in ((who.OURS, "compiled"), (WITHOUT, "source")):
        result.figures[f"import_against_base.{key}"] = ratios(walls(taken[name]), walls(taken[base])).median
        result.figures[f"import_cpu_against_base.{key}"] = ratios(cpus(taken[name]), cpus(taken[base])).median
        net = [sample(walls(taken[one])).median - sample(walls(taken[nothing])).median for one in (name, base)]
        result.figures[f"import_net_against_base.{key}"] = net[0] / net[1]
        result.figures[f"import_ms.{key}"] = sample(walls(taken[name])).median * 1000
    columns = ("", "wall ms", "CPU ms", "against base, wall", "against base, CPU")
    result.tables.append(
        Table(
            f"Import in a fresh process, median of {rounds} (quartiles)",
            columns,
            rows,
            (
                "Up to the import's end. Python's own start is in each figure, and so in the ratios; taken off, this "
                f"app is {result.figures['import_net_against_base.compiled']:.2f} times the base packages, with "
                f"sources only {result.figures['import_net_against_base.source']:.2f} times.",
            ),
        )
    )


def indexed(
    bench: Bench, result: Result, stands: Mapping[str, Stand], packed: Mapping[str, Path], worker: Path
) -> None:
    """The worker library to functions indexed."""
    rounds = bench.of(15, 2)
    bench.say(f"cold start: functions indexed, {rounds} rounds ...")
    commands = {
        name: ([str(stand.python), str(PROBE), str(packed.get(name, stand.app)), str(worker)], bench.logs, SETTINGS)
        for name, stand in stands.items()
    }
    taken = in_turns(rounds, commands)
    result.tables.append(compared(f"Worker library to functions indexed, median of {rounds} (quartiles)", taken))
    figures(result, "indexed", taken)


def first_arrival(
    bench: Bench, result: Result, stands: Mapping[str, Stand], packed: Mapping[str, Path], worker: Path
) -> None:
    """The same, and the first arrival submitted."""
    rounds = bench.of(15, 2)
    bench.say(f"cold start: first arrival submitted, {rounds} rounds ...")
    taken: dict[str, list[Took]] = {name: [] for name in stands}
    with servers(bench.logs) as running:
        running.upload([blob(name, number) for name in stands for number in range(rounds + 1)])
        commands = {name: arriving(name, stand, packed, worker, running) for name, stand in stands.items()}
        for name, (command, environment) in commands.items():  # the very first one makes the ledger's table
            once([*command, blob(name, rounds)], bench.logs, environment)
        for number in range(rounds):
            for name in turned(list(stands), number):
                command, environment = commands[name]
                taken[name].append(once([*command, blob(name, number)], bench.logs, environment))
    result.tables.append(
        compared(f"Worker library to the first arrival submitted, median of {rounds} (quartiles)", taken)
    )
    figures(result, "submitted", taken)


def arriving(
    name: str, stand: Stand, packed: Mapping[str, Path], worker: Path, running: Servers
) -> tuple[list[str], dict[str, str]]:
    """Return the command without the blob, and its environment."""
    place = running.tls if name == who.AI_ML else running.plain
    command = [str(stand.python), str(PROBE), str(packed.get(name, stand.app)), str(worker)]
    return command, running.environment(place)


def compared(title: str, taken: Mapping[str, list[Took]]) -> Table:
    """Return a table: each app, and what ours is of it."""
    rows = []
    for name, times in taken.items():
        others = () if name == who.OURS else (ratios(walls(taken[who.OURS]), walls(times)).told(digits=2),)
        cpu = () if name == who.OURS else (ratios(cpus(taken[who.OURS]), cpus(times)).told(digits=2),)
        said = (*others, *cpu) or ("", "")
        rows.append((name, sample(walls(times)).told(1000, 0), sample(cpus(times)).told(1000, 0), *said))
    return Table(title, ("", "wall ms", "CPU ms", "ours / it, wall", "ours / it, CPU"), rows)


def figures(result: Result, what: str, taken: Mapping[str, list[Took]]) -> None:
    """Add the figures of a table."""
    for name, times in taken.items():
        key = word(name)
        result.figures[f"{what}_ms.{key}"] = sample(walls(times)).median * 1000
        result.figures[f"{what}_against.{key}"] = ratios(walls(taken[who.OURS]), walls(times)).median


def costs(bench: Bench, result: Result, ours: Stand, packed: Path) -> None:
    """What each top import costs, by Python's own account of it."""
    rounds = bench.of(9, 2)
    bench.say(f"cold start: what each import costs, {rounds} rounds ...")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WATCHED}
    for _ in range(rounds):
        done = subprocess.run(
            [str(ours.python), "-X", "importtime", "-c", APP],
            cwd=packed,
            env=clean(SETTINGS),
            capture_output=True,
            text=True,
            check=True,
        )
        for name, cost in spent(done.stderr).items():
            found[name].append(cost)
    rows = []
    for name, all_costs in found.items():
        if not all_costs:
            rows.append((name, "not imported", ""))
            continue
        whole, own = (sample([one[index] for one in all_costs]) for index in (0, 1))
        rows.append((name, whole.told(digits=0), own.told(digits=0)))
        result.figures[f"import_cost_ms.{name}"] = whole.median
    columns = ("package", "ms when it is imported first, with what it brings", "ms of its own modules")
    result.tables.append(
        Table(
            f"What imports cost, median of {rounds} (quartiles)",
            columns,
            rows,
            ("Python's account of imports makes them slower; whoever imports a shared part first pays for it.",),
        )
    )


def spent(report: str) -> dict[str, tuple[float, float]]:
    """Read the report of -X importtime: for each watched package the ms of its first import, and of its own modules."""
    whole, own = dict[str, float](), dict[str, float]()
    for line in report.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if not line.startswith("import time:") or not fields[0].strip().isdecimal():
            continue
        module, alone, together = fields[2].strip(), int(fields[0]) / 1000, int(fields[1]) / 1000
        for name in WATCHED:
            if module == name or module.startswith(f"{name}."):
                own[name] = own.get(name, 0) + alone
                # A package's own line has those of its parts in it; of parts that stand alone, the longest.
                whole[name] = together if module == name else max(whole.get(name, 0), together)
    return {name: (max(whole[name], own[name]), own[name]) for name in whole}


def sizes(result: Result, stands: Mapping[str, Stand], packed: Path) -> None:
    """How much is deployed: the app and its packages."""
    rows = []
    for name, stand in stands.items():
        app = size(packed if name == who.OURS else stand.app)
        packages = size(stand.packages)
        rows.append((name, f"{app.mb:.2f}", f"{app.files}", f"{packages.mb:.0f}", f"{packages.files:,}"))
        key = word(name)
        result.figures |= {f"packages_mb.{key}": packages.mb, f"packages_files.{key}": packages.files}
        result.figures |= {f"app_mb.{key}": app.mb, f"app_files.{key}": app.files}
    columns = ("", "app MB", "app files", "packages MB", "packages files")
    note = (
        "Without compiled modules; the worker library is the platform's, and in this app's packages since it is pinned."
    )
    result.tables.append(Table("What is deployed", columns, rows, (note,)))


def in_turns(
    rounds: int, commands: Mapping[str, tuple[Sequence[str], Path, Mapping[str, str]]]
) -> dict[str, list[Took]]:
    """Run each command in each round, another one first each time; one round before is not counted."""
    taken: dict[str, list[Took]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name in turned(list(commands), number):
            took = once(*commands[name])
            if number:
                taken[name].append(took)
    return taken


def turned(names: list[str], by: int) -> list[str]:
    """Return names with another one first."""
    shift = by % len(names)
    return [*names[shift:], *names[:shift]]


def once(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Took:
    """Run a process to its end. Raises ChildFailedError."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=clean(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        told = process.stderr.read()
        if sys.platform == "win32":
            process.wait()
            cpu = float("nan")
        else:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu = usage.ru_utime + usage.ru_stime
        wall = time.perf_counter() - begun
    if process.returncode:
        raise ChildFailedError(f"{' '.join(command)} ended with {process.returncode}: {told.decode()[-3000:]}")
    return Took(wall, cpu)


def walls(times: Sequence[Took]) -> list[float]:
    """Return the times by the clock."""
    return [one.wall_s for one in times]


def cpus(times: Sequence[Took]) -> list[float]:
    """Return the times of the processor."""
    return [one.cpu_s for one in times]
