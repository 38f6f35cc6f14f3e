"""Who may import whom, and that nobody else's package stands in for ours."""

import ast
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

import functions
import shared

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "shared": {"azure.functions", "azurefunctions", "functions", "local", "cli", "tests", "benchmarks"},
    "functions": {"local", "cli", "tests", "benchmarks"},
    "cli": {"azure.functions", "azurefunctions", "functions", "local", "tests", "benchmarks"},
    "local": {"shared", "functions", "cli", "tests", "benchmarks"},
}


def imported(file: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_import_directions(package: str) -> None:
    """functions and cli use shared; shared knows none of them; local stands apart."""
    wrong = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in (ROOT / package).rglob("*.py")
        if "node_modules" not in file.parts
        for module in imported(file)
        for name in FORBIDDEN[package]
        if module == name or module.startswith(f"{name}.")
    ]
    assert wrong == []


# What stands on which floor of shared/; a room imports from floors below, and from itself.
FLOORS = {
    "operate": 7,
    "flow": 6,
    "app": 5,
    "ledger": 4,
    "deployed": 4,
    "settings": 4,
    "storage": 3,
    "pipelines": 3,
    "rules": 2,
    "notices": 4,
    "metrics": 3,
    "identity": 2,
    "log": 2,
    "errors": 1,
    "reading": 1,
}


def room(module: str) -> str:
    """Return the room that a module of shared/ is in."""
    return module.split(".")[1]


def test_floors_of_the_house() -> None:
    """Each module imports from floors below its own, or from its own room; a room that nobody has placed is a fault."""
    wrong = [
        f"{module} imports {other}"
        for module, others in house().items()
        for other in others
        if room(module) != room(other) and FLOORS[room(module)] <= FLOORS[room(other)]
    ]
    assert wrong == []


def test_no_circles_within_a_room() -> None:
    """Also none that only type checkers see."""
    modules = house()
    graph = {module: {other for other in others if room(other) == room(module)} for module, others in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def house() -> dict[str, set[str]]:
    """Return each module of shared/ with the modules of shared/ that it imports."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file
        for file in (ROOT / "shared").rglob("*.py")
        if file.name != "__init__.py"
    }
    return {module: (imported(file) & files.keys()) - {module} for module, file in files.items()}


@pytest.mark.parametrize("name", ["shared", "functions", "function_app", "cli", "local", "tests"])
def test_no_installed_package_shadows_ours(name: str) -> None:
    """On the platform the app's folder is last on the path, so any wheel with such a top level would win."""
    assert metadata.packages_distributions().get(name) is None


def test_our_packages_are_the_ones_imported() -> None:
    """They have an __init__, so that no namespace package can merge in."""
    assert Path(shared.__file__ or "").parent == ROOT / "shared"
    assert Path(functions.__file__ or "").parent == ROOT / "functions"


@pytest.mark.parametrize("file", sorted(p for folder in ("shared", "functions") for p in (ROOT / folder).rglob("*.py")))
def test_modules_say_what_they_are_for_and_what_they_never_do(file: Path) -> None:
    """A newcomer reads the first lines."""
    assert "ever" in (ast.get_docstring(ast.parse(file.read_text())) or "").replace("Never", "never")
