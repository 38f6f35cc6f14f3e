"""What is deployed: the app's files as the workflow packs them, with or without compiled modules. Never deploys."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from local.stack import ROOT


class Size(NamedTuple):
    """Of a folder."""

    files: int
    bytes: int

    @property
    def mb(self) -> float:
        """In millions of bytes."""
        return self.bytes / 1e6


def pack(folder: Path, python: Path | None = None) -> Path:
    """Copy all that is tracked and not in .funcignore into a folder; compile it where a Python is given.

    Raises CalledProcessError where the project is not a Git repository, as in a plain download.
    """
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = _lines(listed)
    left_out = _lines(["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-from=.funcignore"])
    left_out |= _lines([*listed[:3], "ls-files", "--others", "--ignored", "--exclude-from=.funcignore"])
    for name in sorted(tracked - left_out):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    if python:
        # The archive keeps no time to the second, so that the usual comparison with the source's would fail.
        command = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
        subprocess.run(command, check=True)
    return folder


def _lines(command: list[str]) -> set[str]:
    done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    return set(done.stdout.splitlines())


def size(folder: Path) -> Size:
    """Return how much there is below a folder, without compiled modules and what installs packages."""
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.name not in ("_virtualenv.py", "_virtualenv.pth")
    ]
    return Size(len(files), sum(file.stat().st_size for file in files))
