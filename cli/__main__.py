"""`./retrain history` and `./retrain redrive`: reads the commands' words, calls one thing in `shared/`, prints.

Never decides anything; exit code 1 means that the command could not do what was asked, and the text says why.
"""

import sys

import click
import msgspec
from rich.console import Console
from rich.table import Table

from cli import environment
from cli.check import check
from shared import flow, wiring
from shared.errors import RetrainError
from shared.ledger import Entry
from shared.views import view


class _Commands(click.Group):
    """Turns the application's errors into a message and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RetrainError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
def commands() -> None:
    """Operate Retrain Trigger: look at what was started, and act on it again."""
    environment.load()


commands.add_command(check)


@commands.command()
@click.option("--rule", help="Only this rule.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="So many of each rule.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def history(rule: str | None, limit: int, as_json: bool) -> None:
    """Show what was started, newest data first."""
    app = wiring.app()
    entries = [entry for name in app.settings.rule_names(rule) for entry in app.ledger.history(name, limit)]
    entries.sort(key=lambda entry: entry.key, reverse=True)  # a key begins with the time its data was written
    if as_json:
        _print_json({"retrains": [view(entry) for entry in entries]})
    else:
        Console().print(_table(entries) if entries else "Nothing was started yet.")


@commands.command()
@click.argument("key")
@click.option("--force", is_flag=True, help="Also what could double a live run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def redrive(key: str, force: bool, as_json: bool) -> None:
    """Act again on the request KEY that came to a bad end, at the version that is pinned now."""
    outcome = flow.redrive(wiring.app(), key, force)
    assert outcome.entry is not None  # a redrive always has a row
    entry = outcome.entry
    if as_json:
        _print_json(view(entry))
    else:
        told = entry.run_id or entry.reason
        click.echo(f"{entry.key}: attempt {entry.attempt} at version {entry.version} is {entry.state}: {told}")


def _table(entries: list[Entry]) -> Table:
    table = Table("claimed", "state", "rule", "data path", "version", "run", "key", box=None, header_style="bold")
    for entry in entries:
        claimed = f"{entry.claimed_at:%Y-%m-%d %H:%M:%S}"
        run = entry.run_id or entry.reason[:60]
        table.add_row(claimed, entry.state, entry.rule, entry.data_path, entry.version, run, entry.key)
    return table


def _print_json(data: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(data)).decode() + "\n")


if __name__ == "__main__":
    commands(prog_name="./retrain")
