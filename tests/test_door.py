"""The door script `retrain`, in a folder of its own, with stand-ins for uv, node and npm: nothing is downloaded."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

from cli.commands import commands as operators_commands
from local.__main__ import main as local_commands

ROOT = Path(__file__).parents[1]
BASE = str(Path(getattr(sys, "_base_executable", sys.executable)))  # the Python that this environment was made from

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are POSIX scripts")

# Each stand-in writes down that it was called; `fail-NAME` beside it makes it fail.
TOOL = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).with_suffix("")
if sys.argv[1:] == ["--version"]:
    sys.exit(print("v22.0.0"))
with (here.parent / "calls").open("a") as calls:
    calls.write(json.dumps([here.name, *sys.argv[1:]]) + "\\n")
if (here.parent / f"fail-{{here.name}}").exists():
    sys.exit("the registry is on holiday")
{body}
"""
# "Installs" one package, a pytest that only says how it was started.
UV = """
if sys.argv[1:3] == ["pip", "sync"]:
    python = pathlib.Path(sys.argv[sys.argv.index("--python") + 1])
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    (site / "pytest.py").write_text('''
import json, os, sys
names = ("PYTHONPATH", "VIRTUAL_ENV", "PATH")
print(json.dumps([sys.prefix, os.getcwd(), sys.argv[1:], {name: os.environ.get(name) for name in names}]))
''')
else:
    sys.exit(1)
"""
NPM = "(pathlib.Path.cwd() / 'node_modules').mkdir(exist_ok=True)"


