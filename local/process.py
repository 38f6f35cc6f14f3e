"""Child processes of the development commands: started, awaited, and ended with their parent.

Never restarts anything: a child that dies is reported with the end of its log.
"""

import contextlib
import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"  # loopback only: none of the stand-ins asks who is calling


class ChildFailedError(RuntimeError):
    """A child ended, or did not answer in time; the message ends with the last lines of its log."""


def free_ports(count: int = 1) -> int:
    """Return the first of `count` neighbouring TCP ports that are free on loopback right now."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            first = 0
            for offset in range(count):
                sock = stack.enter_context(socket.socket())
                sock.bind((HOST, first + offset if offset else 0))
                first = first or sock.getsockname()[1]
            return first


def listens(port: int) -> bool:
    """Tell whether something accepts connections on this loopback port."""
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0


class Child:
    """One child process; use as a context manager, leaving it ends the child."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `command` (argv), its output appended to `log`, `env` laid over this process's environment."""
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Should an extension module crash it, its log says where.
                env={"PYTHONFAULTHANDLER": "1", **os.environ, **(env or {})},
                cwd=cwd,
                # Ctrl-C reaches the parent alone, which then ends its children in order.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
                preexec_fn=functools.partial(_die_with, os.getpid()) if sys.platform == "linux" else None,
            )

    def wait_until(self, answers: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until `answers()` is true. Raises ChildFailedError when the child ends or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not answers():
            self.check()
            if time.monotonic() > deadline:
                raise ChildFailedError(f"{self.name} did not answer within {timeout_s:.0f} s.\n{self.log_tail()}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise ChildFailedError when the child has ended."""
        if (code := self.process.poll()) is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            raise ChildFailedError(f"{self.name} {how}.\n{self.log_tail()}")

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the child's log, and where it is."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"Last lines of {self.log}:", *text])

    def kill(self) -> None:
        """SIGKILL, as a crash would: no handler runs."""
        self.process.kill()
        self.process.wait()
        self._end_group()

    def stop(self, timeout_s: float = 10) -> None:
        """Ask the child to end (SIGTERM), and kill it when it has not after `timeout_s`."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._end_group()

    def _end_group(self) -> None:
        """End what the child itself had started and left behind (Core Tools starts a host and workers)."""
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before fork: the child may not allocate


def _die_with(parent: int) -> None:
    """Ask Linux to end this process when its parent dies in any way (prctl PR_SET_PDEATHSIG).

    The parent is the thread that started it: start children in the main thread.
    """
    assert _libc is not None
    _libc.prctl(1, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
