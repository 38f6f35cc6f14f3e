"""`./retrain check`: prints what `shared/operate/check.py` found.

Never decides what is a fault, and never changes anything.

Exit code 1 when there is a fault.
"""

import sys

import click

from cli import environment
from cli.operator import HELP, Unaided
from cli.output import print_findings, print_json
from shared.app import build
from shared.errors import ConfigurationError
from shared.operate import check as checks
from shared.operate.findings import Finding, misconfigured, sound
from shared.settings import read


@click.command(cls=Unaided, context_settings=HELP)
@click.option("--offline", is_flag=True, help="Only the configuration: connect to nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(offline: bool, as_json: bool) -> None:
    """Look whether an arrival would become a run: configuration, endpoints, parameters, datastores, ledger, rights.

    Rights are those of the identity that looks: yours here, the function app's where that runs.
    """
    found = look(offline)
    print_json({"ok": sound(found), "findings": found}) if as_json else print_findings(found)
    sys.exit(0 if sound(found) else 1)


def look(offline: bool) -> list[Finding]:
    """Return the findings; of a configuration that cannot be used, its faults."""
    try:
        configured = read.load()
        if offline:
            return checks.offline(configured)
        if silent := environment.silent():  # each would be asked many times over
            cure = "Run ./retrain start, or put a real account's and workspace's settings into local.settings.json."
            return [*checks.offline(configured), *(Finding("fault", where, what, cure) for where, what in silent)]
        app = build(configured)
    except ConfigurationError as error:
        return misconfigured(error)
    try:
        return checks.check(app)
    finally:
        app.close()
