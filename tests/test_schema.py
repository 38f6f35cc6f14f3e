"""The JSON Schema of retrain.toml: up to date, and of one mind with the app about real files."""

import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from shared.settings import read, schema
from tests.test_docs_rules import BLOCKS, HEAD, named
from tests.test_settings import RICH

SHIPPED = read.FILE.read_text(encoding="utf-8")


def complaints(text: str) -> list[str]:
    """Return what the schema says against a file."""
    validator = Draft202012Validator(schema.schema(), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(_as_json(tomllib.loads(text)))]


def _as_json(value: Any) -> Any:
    """Return TOML's values as an editor hands them to the schema: times are text there."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


def test_file_is_what_the_types_say() -> None:
    """After a change of the types: `python -m shared.schema`."""
    assert schema.FILE.read_text(encoding="utf-8") == schema.text()


def test_schema_is_one() -> None:
    """By the rules of JSON Schema itself."""
    Draft202012Validator.check_schema(schema.schema())


def test_shipped_file_names_the_schema_and_keeps_to_it() -> None:
    """Editors read the first line; the path is relative to the file."""
    first = SHIPPED.splitlines()[0]
    assert first.startswith("#:schema ")
    assert (read.FILE.parent / first.removeprefix("#:schema ")) == schema.FILE
    assert complaints(SHIPPED) == []
    assert complaints(SHIPPED + RICH) == []


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_rules_of_the_documentation_keep_to_it(block: str) -> None:
    """What the app takes, an editor takes."""
    assert complaints(HEAD + block) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('version = "1"\n', "", "$.pipelines.income"),
        ('version = "1"', 'version = "latest"', "$.pipelines.income"),
        ('name = "income-files"', 'nam = "income-files"', "$.rules[0]"),
        ('grain = "file"', 'grain = "files"', "$.rules[0].data_path.grain"),
        ('grain = "file"', 'gran = "file"', "$.rules[0].data_path"),
        ('path = "income/**/*.csv"', 'path = "**"\nmax_active = 0', "$.rules[0].max_active"),
        ('path = "income/**/*.csv"', 'path = "**"\nsettle = { quiet = "5 minutes" }', "$.rules[0].settle"),
        ("[[rules]]", "[[rulez]]", "$"),
    ],
)
def test_faults_that_an_editor_shows(old: str, new: str, where: str) -> None:
    """Unknown and missing keys, wrong forms: while typing, not after deploying."""
    assert old in SHIPPED
    found = complaints(SHIPPED.replace(old, new, 1))
    assert found
    assert all(item.startswith(where) for item in found)


def test_every_key_is_described() -> None:
    """An editor shows it beside the key."""
    definitions = schema.schema()["$defs"]
    bare = [
        f"{name}.{key}"
        for name in ("File", "Rule", "Settle", "Example", "DataPathParameter", "FurtherDataPath", "Datastore")
        for key, value in definitions[name]["properties"].items()
        if "description" not in value
    ]
    assert bare == []
    assert Path(schema.FILE).name == "retrain.schema.json"
