"""Starts the local workspace: `python -m local.workspace --port 7081 --storage "<connection string>"`.

Prints one line on stdout, `workspace ready http://127.0.0.1:<port>`, once it serves. Ends on SIGTERM or Ctrl-C, its
training workers with it.
"""

from pathlib import Path

import click

from local.workspace.server import listen, serve


@click.command(help="Stand in for the pipeline services of an Azure ML workspace.")
@click.option("--port", type=click.IntRange(0, 65535), default=7081, show_default=True, help="0: any free one.")
@click.option("--storage", required=True, help="Connection string of the storage that runs read and write.")
@click.option("--identity-header", help="Secret of the token endpoint. Default: a new one at each start.")
@click.option("--keep", type=click.Path(dir_okay=False, path_type=Path), help="Keep what it has in this file.")
@click.option("--certificate", type=click.Path(exists=True, path_type=Path), help="Serve over TLS; with its key.")
def main(port: int, storage: str, identity_header: str | None, keep: Path | None, certificate: Path | None) -> None:
    """Serve."""
    try:
        listener = listen(port)
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from error
    with listener:
        serve(listener, storage, identity_header, keep, certificate)


if __name__ == "__main__":
    main()
