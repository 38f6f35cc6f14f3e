"""What the HTTP API takes and answers, as an OpenAPI 3.1 document, made from the app's own functions.

`python -m functions.document` writes docs/openapi.json. Never written by hand: routes come from the triggers, queries,
bodies and answers from the types that decode and encode them.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

import azure.functions as func
import msgspec

from functions import HTTP
from functions.answers import Problem
from functions.http import Contract
from shared.settings.schema import field_docs

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"
TITLE = "Retrain Trigger"
ABOUT = (
    "New training data starts the pinned version of an Azure Machine Learning pipeline: exactly one run per arrival. "
    "docs/http.md explains each call."
)
PREFIX = "/api/"
JSON, PROBLEM = "application/json", "application/problem+json"
# What every operation may answer: a request that is wrong, a row that cannot be read, configuration or storage.
ALWAYS = (400, 500, 503)
_PARAMETER = re.compile(r"\{(\w+)\}")


@cache
def text() -> str:
    """Return the document as the file has it."""
    made = func.FunctionApp()
    for blueprint in HTTP:
        made.register_functions(blueprint)
    return msgspec.json.format(msgspec.json.encode(document(made.get_functions())), indent=2).decode() + "\n"


def document(functions: Iterable[func.Function]) -> dict[str, Any]:
    """Return the document about the HTTP functions among these."""
    found = sorted(_operations(functions), key=lambda one: (one[0], one[1]))
    kinds = [kind for _, _, _, contract in found for kind in _kinds(contract)]
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(map(str, [*kinds, Problem]), schemas, strict=True))
    for kind in _structs([*kinds, Problem]):
        _describe(components, kind)
    paths = dict[str, dict[str, Any]]()
    for path, method, function, contract in found:
        paths.setdefault(path, {})[method] = _operation(path, method, function, contract, by_kind, components)
    for query in {contract.query.__name__ for _, _, _, contract in found}:
        del components[query]  # its members are parameters
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "1", "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"header": []}, {"query": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "query": {"type": "apiKey", "in": "query", "name": "code"},
            },
        },
    }


def _operations(functions: Iterable[func.Function]) -> Iterator[tuple[str, str, func.Function, Contract]]:
    """Yield path, method, function and contract of each operation."""
    for function in functions:
        trigger: Any = function.get_trigger()
        told = trigger.get_dict_repr()
        if contract := getattr(function.get_user_function(), "contract", None):
            for method in told["methods"]:
                yield f"{PREFIX}{told['route']}", str(getattr(method, "value", method)).lower(), function, contract


def _operation(
    path: str,
    method: str,
    function: func.Function,
    contract: Contract,
    schemas: dict[str, Any],
    components: dict[str, Any],
) -> dict[str, Any]:
    name = function.get_function_name()
    made: dict[str, Any] = {
        "operationId": name if method != "options" else f"{name}_handshake",
        "summary": str(function.get_user_function().__doc__).partition("\n")[0],
        "parameters": [{"name": one, "in": "path", "required": True, **_TEXT} for one in _PARAMETER.findall(path)],
        "responses": {},
    }
    if method == "options":
        made["summary"] = "The handshake of CloudEvents (abuse protection)."
        made["parameters"] = [{"name": "WebHook-Request-Origin", "in": "header", "required": True, **_WORDS}]
        made["responses"] = {"200": {"description": "Events are wanted."}, **_problems((400, 503))}
        return made
    made["parameters"] += _query(contract.query, components)
    if contract.body:
        content = {JSON: {"schema": _any_of(schemas[str(kind)] for kind in contract.body)}}
        made["requestBody"] = {"required": not contract.optional_body, "content": content}
    page: dict[str, Any] = {"text/html": _TEXT} if contract.is_page else {}
    for status, kinds in contract.answers.items():
        content = {JSON: {"schema": _any_of(schemas[str(kind)] for kind in kinds)}, **page}
        made["responses"][str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    if contract.has_form:
        made["responses"]["303"] = {"description": "To the status page, after its form"}
    always = (*ALWAYS, 403) if method == "post" else ALWAYS  # what a page of another site sends
    told = [status for status in (*always, *contract.problems) if status not in contract.answers]
    made["responses"] |= _problems(sorted(told))
    return made


_TEXT = {"schema": {"type": "string"}}
_WORDS = {"schema": {"type": "string", "minLength": 1}}


def _query(kind: type[msgspec.Struct], components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the query parameters; as schemas of their own they are of no use."""
    schema = components.get(kind.__name__, {})
    for name, one in schema.get("properties", {}).items():
        described = {"description": one["description"]} if "description" in one else {}
        plain = {key: value for key, value in one.items() if key != "description"}
        if "anyOf" in plain:  # a query has no null: what is not given is not there
            [plain] = [part for part in plain["anyOf"] if part != {"type": "null"}]
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            **described,
            "schema": plain,
        }


def _problems(statuses: Iterable[int]) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}, "text/html": _TEXT}
    return {str(status): {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _any_of(schemas: Iterable[dict[str, Any]]) -> dict[str, Any]:
    found = list(schemas)
    return found[0] if len(found) == 1 else {"anyOf": found}


def _kinds(contract: Contract) -> list[Any]:
    """Return all types of a contract."""
    answers = [kind for kinds in contract.answers.values() for kind in kinds]
    return [contract.query, *contract.body, *answers]


def _structs(kinds: Iterable[Any]) -> Iterator[type[msgspec.Struct]]:
    """Yield these types, and all that they are made of."""
    seen, left = set[Any](), list(kinds)
    while left:
        kind = left.pop()
        left += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
            seen.add(kind)
            left += [field.type for field in msgspec.structs.fields(kind)]
            yield kind


def _describe(components: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    """Write the text that follows a field in the source into its schema."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    properties = components[kind.__name__]["properties"]
    for base in kind.__mro__[:-1]:
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            for field, told in field_docs(base).items():
                properties[names[field]].setdefault("description", told)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE.name} is written.")
