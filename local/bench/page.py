"""docs/benchmarks.md, made from what one run found. Never edited by hand: its words are here, and in `goals`."""

from collections.abc import Iterable, Mapping

from local.bench.goals import Verdict
from local.bench.measure import Result, Table

HEAD = """# Benchmarks

Made by `./retrain bench --page docs/benchmarks.md`; do not edit it by hand. Each ratio is of processes that took turns
in one run on one machine, each figure a median with its quartiles; figures of two runs or machines say nothing about
each other. Storage is Azurite, the workspace is the stand-in, both on loopback: what they take is in wall times, and a
network would add the same to each round trip. Requests are counted at the servers.

To repeat it: `./retrain bench` (half an hour; `--only cold` one measure, `--quick` as
few turns as show that it works, `--json` for programs). Environments for the apps that are compared are made on the
way: their packages are pinned in [benchmarks/](../benchmarks). azureml-pipeline-core needs a Python 3.11 on PATH.

The apps that are compared have the same two triggers and are written as their packages' documentation does it. None of
them claims an arrival, follows a run or knows a rule: what is delivered twice starts twice there.
"""

CHANGED = """## What the measurements have changed, and what not

* Transactions of the ledger are put together and read without the SDK's mail parser and threads
  ([transactions.py](../shared/storage/transactions.py)). `shortest` has the SDK's own: that an arrival with rules,
  states and a log takes less than that is owed to it.
* Listings are read without the SDK's models of whole properties ([listing.py](../shared/storage/listing.py)): a tenth
  of the CPU, for the search and for large folders. And the search rests longer while nothing is missed
  ([reliability.md](reliability.md)).
* While modules are loaded nobody looks for garbage ([function_app.py](../function_app.py)): a tenth of a cold start.
* Sixteen arrivals at once and 32 threads ([settings.md](settings.md#hostjson)). On loopback, where nothing takes long,
  four do nearly as well; with an endpoint that takes a second, Python's own number of threads is what holds everything
  up. More than sixteen would do more still, and press on an endpoint whose limits are not documented.
* The built-in host sends answers at once: they were 40 ms late on a connection that was used again.
* The workflow packs compiled modules: where the package is mounted nothing can be written, and each cold start would
  compile all of them. `azd up` from a laptop packs sources. Whether a build in Azure keeps them is not established;
  without them a cold start is the one that the first table calls not compiled.
* Importing less was left: what remains are packages that an arrival needs; those of pages, metrics, retries and
  signatures are imported when they are used. Single modules of Python's own library are one percent and less.
* Listings in Arrow's form, which the SDK can read, were left: a package more in each cold start, and the emulator does
  not have it.
* Coarser ticks were left: an idle month would be cheaper, and everything that nobody told of later. Who wants that has
  `RETRAIN_TIMER_SCHEDULE`.
"""


def page(
    machine: Mapping[str, str],
    titles: Mapping[str, str],
    found: Mapping[str, Result],
    judged: Iterable[Verdict],
    faults: Mapping[str, str],
) -> str:
    """Return the page."""
    where = Table("", ("", ""), [(name, value) for name, value in machine.items()])
    parts = [HEAD, markdown(where)]
    rows = [
        (
            one.goal.what,
            f"{one.goal.at_most:,g} {one.goal.unit}".strip(),
            "" if one.value is None else f"{one.value:,.2f} {one.goal.unit}".strip(),
            one.told(),
        )
        for one in judged
    ]
    parts += ["## Goals\n", markdown(Table("", ("of", "at most", "measured", ""), rows))]
    for name, result in found.items():
        parts.append(f"## {titles[name]}\n")
        for table in result.tables:
            parts += [f"### {table.title}\n", markdown(table)]
    if faults:
        parts += [
            "## What could not be measured\n",
            "\n".join(f"* {one.splitlines()[0]}" for one in faults.values()) + "\n",
        ]
    return "\n".join([*parts, CHANGED])


def markdown(table: Table) -> str:
    """Return a table, and what belongs to it."""
    rows = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)])
