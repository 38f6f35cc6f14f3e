"""Who may import whom, and that nobody else's package stands in for ours."""

import ast
from importlib import metadata
from pathlib import Path

import pytest

import functions
import shared

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "shared": {"azure.functions", "azurefunctions", "functions", "local", "cli", "tests"},
    "functions": {"local", "cli", "tests"},
    "cli": {"azure.functions", "azurefunctions", "functions", "local", "tests"},
    "local": {"shared", "functions", "cli", "tests"},
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
