"""`./retrain bench`: runs the measures, prints what they found, and writes the page where it is asked to.

Never judges: the exit code is 0 when everything could be measured, whatever the figures are.
"""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests
from azure.core.exceptions import AzureError
from rich.console import Console
from rich.table import Table as Shown

from local.bench import arrival, bursts, cold, growth, large, money, webhook
from local.bench.goals import Verdict, verdicts
from local.bench.measure import Bench, Measure, Result, Table
from local.bench.page import page
from local.environments import UnavailableError
from local.process import ChildFailedError
from local.stack import LOGS, PortTakenError, interruptible

MEASURES = {
    "cold": Measure("Cold start", cold.run),
    "arrival": Measure("One warm arrival", arrival.run),
    "growth": Measure("Growth: rules, open runs, what waits", growth.run),
    "rows": Measure("Growth: rows", growth.of_rows),
    "blobs": Measure("Growth: blobs", growth.of_blobs),
    "large": Measure("Large data", large.run),
    "webhook": Measure("The webhook", webhook.run),
    "money": Measure("Money", money.run),
    "bursts": Measure("Bursts", bursts.run),
    "folders": Measure("A burst into folders", bursts.gather),
}
FAILURES = (
    *(ChildFailedError, PortTakenError, UnavailableError, requests.RequestException, AzureError),
    *(subprocess.CalledProcessError, OSError),
)


def bench(*, as_json: bool, only: Sequence[str], quick: bool, to_page: Path | None) -> int:
    """Do it; return the exit code. With `as_json` stdout gets one JSON object and nothing else."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="bench-", dir=LOGS))
    found, faults = dict[str, Result](), dict[str, str]()
    told = machine(quick)
    for name in only or MEASURES:
        try:
            with interruptible():
                folder = logs / name
                folder.mkdir()
                found[name] = MEASURES[name].run(Bench(quick, folder, console.print))
        except FAILURES as error:
            faults[name] = f"{name}: {type(error).__name__}: {error}"
            console.print(faults[name], markup=False)
        except KeyboardInterrupt:
            faults[name] = f"{name}: interrupted"
            break
    for name, result in found.items():
        faults |= {f"{name}, {one.partition(':')[0]}": one for one in result.missing}
    judged = verdicts({name: result.figures for name, result in found.items()})
    if as_json:
        print(json.dumps(as_object(told, found, judged, faults)))
    else:
        show(found, judged)
    if to_page and found:
        titles = {name: MEASURES[name].title for name in found}
        to_page.write_text(page(told, titles, found, judged, faults), encoding="utf-8")
    if faults:
        console.print(f"Not all could be measured; the logs are in {logs}.")
    else:
        shutil.rmtree(logs)
    return 1 if faults else 0


def machine(quick: bool) -> dict[str, str]:
    """Return what this was measured on, and when."""
    memory = psutil.virtual_memory().total / 1024**3
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processors": f"{os.cpu_count()} x {processor()}",
        "memory": f"{memory:.0f} GB",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load before": ", ".join(f"{one:.1f}" for one in psutil.getloadavg()),
        "sizes": "quick: too few turns for figures to rely on" if quick else "full",
    }


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def as_object(
    told: dict[str, str], found: dict[str, Result], judged: list[Verdict], faults: dict[str, str]
) -> dict[str, Any]:
    """Return all of it for programs."""
    goals = [
        {
            "what": one.goal.what,
            "at_most": one.goal.at_most,
            "unit": one.goal.unit,
            "value": one.value,
            "met": one.met if one.value is not None else None,
        }
        for one in judged
    ]
    measures = {name: result.figures for name, result in found.items()}
    return {"ok": not faults, "machine": told, "measures": measures, "goals": goals, "missing": faults}


def show(found: dict[str, Result], judged: list[Verdict]) -> None:
    """Print the tables for people."""
    console = Console(highlight=False)
    tables = [table for result in found.values() for table in result.tables]
    rows = [
        (one.goal.what, f"{one.goal.at_most:,g} {one.goal.unit}", f"{one.value:,.2f}", one.told())
        for one in judged
        if one.value is not None
    ]
    tables.append(Table("Goals", ("of", "at most", "measured", ""), rows))
    for table in tables:
        shown = Shown(*table.columns, title=table.title)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in table.notes:
            console.print(note, markup=False)
        console.print()
