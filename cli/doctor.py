"""`./retrain doctor`: says which app is meant, and prints what `shared/operate/doctor.py` found.

Never decides what is a fault, and never changes anything. Exit code 1 when there is a fault.
"""

import os
import sys

import click

from cli import azd, environment
from cli.operator import HELP, Unaided
from cli.output import print_findings, print_first, print_json
from shared.deployed.place import Place
from shared.operate import doctor as doctors
from shared.operate.doctor import Examined
from shared.operate.findings import Finding, sound

NAME = "FUNCTION_APP_NAME"


class Deployed(Unaided):
    """A command about what is deployed: where azd has an environment, a laptop's settings are of no interest."""

    def load(self, ctx: click.Context) -> None:
        """Take the settings of a stack that runs, else azd's; where there is neither, those of local.settings.json."""
        port, noted = ctx.params.pop("port"), azd.environment()
        given, known = os.environ.get(NAME), noted.get(NAME)
        if given:  # as in azd's hooks
            noted = {name: value for name, value in noted.items() if known == given and name not in os.environ}
        if ctx.params["app"] or given or (known and not environment.running()):
            os.environ.update(noted)
        else:
            environment.load(port)


@click.command(cls=Deployed, context_settings=HELP)
@click.argument("path", required=False)
@click.option("--datastore", help="The datastore of PATH; may be left out when there is one only.")
@click.option("--app", metavar="RESOURCE_ID", help="The function app; left out: azd's, or that of ./retrain start.")
@click.option("--topic", metavar="RESOURCE_ID", help="The Event Grid system topic of the training account.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(path: str | None, datastore: str | None, app: str | None, topic: str | None, as_json: bool) -> None:
    """Walk the whole chain of a deployed app, and name the first broken link; with PATH what became of one blob, too.

    From the app, its settings and functions over events and queues to the workspace; what the app sees by its own
    identity, it is asked; the rest is looked at with yours (`az login`).
    """
    made = _examined(Place.of(os.environ, app or "", topic or ""), path or "", datastore or "")
    found, broken = made.findings, doctors.first(made.findings)
    if as_json:
        story = {"story": made.story} if path else {}
        print_json({"ok": sound(found), "first": broken, "findings": found, **story})
    else:
        print_findings(found)
        print_first(broken)
    sys.exit(1 if broken else 0)


def _examined(place: Place | None, path: str, datastore: str) -> Examined:
    if place is None and (silent := environment.silent()):  # each would be asked many times over
        cure = "Run ./retrain start, or put a real account's and workspace's settings into local.settings.json."
        return Examined(findings=[doctors.UNKNOWN, *(Finding("fault", where, what, cure) for where, what in silent)])
    return doctors.examine(place, os.environ, path, datastore)
