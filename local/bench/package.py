"""What is deployed, unpacked: with or without compiled modules. Never deploys."""

import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from local import package
from local.stack import ROOT


class Size(NamedTuple):
    """Of a folder."""

    files: int
    bytes: int

    @property
    def mb(self) -> float:
        """In millions of bytes."""
        return self.bytes / 1e6


def pack(folder: Path, *, compiled: bool) -> Path:
    """Unpack the package into a folder, as the platform mounts it; with the compiled modules that are in it or not."""
    with tempfile.TemporaryDirectory() as where:
        archive = Path(where) / "package.zip"
        package.build(ROOT, archive)
        zipfile.ZipFile(archive).extractall(folder)
    for module in () if compiled else list(folder.rglob("*.pyc")):
        module.unlink()
    return folder


def size(folder: Path) -> Size:
    """Return how much there is below a folder, without compiled modules and what installs packages."""
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.name not in ("_virtualenv.py", "_virtualenv.pth")
    ]
    return Size(len(files), sum(file.stat().st_size for file in files))
