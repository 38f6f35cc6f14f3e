"""The JSON Schema of retrain.toml, for editors: made from the types, so that it cannot say anything else.

`python -m shared.settings.schema` writes docs/retrain.schema.json. Never used by the app itself, which has `read.py`.
"""

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.rules import rule
from shared.settings import model
from shared.settings.model import Datastore, LedgerTable, Pipeline

FILE = Path(__file__).parents[2] / "docs" / "retrain.schema.json"
TITLE = "retrain.toml: which new data starts which pinned pipeline"
# Any text may take an app setting instead: then its form is known only when the app reads it.
_SETTING = {"type": "string", "pattern": "%[A-Za-z_][A-Za-z0-9_]*%"}
_FORMS = {"pattern", "format"}


class File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What retrains what."""

    datastores: Annotated[dict[str, Datastore], Meta(extra_json_schema={"minProperties": 1})]
    """Storage containers, by the name that they are registered under in the workspace."""
    pipelines: Annotated[dict[str, Pipeline], Meta(extra_json_schema={"minProperties": 1})]
    """What is started, each at a pinned version; the names are this file's own."""
    rules: Annotated[list[rule.Rule], Meta(min_length=1)]
    """Which arrivals start which pipeline with which parameters."""
    ledger: LedgerTable = LedgerTable()
    """Where it is written down what was started."""


def schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12)."""
    made = msgspec.json.schema(File)
    for name, definition in made["$defs"].items():
        kind = next(found for place in (sys.modules[__name__], model, rule) if (found := getattr(place, name, None)))
        for field, text in field_docs(kind).items():
            definition["properties"][field].setdefault("description", text)
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": TITLE, **made}
    loose: dict[str, Any] = _with_settings(made)
    return loose


def text() -> str:
    """Return the schema as the file has it."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


def field_docs(kind: type) -> dict[str, str]:
    """Return the text that follows each of a class's own fields."""
    [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    docs = dict[str, str]()
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            docs[field.target.id] = " ".join(str(after.value.value).split())
    return docs


def _with_settings(node: Any) -> Any:
    """Let every text that must have a form be an app setting too."""
    if isinstance(node, list):
        return [_with_settings(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "enum" in node or (node.get("type") == "string" and node.keys() & _FORMS):
        outside = {key: value for key, value in node.items() if key in ("description", "default", "title")}
        inside = {key: value for key, value in node.items() if key not in outside}
        return {**outside, "anyOf": [inside, _SETTING]}
    return {key: value if key == "kind" else _with_settings(value) for key, value in node.items()}


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE.name} is written.")
