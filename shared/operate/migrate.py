"""From a published pipeline to a batch endpoint: the table, what the component has to declare, what rules must change.

Only tells: never edits retrain.toml, and makes nothing in the workspace.

Source: "Upgrade pipeline endpoints to SDK v2" (migrate-to-v2-deploy-pipelines): a pipeline endpoint becomes a batch
endpoint, a published version a deployment of a pipeline component, a pipeline parameter an input.
"""

import json
import re

import msgspec

from shared.app import App
from shared.errors import BadRequestError, NotFoundError
from shared.pipelines.base import Input
from shared.rules.rule import DataPathParameter, FurtherDataPath, Rule
from shared.settings.model import BatchEndpoint, ComponentJob, Pipeline

TYPES = {"Int": "integer", "Double": "number", "Bool": "boolean", "String": "string"}
NAME = re.compile(r"[A-Za-z0-9_]+")  # of an input in v2


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """An input that the component has to declare."""

    name: str
    type: str
    """`uri_file` or `uri_folder`, by the rules' grain; else `integer`, `number`, `boolean` or `string`."""
    optional: bool
    was: str = ""
    """The parameter's name today, where v2 does not allow it."""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What changes for one pipeline."""

    pipeline: str
    table: str
    """The new table of retrain.toml."""
    inputs: list[Declared]
    interface: str
    """The component's inputs, in YAML."""
    rules: list[str]
    """What has to change in rules, a sentence each; empty: nothing."""
    steps: list[str]


def migrate(app: App, name: str | None = None) -> Migration:
    """Return how a pipeline moves. Raises NotFoundError, BadRequestError, EndpointError (the workspace is asked)."""
    name, pipeline = _chosen(app, name)
    told = app.endpoint(pipeline.target).described(pipeline.pin)
    if told.pipeline_id is None:
        raise NotFoundError(f"Endpoint {told.name!r} has no version {pipeline.pin!r}; see ./retrain check.")
    rules = [rule for rule in app.settings.rules if rule.pipeline == name]
    inputs = [_declared(one, rules) for one in told.inputs]
    deployment = deployment_of(name, pipeline.pin)
    return Migration(
        pipeline=name,
        table=table(name, pipeline, deployment),
        inputs=inputs,
        interface=_interface(inputs),
        rules=list(_changes(rules, inputs)),
        steps=_steps(name, deployment, pipeline),
    )


def _chosen(app: App, name: str | None) -> tuple[str, Pipeline]:
    """Return the pipeline that is meant: the one of this name, or the only one that can move."""
    pipelines = app.settings.pipelines
    if name is not None and name not in pipelines:
        raise NotFoundError(f"There is no pipeline {name!r}; known are: {', '.join(pipelines)}.")
    old = [one for one, told in pipelines.items() if not isinstance(told, BatchEndpoint | ComponentJob)]
    if name is not None and name not in old:
        raise BadRequestError(f"Pipeline {name!r} is a v2 one already.")
    if name is None and len(old) != 1:
        known = f"name one of {', '.join(old)}" if old else "none is of a published pipeline"
        raise BadRequestError(f"Which pipeline is to move? {known}.")
    name = name or old[0]
    return name, pipelines[name]


def _declared(one: Input, rules: list[Rule]) -> Declared:
    """Return what a parameter becomes: its type by how it was published, of a path by what rules put there."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", one.name)
    kind, is_given = TYPES.get(one.type, "string"), any(one.name in rule.path_parameters() for rule in rules)
    if one.assignment != "string" or is_given:
        kind = "uri_folder" if any(_is_folder(rule, one.name) for rule in rules) else "uri_file"
    optional = not one.required and not is_given
    return Declared(name=name, type=kind, optional=optional, was="" if name == one.name else one.name)


def _is_folder(rule: Rule, parameter: str) -> bool:
    if rule.data_path.parameter == parameter:
        return rule.data_path.grain == "folder"
    return any(path.parameter == parameter and path.path.endswith("/") for path in rule.data_paths)


def deployment_of(name: str, pin: str) -> str:
    """Return a name that a deployment may have: letters, digits and dashes, a letter first, 3 to 32."""
    text = re.sub(r"[^A-Za-z0-9-]+", "-", f"{name}-{pin[:8]}").strip("-")
    return (text if text[:1].isalpha() else f"d-{text}")[:32].rstrip("-")


def table(name: str, pipeline: Pipeline, deployment: str) -> str:
    """Return the table for retrain.toml; what is only known once the endpoint is there is an app setting."""
    setting = re.sub(r"\W", "_", name).upper()
    lines = [
        f"[pipelines.{name if NAME.fullmatch(name) else json.dumps(name)}]",
        'kind = "batch_endpoint"',
        f'url = "%{setting}_SCORING_URI%"',
        f"workspace = {json.dumps(pipeline.target.address.workspace)}",
        f'deployment = "{deployment}"',
        f"experiment = {json.dumps(pipeline.experiment)}",
    ]
    if pipeline.on_uncertain != "auto":
        lines.append(f'on_uncertain = "{pipeline.on_uncertain}"')
    if pipeline.give_up_after != "7d":
        lines.append(f'give_up_after = "{pipeline.give_up_after}"')
    return "\n".join(lines) + "\n"


def _interface(inputs: list[Declared]) -> str:
    lines = ["inputs:"]
    for one in inputs:
        lines += [f"  {one.name}:", f"    type: {one.type}"] + (["    optional: true"] if one.optional else [])
    return "\n".join(lines) + "\n"


def _changes(rules: list[Rule], inputs: list[Declared]) -> list[str]:
    """Return what has to change in rules."""
    found = []
    for rule in rules:
        given = {rule.data_path.parameter, *rule.parameters, *(path.parameter for path in rule.data_paths)}
        where = f"Rule {rule.name!r}"
        renamed = [one for one in inputs if one.was in given]
        found += [f"{where}: {one.was!r} is no name in v2; write {one.name!r}." for one in renamed]
        paths: list[DataPathParameter | FurtherDataPath] = [rule.data_path, *rule.data_paths]
        if names := ", ".join(repr(path.parameter) for path in paths if path.assignment != "data_path"):
            found.append(f"{where}: `assignment` of {names} has no meaning there; leave it out.")
    return found


def _steps(name: str, deployment: str, pipeline: Pipeline) -> list[str]:
    setting = re.sub(r"\W", "_", name).upper()
    return [
        "Make the pipeline a component with these inputs (az ml component create), keeping its steps.",
        f"Make a batch endpoint and deploy the component to it as {deployment!r} (az ml batch-endpoint create, "
        "az ml batch-deployment create); each later version is a deployment of its own.",
        "Give the app's identity the wider role that batch endpoints need (docs/deploy.md, pipelineKind).",
        f"Put the endpoint's scoring URI into the app setting {setting}_SCORING_URI.",
        f"To run both for a while, add the table under another name, and a copy of each rule of {name!r} for it.",
        f"Else replace [pipelines.{name}]: what is under way at {pipeline.pin_key} {pipeline.pin!r} is followed to its "
        "end there, what is not sent yet goes to the new place.",
        "Run ./retrain check, then deploy.",
    ]
