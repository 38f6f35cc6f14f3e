"""The app settings that a command works with, strongest first:

    the environment
    what ./retrain start has wired, where one runs (it leaves it in .retrain/stacks, one file for each)
    local.settings.json, as Core Tools reads it; without that and without a stack the sample, which is for the stand-ins

Never changes a file.
"""

import os
import re
import socket
from pathlib import Path

import click
import msgspec

from shared.errors import StorageError

ROOT = Path(__file__).parent.parent
STACKS = Path(os.environ.get("RETRAIN_STACKS") or ROOT / ".retrain" / "stacks")  # tests have their own
_LOCAL = re.compile(r"https?://(127\.0\.0\.1|localhost):([0-9]+)")
STORAGE = re.compile(r"(?:Blob|Table)Endpoint=https?://(127\.0\.0\.1|localhost):([0-9]+)")
_EMULATOR = ("127.0.0.1", "10000")  # what UseDevelopmentStorage=true stands for


class _LocalSettings(msgspec.Struct, rename="pascal"):
    values: dict[str, str] = {}


class Stack(msgspec.Struct):
    """A running `./retrain start`, as local/stack.py writes it down."""

    port: int
    """The app's."""
    ports: list[int]
    """All on which its parts listen."""
    values: dict[str, str]
    """The settings that it has wired."""
    deployed: dict[str, str] = {}
    """What azd would have noted of it, where its events come as in Azure."""


def load(port: int | None = None) -> None:
    """Put the settings into this process's environment; what is there already wins. Raises click.ClickException."""
    stack, file = chosen(running(), port), ROOT / "local.settings.json"
    if stack:
        click.echo(f"(./retrain start, app at port {stack.port})", err=True)
        _set(stack.values)
        os.environ.update(stack.deployed)  # as a whole: what azd or a shell has of another app is none of its business
    elif not file.exists():
        file = ROOT / "local.settings.sample.json"
        click.echo(f"(no local.settings.json, no ./retrain start: settings of {file.name})", err=True)
    if not file.exists():
        return
    try:
        _set(msgspec.json.decode(file.read_text(encoding="utf-8-sig"), type=_LocalSettings).values)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise click.ClickException(f"{file}: cannot be read: {error}") from error


def _set(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


def running() -> list[Stack]:
    """Return the stacks that run; of one that died without a word nothing listens. Raises click.ClickException."""
    found = list[Stack]()
    for file in sorted(STACKS.glob("*.json")):
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=Stack))
        except FileNotFoundError:  # it has ended just now
            continue
        except msgspec.DecodeError as error:
            text = f"{file}: cannot be read ({error}): wait until ./retrain start is ready, or remove it."
            raise click.ClickException(text) from error
    return [stack for stack in found if any(answers("127.0.0.1", port) for port in stack.ports)]


def chosen(stacks: list[Stack], port: int | None) -> Stack | None:
    """Return the stack whose app has a port, or the only one. Raises click.UsageError."""
    known = ", ".join(str(stack.port) for stack in stacks) or "none"
    if port is not None:
        found = next((stack for stack in stacks if stack.port == port), None)
        if found is None:
            raise click.UsageError(f"No ./retrain start has its app at port {port}; there are: {known}.")
        return found
    if len(stacks) > 1:
        raise click.UsageError(f"Several ./retrain start run, their apps at the ports {known}. Say which: --port PORT.")
    return stacks[0] if stacks else None


def require_storage() -> None:
    """Make sure that storage on this machine answers, where settings name some: that is told at once, without retries.

    Raises StorageError.
    """
    for where, what in silent(STORAGE):
        raise StorageError(
            f"{where}: {what}. Run ./retrain start, or put a real account's settings into local.settings.json."
        )


def silent(addresses: re.Pattern[str] = _LOCAL) -> list[tuple[str, str]]:
    """Return what does not answer of the addresses on this machine that the settings name: which setting, and what."""
    found, asked = list[tuple[str, str]](), set[tuple[str, str]]()
    for name, value in sorted(os.environ.items()):
        places = addresses.findall(value)
        if value.lower().startswith("usedevelopmentstorage=true"):
            places.append(_EMULATOR)
        for host, port in places:
            if (host, port) not in asked and "proxy" not in name.lower() and not answers(host, int(port)):
                found.append((f"app setting {name!r}", f"nothing answers at {host}:{port}"))
            asked.add((host, port))
    return found


def answers(host: str, port: int) -> bool:
    """Tell whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
