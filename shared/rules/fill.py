"""Templates become the texts of a request, as far as the service takes them.

Never asks whether an arrival should start anything; and never cuts a text short to make it fit: what the service would
not take is a skip, or a fault, with its reason.
"""

import re
from collections.abc import Mapping

import msgspec

from shared.errors import BadRequestError, shown
from shared.rules.arrival import CONTROL, Arrival, checked_path
from shared.rules.decision import DataPath, RetrainRequest, Skip, content_of, key_of
from shared.rules.rule import Rule
from shared.rules.templates import Template, TemplateError, Value

# What the service takes (Azure ML, "Service limits": tags, descriptions, experiments). Three tags are ours.
TAGS, TAG_NAME, TAG_VALUE, DESCRIPTION = 50 - 3, 100, 1000, 5000
RESERVED = "retrain."
EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
# Where the lists of grain "manifest" are written, in the datastore of their data. No rule takes what is there.
OWN_FOLDER = "_retrain"


def file_values(arrival: Arrival) -> dict[str, Value]:
    """Return what the fields of a file hold; see `rule.FILE_FIELDS`."""
    folder, _, name = arrival.path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return {
        "path": arrival.path,
        "name": name,
        "stem": stem if dot and stem else name,
        "folder": folder,
        "datastore": arrival.datastore,
        "etag": arrival.etag,
        "size": arrival.size,
        "last_modified": arrival.last_modified,
    }


def request_of(
    rule: Rule, arrival: Arrival, values: Mapping[str, Value], parameters: Mapping[str, str]
) -> RetrainRequest | Skip:
    """Make the request, or the skip when what the templates come to is nothing that the service takes.

    `values` has the fields and captures; `parameters` come from a caller and win over the rule's own.
    """

    def filled(where: str, template: str) -> str:
        try:
            text = Template.parse(template).render(values)
        except TemplateError as error:
            raise TemplateError(f"{where}: {error}") from error
        if fault := text_fault(where, text):
            raise TemplateError(f"{where}: {fault}")
        return text

    key = key_of(rule.name, arrival)
    listed = rule.data_path.grain == "manifest"
    data_path = DataPath(
        datastore=arrival.datastore,
        path=f"{OWN_FOLDER}/{rule.name}/{key}.jsonl" if listed else arrival.path,
        parameter=rule.data_path.parameter,
        assignment=rule.data_path.assignment,
    )
    try:
        if data_path.assignment == "string" and (fault := text_fault("parameters", data_path.path)):
            raise TemplateError(f"data_path: {fault}")
        return RetrainRequest(
            key=key,
            rule=rule.name,
            pipeline=rule.pipeline,
            data_path=data_path,
            data_paths=tuple(
                DataPath(
                    datastore=further.datastore or arrival.datastore,
                    path=filled(f"data_paths.{further.parameter}", further.path),
                    parameter=further.parameter,
                    assignment=further.assignment,
                )
                for further in rule.data_paths
            ),
            parameters={
                **{name: filled(f"parameters.{name}", text) for name, text in rule.parameters.items()},
                **parameters,
            },
            experiment=filled("experiment", rule.experiment) if rule.experiment else "",
            tags={name: filled(f"tags.{name}", text) for name, text in rule.tags.items()},
            description=filled("description", rule.description) if rule.description else "",
            arrival=bare(arrival),
            content=content_of(rule.name, arrival) if rule.identity == "content" else "",
        )
    except TemplateError as error:
        return Skip(rule=rule.name, reason=str(error))


def bare(arrival: Arrival) -> Arrival:
    """Return the arrival as it is written down: without the metadata, which decided already and may be long."""
    return msgspec.structs.replace(arrival, metadata=None) if arrival.metadata is not None else arrival


def text_fault(where: str, text: str) -> str | None:
    """Say why a text cannot be sent, or None; `where` is the rule's key that it comes from, as `tags.day`."""
    match where.partition(".")[0]:
        case "parameters":
            return _parameter_fault(text)
        case "experiment" if not EXPERIMENT.fullmatch(text):
            return (
                f"{shown(text)} is no name for an experiment: 1 to 256 letters, digits, dashes and underscores, "
                "the first a letter or digit"
            )
        case "tags" if len(text) > TAG_VALUE:
            return f"{shown(text)} has {len(text):,} characters; a tag takes {TAG_VALUE:,}"
        case "description" if len(text) > DESCRIPTION:
            return f"{shown(text)} has {len(text):,} characters; a description takes {DESCRIPTION:,}"
        case "data_paths":
            try:
                checked_path(text)
            except BadRequestError as error:
                return str(error)
    return None


def _parameter_fault(text: str) -> str | None:
    """Say why a text cannot be a parameter's value or name, or None."""
    if text.splitlines() not in ([], [text]):
        return f"{shown(text)} has several lines, which a pipeline parameter does not take"
    if odd := CONTROL.search(text):
        return f"{shown(text)} has the control character U+{ord(odd[0]):04X}, which a pipeline parameter does not take"
    return None


def parameter_faults(parameters: Mapping[str, str]) -> list[str]:
    """Return what is wrong with parameters as they would be sent, a rule's or a caller's: one sentence each."""
    found = list[str]()
    for name, value in parameters.items():
        if not name:
            found.append("parameters: one has an empty name")
        elif fault := _parameter_fault(name):
            found.append(f"parameters: the name {fault}")
        elif fault := _parameter_fault(value):
            found.append(f"parameters.{name[:100]}: {fault}")
    return found
