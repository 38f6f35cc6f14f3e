"""docs/benchmarks.md, made from what one run found. Never edited by hand: its words are here, and in `goals`."""

from collections.abc import Iterable, Mapping

from local.bench.goals import Verdict
from local.bench.measure import Result, Table

HEAD = """# Benchmarks

Made by `./retrain bench --page docs/benchmarks.md`; do not edit it by hand. Each ratio is of processes that took turns
in one run on one machine, each figure a median with its quartiles; figures of two runs or machines say nothing about
each other. Storage is Azurite, the workspace is the stand-in, both on loopback: what they take is in wall times, and a
network would add the same to each round trip. Requests are counted at the servers.

To repeat it: `./retrain bench` (three quarters of an hour; `--only cold` one measure, `--quick` as
few turns as show that it works, `--json` for programs). Environments for the apps that are compared are made on the
way: their packages are pinned in [benchmarks/](../benchmarks). azureml-pipeline-core needs a Python 3.11 on PATH.

The apps that are compared have the same two triggers and are written as their packages' documentation does it. None of
them claims an arrival, follows a run or knows a rule: what is delivered twice starts twice there.
"""

KEPT_OUT = """## What was left as it is

* Importing less: what is left are packages that an arrival needs. `jinja2`, OpenTelemetry, `stamina` and the signatures
  of callers are imported when they are used.
* Coarser ticks would make an idle month cheaper, and everything that nobody told of later; `RETRAIN_TIMER_SCHEDULE` is
  there for who wants that.
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
        parts += ["## What could not be measured\n", "\n".join(f"* {one}" for one in faults.values()) + "\n"]
    return "\n".join([*parts, KEPT_OUT])


def markdown(table: Table) -> str:
    """Return a table, and what belongs to it."""
    rows = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)])
