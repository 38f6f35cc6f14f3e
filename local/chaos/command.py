"""The command: starts the parts on free ports, lets the story happen, prints the report. Never judges by itself."""

import json
import logging
import shutil
import tempfile
import time
from pathlib import Path

import requests
import stamina
from azure.core.exceptions import AzureError
from rich.console import Console
from rich.table import Table

from local.chaos.judge import ChaosError, Report
from local.chaos.story import Chaos
from local.configuration import Kind
from local.events import HandshakeError
from local.process import ChildFailedError
from local.stack import LOGS, Ports, PortTakenError, Stack, interruptible

FAILURES = (ChildFailedError, PortTakenError, HandshakeError, ChaosError, requests.RequestException, AzureError)


def chaos(
    *,
    arrivals: int,
    seed: int,
    list_lag_s: float,
    keys: bool,
    changes: bool,
    as_json: bool,
    kind: Kind = "pipeline",
    queue: bool = False,
) -> int:
    """Do it; return the exit code. With `as_json` stdout gets one JSON object and nothing else."""
    begun = time.monotonic()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    stamina.instrumentation.set_on_retry_hooks([])  # that calls and deliveries fail is what this is about
    logging.getLogger("events").setLevel(logging.ERROR)
    LOGS.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="chaos-", dir=LOGS))
    report, fault = Report(arrivals, seed=seed, changes=0 if changes else None), ""
    parts = ["storage", "workspace"]
    stack = Stack(Ports.free(), logs=logs, parts=parts, host="builtin", say=lambda line: console.print(f"  {line}"))
    try:
        with interruptible(), stack:
            Chaos(stack, console, report, list_lag_s=list_lag_s, keys=keys, kind=kind, queue=queue).run()
    except FAILURES as error:
        fault = str(error)
    except KeyboardInterrupt:
        fault = "interrupted"
    for what, names in report.bad.items():
        console.print(f"{what}: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}")
    if fault:
        console.print(f"No judgement after {time.monotonic() - begun:.0f} s: {fault}", markup=False)
    ok = not (fault or report.bad)
    if ok:
        shutil.rmtree(logs)
    else:
        console.print(f"The logs are in {logs}.")
    if as_json:
        print(json.dumps(report.as_json() | ({"error": fault} if fault else {})))
    else:
        Console(highlight=False).print(_table(report))
    console.print(f"Took {time.monotonic() - begun:.0f} s.")
    return 0 if ok else 1


def _table(report: Report) -> Table:
    """Return the figures for people."""
    table = Table("", "", title="Chaos", show_header=False)
    for name, value in report.as_json().items():
        table.add_row(name, str(value))
    return table
