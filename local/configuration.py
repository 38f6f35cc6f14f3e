"""Variants of the shipped retrain.toml, for what is run on this machine. Never changes the file itself."""

import json
import tomllib
from datetime import date, datetime
from typing import Any, Literal

from local.stack import ROOT

Kind = Literal["pipeline", "batch", "both"]
BATCH = {"kind": "batch_endpoint", "deployment": "income-1"}  # of the stand-in; it trains what version "1" does


def shipped() -> dict[str, Any]:
    """Return what the shipped retrain.toml says."""
    return tomllib.loads((ROOT / "retrain.toml").read_text(encoding="utf-8"))


def over(kind: Kind, scoring_uri: str, workspace: str) -> dict[str, Any]:
    """Return the same over a batch endpoint, or over both: then a second rule sends the same arrivals there."""
    content = shipped()
    [rule], pipelines = content["rules"], content["pipelines"]
    name = rule["pipeline"]
    batch = {**BATCH, "url": scoring_uri, "workspace": workspace, "experiment": pipelines[name]["experiment"]}
    if kind == "batch":
        pipelines[name] = batch
    elif kind == "both":
        pipelines[f"{name}-batch"] = batch
        content["rules"].append({**rule, "name": f"{rule['name']}-batch", "pipeline": f"{name}-batch"})
    return content


def pins(content: dict[str, Any]) -> dict[str, str]:
    """Return what each rule's pipeline is pinned to: a version or a deployment, by the rule's name."""
    pipelines = content["pipelines"]
    found = {rule["name"]: pipelines[rule["pipeline"]] for rule in content["rules"]}
    return {name: str(pipeline.get("version") or pipeline["deployment"]) for name, pipeline in found.items()}


def toml(content: dict[str, Any]) -> str:
    """Return the file that says so."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in content.items())


def _toml(value: Any) -> str:
    """Write a value as TOML, tables inline. JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return value.isoformat() if isinstance(value, date | datetime) else json.dumps(value)
