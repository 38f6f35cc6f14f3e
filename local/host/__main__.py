"""`python -m local.host`: run the function app of a folder until SIGTERM or SIGINT.

Prints one line on stdout when everything answers; all else, the app's own prints too, goes to stderr.
"""

import asyncio
import os
import sys
from pathlib import Path

import click

from local.host import logs, settings
from local.host.errors import HostError
from local.host.host import Host


@click.command(help=__doc__)
@click.option("--port", type=click.IntRange(0, 65535), default=7071, show_default=True, help="0 takes any free port.")
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The folder of host.json and function_app.py.",
)
@click.option(
    "--scan-interval",
    type=click.FloatRange(min=0.01),
    default=0.5,
    show_default=True,
    help="Seconds between two scans of a container.",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=1),
    default=10,
    show_default=True,
    help="Seconds after which the work of a killed host comes back.",
)
def main(port: int, app_dir: Path, scan_interval: float, lease: float) -> None:
    """Run the host; exit code 1 when it cannot start."""
    out, sys.stdout = sys.stdout, sys.stderr

    def ready(url: str) -> None:
        print(f"host ready {url}", file=out, flush=True)

    try:
        config = settings.load(app_dir)
        logs.set_up(config.log_level)
        asyncio.run(Host(config, scan_interval_s=scan_interval, lease_s=lease).run(port, ready))
    except HostError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    # A function that still runs in a thread would hold up the usual end of the process.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
