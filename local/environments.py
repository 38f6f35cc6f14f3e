"""Environments for tools whose packages must bind nobody: each from its pinned list, kept in .retrain.

Never touches the project's own environment. Says why where no Python fits or the packages cannot be installed.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".retrain" / "environments"


class UnavailableError(RuntimeError):
    """There is no such environment here, and none can be made; the message says why."""


def python_of(requirements: Path, pythons: Iterable[str] = (sys.executable,)) -> Path:
    """Return the Python of an environment with these packages, made with the first of `pythons` that starts.

    Raises UnavailableError.
    """
    name = "-".join(requirements.parent.relative_to(ROOT).parts) or "deployed"
    folder = KEPT / f"{name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    base = next((path for one in pythons if (path := shutil.which(one)) and _runs(path)), None)
    if base is None:
        raise UnavailableError(f"{name} needs one of {', '.join(pythons)}, and none is on PATH: install one of them")
    uv = shutil.which("uv", path=str(ROOT / ".retrain" / "uv" / "bin")) or shutil.which("uv")
    if uv:
        steps = [[uv, "venv", "--python", base, str(folder)]]
        steps += [[uv, "pip", "install", "--python", str(python), "-r", str(requirements)]]
    else:
        steps = [[base, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-r", str(requirements)]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "no word of why").splitlines()[-1]
            raise UnavailableError(f"what {name} needs cannot be installed: {reason}")
    (folder / "complete").touch()
    return python


def _runs(python: str) -> bool:
    """Tell whether this is a Python that starts: a shim on PATH may stand for one that is not installed."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
