"""The development commands of `./retrain`: `python -m local start`, `demo`, `conformance` and the others.

Reads arguments only; each command is one function of a module beside this one, imported when it is asked for.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import click

PORT = click.IntRange(1, 65533)
MEASURES = ("cold", "arrival", "growth", "rows", "blobs", "large", "webhook", "money", "bursts", "folders")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Development commands; nothing here is deployed."""
    # Everything talks over loopback; a proxy is for the world outside.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def _parts(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    from local.stack import PARTS

    parts = [part.strip() for part in value.split(",") if part.strip()]
    if unknown := sorted({*parts} - {*PARTS}):
        raise click.BadParameter(f"there is no {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    return parts


@main.command()
@click.option("--port", default=7071, show_default=True, type=PORT, help="The app's port.")
@click.option("--workspace-port", default=7081, show_default=True, type=PORT, help="The workspace stand-in's.")
@click.option("--storage-port", default=10000, show_default=True, type=PORT, help="Azurite's, and the next two.")
@click.option(
    "--host",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "func", "builtin"]),
    help="What runs the app: Core Tools (func), the built-in host, or Core Tools when they are on PATH (auto).",
)
@click.option(
    "--events",
    default="scan",
    show_default=True,
    type=click.Choice(["scan", "grid", "queue"]),
    help="How the app hears of uploads: it lists the container (scan), a stand-in of Event Grid tells its blob trigger "
    "(grid), or puts events into a queue (queue).",
)
@click.option(
    "--parts",
    default="storage,workspace,app",
    show_default=True,
    callback=_parts,
    help="Start only these; the others are expected at their ports, or as local.settings.json says.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep blobs, ledger and runs in this folder over restarts. Left out: all of it is in memory.",
)
def start(
    port: int, workspace_port: int, storage_port: int, host: str, events: str, parts: list[str], keep: Path | None
) -> None:
    """Run the app, the workspace stand-in and the storage emulator until Ctrl-C.

    The app's settings: environment variables win over what is started here, that over local.settings.json.
    """
    from local import stack

    ports = stack.Ports(port, workspace_port, storage_port)
    keep = keep and keep.resolve()
    sys.exit(stack.start(ports, host=host, events=events, parts=parts, keep=keep, environment=os.environ))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and progress on stderr.")
@click.option("--kind", type=click.Choice(["pipeline", "batch", "both"]), default="pipeline", help="Of endpoint.")
def demo(as_json: bool, kind: Literal["pipeline", "batch", "both"]) -> None:
    """Start everything on free ports, upload two files, and follow the two training runs to their end.

    Exit code 0 only when both finished, at the pinned version, with exactly one submission each.
    """
    from local import demo

    sys.exit(demo.demo(as_json=as_json, kind=kind))


@main.command()
@click.option("--arrivals", default=200, show_default=True, type=click.IntRange(1, 20_000), help="How many uploads.")
@click.option("--seed", default=1, show_default=True, type=int, help="Says what happens to which, and when.")
@click.option(
    "--list-lag", default=0.0, show_default=True, type=click.FloatRange(0, 60), help="Seconds until lists show a run."
)
@click.option("--no-keys", is_flag=True, help="The workspace does not give back the keys of submissions.")
@click.option("--changes", is_flag=True, help="Deploy other pins and rules meanwhile, and take the role away.")
@click.option(
    "--kind",
    type=click.Choice(["pipeline", "batch", "both"]),
    default="pipeline",
    help="Of endpoint; both: what is deployed with --changes moves from one to the other.",
)
@click.option("--queue", is_flag=True, help="Event Grid fills a queue, with each event twice; nothing is scanned.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and progress on stderr.")
def chaos(
    arrivals: int,
    seed: int,
    list_lag: float,
    no_keys: bool,
    changes: bool,
    kind: Literal["pipeline", "batch", "both"],
    queue: bool,
    as_json: bool,
) -> None:
    """Upload while two apps are killed at random and a fifth of all submissions goes wrong; count the runs.

    Every upload is announced three times: by scan, by Event Grid, by HTTP; or twice by queue, and by HTTP. Exit code 0
    only when each has come to one run, by what the workspace received, at what was pinned then; with --no-keys, to one
    run or to a request that is held for an operator.
    """
    from local.chaos import chaos

    if kind == "both" and not changes:
        raise click.UsageError("--kind both is about moving from one kind to the other: give --changes, too.")
    sys.exit(
        chaos(
            arrivals=arrivals,
            seed=seed,
            list_lag_s=list_lag,
            keys=not no_keys,
            changes=changes,
            as_json=as_json,
            kind=kind,
            queue=queue,
        )
    )


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and progress on stderr.")
def matrix(as_json: bool) -> None:
    """Run and print two tables: faults at every step of an arrival's way, edits of retrain.toml in every open state.

    Exit code 0 only when every cell keeps the promise: one run for each arrival, where it belongs.
    """
    from local import matrix

    sys.exit(matrix.matrix(as_json=as_json))


@main.command()
@click.option(
    "--requests", "count", default=30_000, show_default=True, type=click.IntRange(4, 1_000_000), help="How many."
)
@click.option("--seed", default=1, show_default=True, type=int, help="Says which requests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and progress on stderr.")
def fuzz(count: int, seed: int, as_json: bool) -> None:
    """Send odd requests to the HTTP API and the built-in host; none may be answered with a 5xx.

    Exit code 0 only when none was, and an upload afterwards becomes a run.
    """
    from local import fuzz

    sys.exit(fuzz.fuzz(count=count, seed=seed, as_json=as_json))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and progress on stderr.")
def conformance(as_json: bool) -> None:
    """Let Microsoft's own SDKs work with the stand-in, and compare our submissions with theirs, field by field.

    Exit code 0 only when the SDKs see what they see in Azure, and each difference is explained.
    """
    from local.conformance import command

    sys.exit(command.conformance(as_json=as_json))


@main.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The zip; else .retrain/package.zip.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def package(out: Path | None, as_json: bool) -> None:
    """Make the zip that is deployed: what .funcignore leaves, with bytecode; print how many files and bytes it has."""
    from local import package

    sys.exit(package.package(out, as_json=as_json))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and progress on stderr.")
@click.option("--only", multiple=True, type=click.Choice(MEASURES), help="Take this measure; may be given again.")
@click.option("--quick", is_flag=True, help="Few turns, small sizes: that it works, and no figures to rely on.")
@click.option("--page", "to_page", type=click.Path(dir_okay=False, path_type=Path), help="Write the page to this file.")
def bench(as_json: bool, only: tuple[str, ...], quick: bool, to_page: Path | None) -> None:
    """Measure what the app costs, as ratios in one run: beside bare packages, Microsoft's SDKs, and raw requests.

    Exit code 0 when everything could be measured, whatever the figures are; docs/benchmarks.md has those of one run.
    """
    from local.bench import command

    sys.exit(command.bench(as_json=as_json, only=only, quick=quick, to_page=to_page))


@main.command()
def lint() -> None:
    """Check style (ruff) and types (mypy); changes nothing."""
    checks = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["mypy", "--scripts-are-modules", "retrain"]]
    failed = [check for check in checks if subprocess.run([sys.executable, "-m", *check], check=False).returncode]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(prog_name="./retrain" if os.name != "nt" else "python retrain")
