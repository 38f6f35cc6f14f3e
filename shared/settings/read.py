"""retrain.toml and the app settings -> frozen Settings, once; or one ConfigurationError that lists all faults.

Never talks to a service, and never fills in a version: a run goes to the version that is written down, or nowhere.
"""

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from shared import reading
from shared.errors import ConfigurationError, shown
from shared.pipelines.address import Address
from shared.pipelines.target import PUBLIC
from shared.rules.check import faults as rule_faults
from shared.rules.fill import text_fault
from shared.rules.loops import starts_again
from shared.rules.rule import DataPathParameter, Rule
from shared.settings.app_settings import app_settings
from shared.settings.model import (
    DEFAULT_CONNECTION,
    KINDS,
    Datastore,
    LedgerTable,
    Output,
    Pipeline,
    Settings,
)
from shared.settings.places import Keys, Place, nearest, places
from shared.storage import connection

FILE = Path(__file__).parents[2] / "retrain.toml"
LONGEST_FAULT = 600  # characters: what is quoted in it may be of any length


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read `file` and the app settings. Raises ConfigurationError with every fault: file, key, value, expectation.

    Left out, `file` is what the app setting RETRAIN_FILE names, else retrain.toml at the app's root.
    """
    file = file or Path(environ.get("RETRAIN_FILE") or FILE)
    try:
        text = file.read_text(encoding="utf-8-sig")  # editors put a byte order mark in front
        data = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigurationError([f"{file.name}: cannot be read: its values are nested too deep"]) from error
    except tomllib.TOMLDecodeError as error:
        at = _PARSED_TO.search(str(error))
        place = f":{at[1]}:{at[2]}" if at else ""
        raise ConfigurationError([f"{file.name}{place}: is no TOML: {_PARSED_TO.sub('', str(error))}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{file.name}: cannot be read: {error}"]) from error
    reader = _Reader(file.name, text, environ)
    data = reader.expand(data, "")
    for key in data.keys() - {"datastores", "pipelines", "rules", "ledger"}:
        reader.fault(key, f"unknown table{_nearest(key, ('datastores', 'pipelines', 'rules', 'ledger'))}")
    tables = reader.tables(data, "datastores", _DATASTORE)
    datastores = {name: reader.struct(Datastore, value, where) for name, value, where in tables}
    tables = reader.tables(data, "pipelines", _NAME)
    pipelines = {name: reader.pipeline(value, where) for name, value, where in tables}
    rules = reader.rules(data.get("rules", []), datastores, pipelines)
    ledger = reader.struct(LedgerTable, data.get("ledger", {}), "ledger")
    connected = [
        ("ledger", data.get("ledger", {})),
        *((f"datastores.{name}", data["datastores"][name]) for name in datastores),
    ]
    for where, table in connected:
        if isinstance(table, dict):
            name = table.get("connection", DEFAULT_CONNECTION)
            reader.check(f"{where}.connection", name, lambda name: _check_connection(name, environ))
    settings = Settings(
        datastores={name: value for name, value in datastores.items() if value},
        pipelines={name: value for name, value in pipelines.items() if value},
        rules=tuple(rules),
        ledger=ledger or LedgerTable(),
        **app_settings(environ, reader.app_setting_fault),
    )
    for where, text in _output_faults(settings):
        reader.fault(where, text)
    if reader.faults:
        raise ConfigurationError(reader.faults)
    return settings


def _output_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with outputs: with a name, or with a place that a rule watches, a loop without end."""
    for name, pipeline in settings.pipelines.items():
        for output, told in pipeline.written().items():
            where = f"pipelines.{name}.outputs.{output}"
            if not _OUTPUT.fullmatch(output):
                yield where, f"is no name of an output; expected {_FORMS[_OUTPUT]}"
            for rule in settings.rules:
                if settings.same_place(told.datastore, rule.datastore) and (blob := starts_again(rule, told.folder)):
                    yield where, loop(told, rule, blob)


def loop(output: Output, rule: Rule, blob: str) -> str:
    """Return what is wrong with an output that a rule watches, and what to do."""
    return (
        f"{output.path!r} lies in what rule {rule.name!r} watches: {blob!r} would start a run, which writes there "
        "again, without end; write elsewhere, or add what is written to the rule's `ignore`"
    )


