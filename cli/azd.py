"""What the Azure Developer CLI has noted of an environment: its outputs and variables, from `.azure` in the project.

Never runs azd, and never changes a file of it.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

ROOT = Path(__file__).parent.parent


class _Config(msgspec.Struct, rename="camel"):
    default_environment: str = ""


def environment(folder: Path = ROOT, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of AZURE_ENV_NAME, else of azd's default environment; none where there is none.

    Raises click.ClickException when a file cannot be read.
    """
    state = folder / ".azure"
    try:
        name = environ.get("AZURE_ENV_NAME") or _default(state)
        file = state / name / ".env"
        if not name or not file.exists():
            return {}
        return _variables(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:  # JSON, UTF-8 and quotes
        raise click.ClickException(f"{state}: azd's notes cannot be read: {error}") from error


def _default(state: Path) -> str:
    file = state / "config.json"
    return msgspec.json.decode(file.read_bytes(), type=_Config).default_environment if file.exists() else ""


def _variables(text: str) -> dict[str, str]:
    """Return what lines of NAME="value" say, as azd writes them; comments and other lines say nothing."""
    found = dict[str, str]()
    for line in text.splitlines():
        for word in shlex.split(line, comments=True):
            name, given, value = word.partition("=")
            if given and name.isidentifier():
                found[name] = value
    return found
