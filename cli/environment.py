"""The app settings that a command works with, as Core Tools finds them: the environment, then local.settings.json.

Without that file the sample's settings serve, which are those of the stand-ins. Never changes a file.
"""

import os
from pathlib import Path

import click
import msgspec

ROOT = Path(__file__).parent.parent


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
