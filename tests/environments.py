"""Environments for tools whose packages must bind nobody: each from its pinned list, kept in .retrain.

Skips the test, with the reason, where no Python fits or the packages cannot be installed.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def python_of(requirements: Path, pythons: Iterable[str] = (sys.executable,)) -> Path:
    """Return the Python of an environment with these packages, made with the first of `pythons` that starts."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".retrain" / requirements.parent.name / digest
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    base = next((path for name in pythons if (path := shutil.which(name)) and _runs(path)), None)
    if base is None:
        pytest.skip(f"{requirements.parent.name} needs one of {', '.join(pythons)}; none is on PATH")
    uv = shutil.which("uv", path=str(ROOT / ".retrain" / "uv" / "bin")) or shutil.which("uv")
    if uv:
        steps = [[uv, "venv", "--python", base, str(folder)]]
        steps += [[uv, "pip", "install", "--python", str(python), "-r", str(requirements)]]
    else:
        steps = [[base, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-r", str(requirements)]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"{requirements.parent.name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    (folder / "complete").touch()
    return python


def _runs(python: str) -> bool:
    """Tell whether this is a Python that starts: a shim on PATH may stand for one that is not installed."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
