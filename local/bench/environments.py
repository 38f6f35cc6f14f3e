"""Who is compared, and the Python of each: its pinned packages, all compiled. Never installs into ours."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from local.bench.measure import Bench
from local.environments import ROOT, UnavailableError, python_of

SOURCES = ROOT / "benchmarks"
OURS, BARE, CORE, AI_ML, SHORTEST, RAW = (
    "this app",
    "bare packages",
    "azureml-pipeline-core",
    "azure-ai-ml",
    "shortest",
    "raw requests",
)


class Stand(NamedTuple):
    """One app, with the Python of its environment."""

    name: str
    python: Path
    app: Path
    """Its folder."""

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return packages_of(self.python)


FOLDERS = {BARE: "bare", CORE: "pipeline_core", AI_ML: "ai_ml"}
PYTHONS = {CORE: ("python3.11", "python3.10")}


def stands(bench: Bench, missing: list[str], *names: str) -> dict[str, Stand]:
    """Return the apps, or those of some names, whose environments can be made here; why others cannot: `missing`.

    Raises UnavailableError where this app's own cannot.
    """
    found = dict[str, Stand]()
    for name, folder in {OURS: None, **FOLDERS}.items():
        if names and name not in names:
            continue
        app = SOURCES / folder if folder else ROOT
        bench.say(f"{name}: an environment of its own ...")
        try:
            python = compiled(python_of(app / "requirements.txt", PYTHONS.get(name, (sys.executable,))))
        except UnavailableError as error:
            if name == OURS:
                raise
            missing.append(f"{name}: {error}")
        else:
            found[name] = Stand(name, python, app)
    return found


def worker_packages() -> Path:
    """Return the folder of the platform's worker library, which is on no app's own path. Raises UnavailableError."""
    return packages_of(compiled(python_of(SOURCES / "worker" / "requirements.txt")))


def packages_of(python: Path) -> Path:
    """Return the site-packages of an environment."""
    found = sorted(python.parents[1].glob("lib/python*/site-packages")) or [python.parents[1] / "Lib/site-packages"]
    return found[0]


def compiled(python: Path) -> Path:
    """Compile all packages of an environment, once, as pip does where the platform builds."""
    done = python.parents[1] / "compiled"
    if not done.exists():
        command = [str(python), "-m", "compileall", "-q", "-j", "0", str(packages_of(python))]
        subprocess.run(command, check=False, capture_output=True)  # some packages carry files that no Python takes
        done.touch()
    return python