class Door:
    """A copy of the door in a folder of its own, with a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "a project", folder / "bin"
        (self.root / "local").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / "retrain", self.root)
        for name in ("requirements.txt", "package.json", "package-lock.json"):
            (self.root / "local" / name).write_text("{}")
        for name, body in {"uv": UV, "node": "", "npm": NPM}.items():
            self.tool(name, body)
        self.env = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder), "RETRAIN_PYTHON": BASE}

    def tool(self, name: str, body: str) -> None:
        """Put a program on PATH."""
        script, tool = self.bin / f"{name}.py", self.bin / name
        script.write_text(TOOL.format(body=body))
        tool.write_text(f'#!/bin/sh\nexec "{BASE}" "{script}" "$@"\n')  # a #! line takes no path with spaces
        tool.chmod(0o755)

    def begin(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the door, from another folder than its own."""
        command = [BASE, str(self.root / "retrain"), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.env | env, cwd="/", stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        """Run the door; return exit code, stdout and stderr."""
        with self.begin(*arguments, **env) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def calls(self) -> list[str]:
        """Return which tools have been called since the last look."""
        file = self.bin / "calls"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return [" ".join(call[:3]) if call[0] == "uv" else call[0] for call in calls]

    def module(self) -> ModuleType:
        """Return the door as a module."""
        loader = importlib.machinery.SourceFileLoader("door", str(self.root / "retrain"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("door", loader))  # type: ignore[arg-type]
        loader.exec_module(module)
        return module


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A door behind which nothing has been set up."""
    return Door(tmp_path)


@pytest.fixture
def used(door: Door) -> Door:
    """A door behind which everything has been set up."""
    code, _, err = door.run("test")
    assert code == 0, err
    assert door.calls() == ["uv pip sync", "npm"]
    return door


def test_no_arguments_list_each_command(door: Door) -> None:
    """Help names every command with its help, and needs no set-up."""
    code, out, _ = door.run()
    assert code == 0
    for name, command in door.module().COMMANDS.items():
        assert f"  {name} " in out
        assert command.help in out
    assert door.calls() == []


@pytest.mark.parametrize(("module", "has"), [("local", local_commands), ("cli", operators_commands)])
def test_each_command_exists(door: Door, module: str, has: click.Group) -> None:
    """What help lists for a module is what it has, and the other way round."""
    listed = {name for name, command in door.module().COMMANDS.items() if command.module == module}
    assert listed == set(has.commands)


def test_unknown_command(door: Door) -> None:
    """It is named, and the ones that exist are listed; exit code 2."""
    code, out, err = door.run("retain")
    assert (code, out) == (2, "")
    assert "no command 'retain'" in err
    assert "demo" in err


@pytest.mark.parametrize(("typed", "meant"), [("histroy", "history"), ("strat", "start"), ("chekc", "check")])
def test_mistyped_command(door: Door, typed: str, meant: str) -> None:
    """One line, with what may be meant; nothing is set up."""
    code, out, err = door.run(typed)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert meant in err.partition("Did you mean ")[2]
    assert door.calls() == []


@pytest.mark.parametrize("words", [["--version"], ["history", "--version"], ["start", "--version"]])
def test_version(door: Door, words: list[str]) -> None:
    """That of pyproject.toml, without any set-up."""
    (door.root / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.2.3"\n')
    assert door.run(*words)[:2] == (0, "retrain-trigger 1.2.3\n")
    assert door.calls() == []


def test_operators_command_needs_no_emulator(door: Door) -> None:
    """Neither Node.js nor Azurite is installed for it."""
    door.run("history")
    assert door.calls() == ["uv pip sync"]


def test_command_runs_in_the_environment_that_was_made(used: Door) -> None:
    """From any folder, in a path with spaces, whatever other Python the variables are about."""
    code, out, _ = used.run("test", "-k", "a b", PYTHONPATH="/elsewhere", VIRTUAL_ENV="/other", PYTHONSAFEPATH="1")
    prefix, folder, arguments, env = json.loads(out)
    venv = str(used.root / ".venv")
    assert (code, prefix, folder, arguments) == (0, venv, str(used.root), ["-k", "a b"])
    assert (env["PYTHONPATH"], env["VIRTUAL_ENV"]) == (None, venv)
    assert env["PATH"].startswith(f"{venv}/bin:")


def test_nothing_is_stale(used: Door) -> None:
    """A warm start calls no tool and says nothing."""
    assert used.run("test")[2] == ""
    assert used.calls() == []


def _package_lock(door: Door) -> None:
    (door.root / "local" / "package-lock.json").write_text('{"new": 1}')


def _requirements(door: Door) -> None:
    (door.root / "local" / "requirements.txt").write_text("new")


def _interrupted(door: Door) -> None:
    (door.root / ".venv" / "retrain-stamp.json").write_text('{"set_up"')


def _interpreter_gone(door: Door) -> None:
    for python in (door.root / ".venv" / "bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nonexistent/python3.13")


def _moved(door: Door) -> None:
    door.root = door.root.rename(door.root.parent / "moved project")


def _no_node_modules(door: Door) -> None:
    shutil.rmtree(door.root / "local" / "node_modules")


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        (_package_lock, ["npm"]),
        (_no_node_modules, ["npm"]),
        (_requirements, ["uv pip sync"]),
        (_interrupted, ["uv pip sync"]),
        (_interpreter_gone, ["uv pip sync"]),
        (_moved, ["uv pip sync"]),
    ],
)
def test_something_is_stale(used: Door, change: Callable[[Door], None], redone: list[str]) -> None:
    """Only what is stale is redone, and the command runs in this folder's environment."""
    change(used)
    code, out, err = used.run("test")
    assert code == 0, err
    assert used.calls() == redone
    assert json.loads(out)[0] == str(used.root / ".venv")


def test_two_at_once(door: Door) -> None:
    """Both work, and the set-up is done once."""
    with door.begin("test") as one, door.begin("test") as two:
        outputs = [process.communicate(timeout=60) for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    assert door.calls() == ["uv pip sync", "npm"]


def test_step_fails(door: Door) -> None:
    """The message has the step, the command, its last words and what to do; the next try goes on from there."""
    (door.bin / "fail-npm").touch()
    code, out, err = door.run("test")
    assert (code, out) == (1, "")
    for part in ("Step failed: Installing Azurite", "npm ci", "the registry is on holiday", "What to do"):
        assert part in err
    (door.bin / "fail-npm").unlink()
    door.calls()
    assert door.run("test")[0] == 0
    assert door.calls() == ["npm"]


def test_python_on_path_is_a_shim_that_fails(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name on PATH proves nothing: the next candidate that really runs is taken."""
    shim = door.bin / "python3.13"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    (door.bin / "python3").symlink_to(BASE)
    monkeypatch.setenv("PATH", f"{door.bin}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(door.root))
    monkeypatch.delenv("RETRAIN_PYTHON", raising=False)
    module = door.module()
    assert "command not found" in module.try_python(["python3.13"])["fault"]
    assert module.try_python([module.find_python()])["version"].startswith("3.13.")


def test_newest_python_of_pyenv_comes_first(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """3.13.10 is newer than 3.13.9."""
    for version in ("3.13.9", "3.13.10", "3.12.4"):
        (door.root / "versions" / version).mkdir(parents=True)
    monkeypatch.setenv("PYENV_ROOT", str(door.root))
    found = [candidate for candidate in door.module().candidates() if candidate.startswith(str(door.root))]
    assert [Path(candidate).parents[1].name for candidate in found] == ["3.13.10", "3.13.9"]


def test_no_python_and_none_to_be_had(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what was looked at, why each was not taken, why fetching failed, and what to do."""
    (door.bin / "fail-uv").touch()
    monkeypatch.setenv("PATH", f"{door.bin}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(door.root))
    monkeypatch.delenv("RETRAIN_PYTHON", raising=False)
    module = door.module()
    monkeypatch.setattr(module, "PYTHON", (3, 99))
    with pytest.raises(module.SetUpError) as caught:
        module.find_python()
    message = str(caught.value)
    for part in ("Fetching Python", "on holiday", f"{sys.executable}: it is Python 3.13", "RETRAIN_PYTHON="):
        assert part in message


def test_override_names_no_python(door: Door) -> None:
    """RETRAIN_PYTHON is never passed over in silence."""
    code, _, err = door.run("test", RETRAIN_PYTHON="/bin/false")
    assert code == 1
    assert "RETRAIN_PYTHON=/bin/false is of no use" in err
    assert os.path.lexists(door.root / ".venv") is False