# A rule's name is a partition of the ledger and part of a filter; a datastore's name becomes a function's name.
_NOWHERE = (sys.maxsize, 0)
_PARSED_TO = re.compile(r" \(at line (\d+), column (\d+)\)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OUTPUT = re.compile(r"[A-Za-z0-9_]{1,255}")
_DATASTORE = re.compile(r"[A-Za-z0-9_]{1,100}")
_FORMS = {
    _NAME: "1 to 100 letters, digits, dots, dashes and underscores, the first a letter or digit",
    _OUTPUT: "letters, digits and underscores",
    _DATASTORE: "1 to 100 letters, digits and underscores",
}
# %NAME%, but not within the braces of a rule's captures and fields, where `%Y%m%d` is the form of a date.
_SETTING = re.compile(r"\{\{|\}\}|\{[^{}]*\}|%([A-Za-z_][A-Za-z0-9_]*)%")
# What a rule is checked with in place of a key that has a fault already, and the keys that say nothing sure then.
_STAND_INS: dict[str, Any] = {
    "name": "",
    "datastore": "",
    "pipeline": "",
    "path": "**",
    "data_path": DataPathParameter(parameter="?"),
}
_TEMPLATES = {"parameters", "data_paths", "experiment", "tags", "description"}
_DEPENDENT = {"path": {"data_path", *_TEMPLATES}, "data_path": {"data_path", "settle", *_TEMPLATES}}
_UNSET: Any = object()  # stands for a value that needs an app setting that is not there; the fault is noted already

Struct = TypeVar("Struct", bound=msgspec.Struct)


class _Reader:
    """Turns plain data into the types above and collects faults on the way, so that one look shows all of them."""

    def __init__(self, file: str, text: str, environ: Mapping[str, str]) -> None:
        self.file, self.text, self.environ = file, text, environ
        self.noted = list[tuple[Place, str]]()

    @cached_property
    def places(self) -> dict[Keys, Place]:
        """Where each key is; needed only when there is a fault."""
        return places(self.text)

    def fault(self, where: str, text: str) -> None:
        text = text if len(text) <= LONGEST_FAULT else f"{text[:LONGEST_FAULT]}..."
        place = nearest(self.places, where)
        at = f":{place[0]}:{place[1]}" if place else ""
        self.noted.append((place or _NOWHERE, f"{self.file}{at}: {where}: {text}"))

    def app_setting_fault(self, name: str, text: str) -> None:
        self.noted.append((_NOWHERE, f"app setting {name}: {text}"))

    @property
    def faults(self) -> list[str]:
        """All faults, in the order of the file; those of no line last."""
        return [text for _, text in sorted(self.noted, key=lambda one: one[0])]

    def expand(self, value: Any, where: str) -> Any:
        """Replace %NAME% in all strings by the app setting of that name, as Functions bindings do."""
        if isinstance(value, dict):
            return {key: self.expand(item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expand(item, f"{where}[{number}]") for number, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        unset = [name for name in _SETTING.findall(value) if name and not self.environ.get(name)]
        for name in unset:
            self.fault(where, f"the app setting {name!r} is not set (value {shown(value)})")
        return _UNSET if unset else _SETTING.sub(lambda found: self.environ[found[1]] if found[1] else found[0], value)

    def tables(self, data: dict[str, Any], key: str, names: re.Pattern[str]) -> list[tuple[str, Any, str]]:
        """Return (name, value, where) of each table under `key`."""
        tables = data.get(key)
        if not isinstance(tables, dict) or not tables:
            self.fault(key, f"missing; expected at least one table [{key}.NAME]")
            return []
        for name in tables:
            if not names.fullmatch(name):
                self.fault(f"{key}.{name}", f"{shown(name)} is no name here; expected {_FORMS[names]}")
        return [(name, value, f"{key}.{name}") for name, value in tables.items()]

    def struct(self, kind: type[Struct], data: Any, where: str) -> Struct | None:
        """Build `kind` from a table, noting a fault for each key that is unknown, missing or of a wrong type."""
        values, complete = self.fields(kind, data, where)
        return kind(**values) if complete else None

    def fields(self, kind: type[msgspec.Struct], data: Any, where: str) -> tuple[dict[str, Any], bool]:
        """Return the sound values of a table by field, and whether that is all of them; faults are noted."""
        if data is _UNSET:
            return {}, False
        if not isinstance(data, dict):
            self.fault(where, f"expected a table, got {shown(data)}")
            return {}, False
        before = len(self.noted)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key in data.keys() - fields.keys():
            self.fault(f"{where}.{key}", f"unknown key{_nearest(key, fields)}")
        values = {}
        for key, field in fields.items():
            if key not in data:
                if field.required:
                    self.fault(f"{where}.{key}", f"missing; expected {_expected(field.type)}")
            elif not _lacks_setting(data[key]):
                count = len(self.noted)
                value = self.value(field.type, data[key], f"{where}.{key}")
                if len(self.noted) == count:
                    values[field.name] = value
        return values, len(self.noted) == before and not _lacks_setting(data)

    def value(self, kind: Any, data: Any, where: str) -> Any:
        """Convert one value; a nested table, or each of several, by `struct`."""
        if isinstance(inner := _required(kind), type) and issubclass(inner, msgspec.Struct):
            return self.struct(inner, data, where)
        if get_origin(kind) is list and isinstance(data, list):
            return [self.value(get_args(kind)[0], item, f"{where}[{number}]") for number, item in enumerate(data)]
        if get_origin(kind) is dict and isinstance(data, dict):
            return {key: self.value(get_args(kind)[1], item, f"{where}.{key}") for key, item in data.items()}
        try:
            return reading.convert(data, kind)
        except msgspec.ValidationError:  # in its own words, which are a library's
            self.fault(where, f"expected {_expected(kind)}; got {shown(data)}")
            return None

    def pipeline(self, data: Any, where: str) -> Pipeline | None:
        """Build the pipeline of the kind that the table names."""
        if not isinstance(data, dict) or data.get("kind") not in KINDS:
            got = data.get("kind", "nothing") if isinstance(data, dict) else data
            self.fault(f"{where}.kind", f"expected one of {', '.join(KINDS)}; got {shown(got)}")
            return None
        kind = data["kind"]
        pipeline = self.struct(KINDS[kind], {key: value for key, value in data.items() if key != "kind"}, where)
        workspace = str(data.get("workspace", ""))
        url = data.get("url", PUBLIC if kind == "component_job" else None)
        self.check(f"{where}.url", url, lambda url: _check_address(url, kind, workspace))
        self.check(f"{where}.experiment", data.get("experiment"), _check_experiment)
        return pipeline

    def rules(self, data: Any, datastores: Mapping[str, object], pipelines: Mapping[str, object]) -> list[Rule]:
        """Build the rules and check what each refers to."""
        if not isinstance(data, list) or not data:
            self.fault("rules", "missing; expected at least one [[rules]] table")
            return []
        rules, names = list[Rule](), list[object]()
        for number, item in enumerate(data):
            name = item.get("name") if isinstance(item, dict) else None
            where = f"rules[{number}]" + (f" ({name})" if isinstance(name, str) else "")
            values, complete = self.fields(Rule, item, where)
            if complete:
                rules.append(Rule(**values))
            if not isinstance(item, dict):
                continue
            # What is sound is checked all the same: a fault in one key must not hide one in another.
            self.check(f"{where}.name", name, lambda name: _check_rule_name(name, names))
            self.check(f"{where}.datastore", item.get("datastore"), lambda name: _check_known(name, datastores))
            self.check(f"{where}.pipeline", item.get("pipeline"), lambda name: _check_known(name, pipelines))
            hidden = {key for lacking in _STAND_INS.keys() - values.keys() for key in _DEPENDENT.get(lacking, ())}
            hidden |= set() if "settle" in values or "settle" not in item else {"settle"}
            for key, text in rule_faults(Rule(**{**_STAND_INS, **values})):
                if re.split(r"[.\[]", key)[0] not in hidden:
                    self.fault(f"{where}.{key}", text)
            names.append(name)
        return rules

    def check(self, where: str, value: object, parse: Callable[[str], object]) -> None:
        """Note the text of `parse`'s ValueError as a fault; a value that is no text has a fault already."""
        if isinstance(value, str):
            try:
                parse(value)
            except ValueError as error:
                self.fault(where, f"{shown(value)}: {error}")


def _check_address(url: str, kind: str, workspace: str) -> None:
    if kind == "component_job":
        Address.of_component(url, workspace, "")
        return
    address = Address.of_batch(url, workspace) if kind == "batch_endpoint" else Address.parse(url)
    if address.kind != kind:
        raise ValueError(f"this is the address of a {address.kind}; kind says {kind!r}")


def _check_experiment(name: str) -> None:
    if fault := text_fault("experiment", name):
        raise ValueError(fault)


def _check_rule_name(name: str, others: list[object]) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"is no name here; expected {_FORMS[_NAME]}")
    if name in others:
        raise ValueError("there is another rule of this name; a rule's name is part of every key")


def _check_known(name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ValueError(f"not defined in this file{_nearest(name, known)}")


def _check_connection(name: str, environ: Mapping[str, str]) -> None:
    if set(name) & set(";=/?&"):
        raise ValueError("this is no name; give the name of the app setting that holds the connection string")
    if fault := connection.fault(name, environ):
        raise ValueError(fault)


def _lacks_setting(data: Any) -> bool:
    """Tell whether a value needs an app setting that is not there, somewhere in it."""
    if isinstance(data, dict | list):
        return any(_lacks_setting(item) for item in (data.values() if isinstance(data, dict) else data))
    return data is _UNSET


def _required(kind: Any) -> Any:
    """Return `kind` without `| None`."""
    inner = [item for item in get_args(kind) if item is not type(None)]
    return inner[0] if get_origin(kind) in (Union, UnionType) and len(inner) == 1 else kind


def _description(kind: Any) -> str | None:
    notes = getattr(_required(kind), "__metadata__", ())
    return next((note.description for note in notes if isinstance(note, Meta) and note.description), None)


def _expected(kind: Any) -> str:
    """Return in words what a value of a type is."""
    if told := _description(kind):
        return told
    bare = _required(kind)
    base = get_args(bare)[0] if get_origin(bare) is Annotated else bare
    if get_origin(base) is Literal:
        return f"one of {', '.join(map(repr, get_args(base)))}"
    words = {str: "a text", bool: "true or false", int: "a whole number", list: "a list", dict: "a table"}
    return words.get(get_origin(base) or base, "a table")


def _nearest(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are: {', '.join(sorted(known)) or 'none'}"
