"""The package that is deployed: what is in it, and that it runs where there is nothing but what is deployed."""

import json
import os
import stat
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local.package import Package, build
from tests.environments import python_of
from tests.samples import ENDPOINT_URL

ROOT = Path(__file__).parent.parent
TOP = {"__pycache__", "function_app.py", "functions", "host.json", "requirements.txt", "retrain.toml", "shared"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of this working copy, by the command."""
    out = tmp_path_factory.mktemp("package") / "package.zip"
    line = [sys.executable, "-m", "local", "package", "--out", str(out), "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return Package(**json.loads(done.stdout))


@pytest.fixture(scope="module")
def unpacked(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it lies in the cloud: unpacked, and read-only."""
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(package.file) as file:
        file.extractall(folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return folder


def names(package: Package) -> set[str]:
    """Return what is in the zip."""
    with zipfile.ZipFile(package.file) as file:
        return {*file.namelist()}


def state(folder: Path) -> set[tuple[str, int, int]]:
    """Return what is in a folder, with times and sizes: who may do everything may write into what is read-only."""
    return {
        (str(path.relative_to(folder)), path.stat().st_mtime_ns, path.stat().st_size)
        for path in [folder, *folder.rglob("*")]
    }


def test_only_what_runs_in_the_cloud(package: Package) -> None:
    """Whatever else is in the project's folder: what is new there is thought of here."""
    assert {name.partition("/")[0] for name in names(package)} == {*package.top} == TOP


def test_every_module_and_its_bytecode(package: Package) -> None:
    """.funcignore takes away nothing that the app imports; a template is content, too."""
    sources = {name for name in names(package) if name.endswith(".py")}
    tracked = {
        path.relative_to(ROOT).as_posix() for room in ("functions", "shared") for path in (ROOT / room).rglob("*.py")
    }
    assert sources == {"function_app.py", *tracked}
    assert package.bytecode == len(sources)
    for source in sources:
        folder, _, module = source.rpartition("/")
        assert f"{folder}/__pycache__/{module[:-3]}.cpython-313.pyc".lstrip("/") in names(package)
    templates = {f"functions/templates/{path.name}" for path in (ROOT / "functions" / "templates").iterdir()}
    assert templates <= names(package)


def test_files_and_bytes_are_told(package: Package) -> None:
    """A file counted twice would be there twice: some unzip programs ask then, and wait."""
    with zipfile.ZipFile(package.file) as file:
        infos = file.infolist()
    assert package.files == len(infos) == len(names(package))
    others = {name for name in names(package) if not name.endswith((".py", ".pyc"))}
    assert package.files == 2 * package.bytecode + len(others)
    assert package.size == Path(package.file).stat().st_size
    assert package.unpacked == sum(info.file_size for info in infos)
    assert {stat.S_IMODE(info.external_attr >> 16) for info in infos} == {0o644}


def test_bytecode_is_taken_whatever_the_sources_time(package: Package) -> None:
    """Its flags say that nobody looks at the source."""
    with zipfile.ZipFile(package.file) as file:
        flags = {file.read(name)[4:8] for name in names(package) if name.endswith(".pyc")}
    assert flags == {(0b01).to_bytes(4, "little")}


def test_the_same_files_make_the_same_package(package: Package, tmp_path: Path) -> None:
    """Byte for byte, so that what was tested is known again when it is deployed."""
    assert build(ROOT, tmp_path / "other.zip").sha256 == package.sha256


def test_what_is_packed_is_what_funcignore_leaves(tmp_path: Path) -> None:
    """Also what nobody has thought of; a name that is ignored is ignored at any depth, what is in it, too."""
    (tmp_path / ".funcignore").write_text("local.settings*.json\ntests\n*.md\n!keep.md\n")
    for name in ("a.py", "b/tests/c.py", "b/README.md", "b/keep.md", "local.settings.json", "b/ü #%20.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    made = build(tmp_path, tmp_path / "out" / "package.zip")
    packed = {name for name in names(made) if not name.endswith(".pyc")}
    assert packed == {".funcignore", "a.py", "b/keep.md", "b/ü #%20.txt"}


def test_workflow_deploys_the_package() -> None:
    """What the command makes is what is handed on and deployed."""
    workflow = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    made, handed_on, deployed = (
        workflow.index(text)
        for text in ("run: ./retrain package --out package.zip", "path: package.zip", "--from-package package.zip")
    )
    assert made < handed_on < deployed


@pytest.fixture(scope="module")
def told(unpacked: Path, storage: str) -> dict[str, Any]:
    """What the app of the package said to the worker library, with the packages of requirements.txt and no others."""
    environ = {
        "PATH": os.environ["PATH"],
        "AzureWebJobsStorage": storage,
        "TrainingStorage": storage,
        "TRAINING_CONTAINER": f"c{uuid.uuid4().hex}",
        "INCOME_ENDPOINT_URL": ENDPOINT_URL,
    }
    python = python_of(ROOT / "requirements.txt")
    before = state(unpacked)
    line = [str(python), "-m", "tests.package_worker", str(unpacked)]
    done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert state(unpacked) == before
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_package_is_indexed(told: dict[str, Any]) -> None:
    """With all its functions, from where nothing can be written and no package is there that is not deployed."""
    assert {"arrive_training", "retrain", "status", "tick"} <= {*told["functions"]}


def test_package_answers(told: dict[str, Any]) -> None:
    """GET /api/status, asked twice: the ledger is made, and read."""
    for answer in told["answers"]:
        assert answer["status"] == "200"
        assert [rule["name"] for rule in answer["body"]["rules"]] == ["income-files"]


def test_nothing_of_ours_is_compiled_in_the_cloud(told: dict[str, Any]) -> None:
    """Every module came from the bytecode in the package."""
    assert {"function_app", "functions.operate", "shared.app"} <= {*told["modules"]}
    assert told["compiled"] == []


def test_no_request_to_storage_is_logged(told: dict[str, Any]) -> None:
    """The SDK would write a dozen lines for each, with addresses; host.json does not reach what the worker logs."""
    assert [line for line in told["logged"] if line["logger"].startswith("azure.core")] == []
    assert told["logged"] != []
