"""What all operator's commands have in common: whose settings they work with, `--port`, `-h`, and errors in words.

Never reads the ledger: each command does.
"""

from typing import Any

import click

from cli import environment

HELP = {"help_option_names": ["-h", "--help"]}


class Operator(click.Command):
    """A command on the settings of a stack, or of local.settings.json."""

    needs_storage = True

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.params.append(
            click.Option(
                ["--port"],
                type=click.IntRange(1, 65535),
                help="Of several ./retrain start: the one whose app has this port.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Load the settings first, and make sure that something answers where they say that storage is."""
        self.load(ctx)
        if self.needs_storage:
            environment.require_storage()
        return super().invoke(ctx)

    def load(self, ctx: click.Context) -> None:
        """Put the settings into this process's environment."""
        environment.load(ctx.params.pop("port"))


class Unaided(Operator):
    """A command that has something to say also where nothing runs."""

    needs_storage = False


class Operators(click.Group):
    """The group of them: `-h` everywhere, and a command of nearly this name is suggested."""

    command_class = Operator
