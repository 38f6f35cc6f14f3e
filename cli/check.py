"""`./retrain check`: prints what `shared/operate/check.py` found.

Never decides what is a fault, and never changes anything.

Exit code 1 when there is a fault.
"""

import sys

import click
import msgspec

from shared.app import build
from shared.errors import ConfigurationError
from shared.operate import check as checks
from shared.operate.check import Finding
from shared.settings import read

LABELS = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}


@click.command()
@click.option("--offline", is_flag=True, help="Only the configuration: connect to nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(offline: bool, as_json: bool) -> None:
    """Look whether an arrival would become a run: configuration, endpoints, parameters, datastores, ledger, rights.

    Rights are those of the identity that looks: yours here, the function app's where that runs.
    """
    found = look(offline)
    sound = checks.sound(found)
    if as_json:
        data = {"ok": sound, "findings": found}
        click.echo(msgspec.json.format(msgspec.json.encode(data)).decode())
    else:
        click.echo("\n".join(told(found)))
    sys.exit(0 if sound else 1)


def look(offline: bool) -> list[Finding]:
    """Return the findings; of a configuration that cannot be used, its faults."""
    try:
        configured = read.load()
        if offline:
            return checks.offline(configured)
        app = build(configured)
    except ConfigurationError as error:
        return checks.misconfigured(error)
    try:
        return checks.check(app)
    finally:
        app.close()


def told(found: list[Finding]) -> list[str]:
    """Return the lines for people: each finding, its cure below it, and the sum."""
    lines = []
    for finding in found:
        lines.append(f"{LABELS[finding.level]}  {finding.where}: {finding.what}")
        if finding.cure:
            lines.append(f"         -> {finding.cure}")
    count = {level: sum(finding.level == level for finding in found) for level in LABELS}
    return [*lines, f"faults: {count['fault']}, warnings: {count['warning']}, ok: {count['ok']}"]
