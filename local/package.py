"""`./retrain package`: the zip that is deployed, and nothing else in it than what runs in the cloud.

Follows .funcignore as `azd` and `func` do, and adds bytecode of our own modules. The same files make the same bytes.
Never leaves anything in the folder that it packs.
"""

import hashlib
import importlib.util
import json
import os
import py_compile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / ".retrain" / "package.zip"
_THEN = (1980, 1, 1, 0, 0, 0)  # the zip format's first moment, for all files: a package is known by its content


class Package(NamedTuple):
    """What was made."""

    file: str
    files: int
    """All of them, bytecode among them."""
    bytecode: int
    """How many are bytecode."""
    size: int
    unpacked: int
    """Sizes in bytes: of the zip, and of what is in it."""
    sha256: str
    top: list[str]
    """What is at the top, so that a stranger is seen."""


def package(out: Path | None, *, as_json: bool) -> int:
    """Make the package and print what it is; return the exit code."""
    made = build(ROOT, out or OUT)
    if as_json:
        print(json.dumps(made._asdict()))
    else:
        print(f"{made.file}: {made.files} files, {made.bytecode} of them bytecode")
        print(f"at the top: {', '.join(made.top)}")
        print(f"{made.size:,} bytes, {made.unpacked:,} unpacked, SHA-256 {made.sha256}")
    return 0


def build(folder: Path, out: Path) -> Package:
    """Pack the app of a folder. Raises PyCompileError for a module that is no Python."""
    content = dict[str, bytes]()
    for path in deployed(folder):
        content[path] = (folder / path).read_bytes()
        if path.endswith(".py"):
            content[Path(importlib.util.cache_from_source(path)).as_posix()] = bytecode(folder / path, path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for path, data in sorted(content.items()):
            info = zipfile.ZipInfo(path, _THEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16  # readable by whoever the platform runs the app as
            file.writestr(info, data)
    return Package(
        file=str(out),
        files=len(content),
        bytecode=sum(path.endswith(".pyc") for path in content),
        size=out.stat().st_size,
        unpacked=sum(map(len, content.values())),
        sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
        top=sorted({path.partition("/")[0] for path in content}),
    )


def deployed(folder: Path) -> Iterator[str]:
    """Yield the files that .funcignore leaves, with slashes, below `folder`."""
    ignored = GitIgnoreSpec.from_lines((folder / ".funcignore").read_text(encoding="utf-8").splitlines())
    for parent, folders, files in os.walk(folder):
        at = PurePosixPath(*Path(parent).relative_to(folder).parts)
        folders[:] = [name for name in folders if not ignored.match_file(f"{at / name}/")]
        yield from ignored.match_files((str(at / name) for name in files), negate=True)


def bytecode(source: Path, path: str) -> bytes:
    """Compile a module; its tracebacks name `path`.

    Unchecked: unpacking changes every file's time, and asking the source instead would read it at each cold start.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "module.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(made), dfile=path, doraise=True, invalidation_mode=mode)
        return made.read_bytes()
