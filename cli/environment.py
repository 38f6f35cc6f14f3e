"""The app settings that a command works with, as Core Tools finds them: the environment, then local.settings.json.

Without that file the sample's settings serve, which are those of the stand-ins. Never changes a file.
"""

import os
import re
import socket
from pathlib import Path

import click
import msgspec

from shared.errors import StorageError

ROOT = Path(__file__).parent.parent
_LOCAL_STORAGE = re.compile(r"(Blob|Table)Endpoint=http://(127\.0\.0\.1|localhost):([0-9]+)")


class _LocalSettings(msgspec.Struct, rename="pascal"):
    values: dict[str, str] = {}


def load() -> None:
    """Put the settings into this process's environment; what is there already wins. Raises click.ClickException."""
    file = ROOT / "local.settings.json"
    if not file.exists():
        file = ROOT / "local.settings.sample.json"
        click.echo(f"(no local.settings.json: settings of {file.name}, for ./retrain start)", err=True)
    try:
        settings = msgspec.json.decode(file.read_bytes(), type=_LocalSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise click.ClickException(f"{file}: cannot be read: {error}") from error
    for name, value in settings.values.items():
        os.environ.setdefault(name, value)


def require_storage() -> None:
    """Make sure that storage on this machine answers, where settings name some: that is told at once, without retries.

    Raises StorageError.
    """
    for name, value in os.environ.items():
        for _, host, port in _LOCAL_STORAGE.findall(value):
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError as error:
                raise StorageError(
                    f"Nothing answers at {host}:{port}, where the setting {name!r} says that storage is: "
                    f"{error.strerror}. Run ./retrain start, or put a real account's settings into local.settings.json."
                ) from error
