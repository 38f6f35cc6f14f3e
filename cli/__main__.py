"""`python -m cli`: runs one operator's command, and turns whatever ends it into words and an exit code.

Never decides anything. Errors are JSON where the answer would have been.
"""

import sys


def main() -> int:
    """Run the command of sys.argv; return its exit code."""
    try:  # Ctrl-C may come while modules are still being imported
        import click

        from cli.commands import commands
        from cli.output import print_json
        from shared.errors import RetrainError, masked

        try:
            commands(prog_name="./retrain", standalone_mode=False)
        except click.exceptions.Exit as end:
            return end.exit_code
        except (click.ClickException, RetrainError) as error:
            text = error.format_message() if isinstance(error, click.ClickException) else str(error)
            if "--json" in sys.argv:
                print_json({"error": text})
            elif isinstance(error, click.UsageError):
                error.show()
            else:
                click.echo(f"Error: {masked(text)}", err=True)
            return error.exit_code if isinstance(error, click.ClickException) else 1
        except click.Abort:  # a question that was answered with no, or Ctrl-C
            click.echo("Aborted.", err=True)
            return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
