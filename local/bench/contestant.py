"""A process that does one thing when it is told to: those that are compared take turns, each in its own environment.

Never does anything by itself: what it costs between two turns is nobody's.
"""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.process import ChildFailedError
from local.stack import ROOT

TURNS = Path(__file__).parent / "probes" / "turns.py"


class Contestant:
    """One of those that are compared, as a context manager."""

    def __init__(self, name: str, python: Path, source: Path, environment: Mapping[str, str], logs: Path) -> None:
        """Start `source`, a file that defines `act`, with the Python of an environment."""
        self.name, self.log = name, logs / f"{word(name)}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(python), str(TURNS), str(source)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=clean(environment),
            )

    def act(self, *words: object) -> dict[str, Any]:
        """Give it its turn; return what it took: `wall_s`, `cpu_s`, `peak_mb`, and `told`, what it answered itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(words), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise ChildFailedError(f"{self.name} ended.\nLast lines of {self.log}:\n{tail}")
        told: dict[str, Any] = json.loads(line)
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self.process.stdin.close()  # it reads no further turn, and ends
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def word(name: str) -> str:
    """Return a name as part of a path, a blob's name or a figure's."""
    return re.sub(r"\W+", "-", name)


def blob(name: str, number: int) -> str:
    """Return the blob that is there for a turn of somebody."""
    return f"income/{word(name)}/{number}.csv"


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a measured process: what is said, and of this process only where programs are."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TEMP") if name in os.environ}
    return {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "GIT_DIR": os.devnull, **environment}


def in_turns(contestants: Sequence[Contestant], rounds: int, words: Any) -> dict[str, list[dict[str, Any]]]:
    """Let each have its turn in each round, another one first each time; `words` says what it is told."""
    taken: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contestants}
    for number in range(rounds):
        shift = number % len(contestants)
        for one in [*contestants[shift:], *contestants[:shift]]:
            taken[one.name].append(one.act(*words(one, number)))
    return taken
