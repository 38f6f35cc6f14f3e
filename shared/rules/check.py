"""What is wrong with a rule, in words: found when the configuration is read, and by its own examples.

Never decides anything about an arrival: `match.py` does, and an example is put to the same `match()`.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

from shared.errors import BadRequestError
from shared.rules import patterns
from shared.rules.arrival import Arrival, Source, checked_path
from shared.rules.decision import RetrainRequest, Settling, Skip
from shared.rules.fill import RESERVED, TAG_NAME, TAGS, parameter_faults, text_fault
from shared.rules.folder import Content, folder_request
from shared.rules.match import file_request, match
from shared.rules.patterns import Pattern, PatternError
from shared.rules.rule import Example, Rule, Settle
from shared.rules.take import announced, taken
from shared.rules.templates import Template, TemplateError, Value

Fault = tuple[str, str]
"""Which key of the rule, such as `settle.max_wait` or `examples[1].path`; and what is wrong with it."""

_PLAIN: dict[type, Value] = {str: "x", int: 1, date: date(2026, 1, 1), datetime: datetime(2026, 1, 1, tzinfo=UTC)}


def faults(rule: Rule) -> list[Fault]:
    """Return everything that makes a rule impossible or surely not what was meant."""
    checks = (_paths, _bounds, _data_path, _settle, _templates, _parameters, _tags, _examples)
    return [fault for check in checks for fault in check(rule)]


def _paths(rule: Rule) -> Iterator[Fault]:
    try:
        Pattern.parse(rule.path, rule.case_sensitive)
    except PatternError as error:
        yield "path", f"{rule.path!r}: {error}"
    for number, text in enumerate(rule.ignore):
        where = f"ignore[{number}]"
        try:
            pattern = Pattern.parse(text, rule.case_sensitive)
        except PatternError as error:
            yield where, f"{text!r}: {error}"
            continue
        if pattern.captures:
            yield where, f"{text!r}: captures have no use here; write '*', or a brace twice"
        if text in ("**", rule.path):
            yield where, f"{text!r} ignores all that the rule takes, so that nothing would ever start"


def _bounds(rule: Rule) -> Iterator[Fault]:
    if rule.max_bytes is not None and rule.max_bytes < max(rule.min_bytes or 1, 1):
        least = f"min_bytes {rule.min_bytes:,}" if rule.min_bytes else "1, since empty blobs never start anything"
        yield "max_bytes", f"{rule.max_bytes:,} is less than {least}: no blob has such a size"
    if len({name.lower() for name in rule.metadata}) < len(rule.metadata):
        yield "metadata", "has one name twice; the case of these names does not count"
    if rule.when_busy != "queue" and rule.max_active is None:
        yield "when_busy", f"{rule.when_busy!r} says what to do at max_active, which is not given"


def _data_path(rule: Rule) -> Iterator[Fault]:
    folder, grain = rule.data_path.folder, rule.data_path.grain
    segments = rule.path.split("/")
    if folder is not None:
        where, parts = "data_path.folder", folder.split("/")
        rest = segments[len(parts) :]
        if grain == "file":
            yield where, 'is given, but the data path is the file that arrived; did you mean grain = "folder"?'
        elif not rest or not all(_same(part, segment) for part, segment in zip(parts, segments, strict=False)):
            yield where, f"{folder!r} is not made of the first segments of path {rule.path!r}, without its last"
        elif "**" in parts and "**" in rest:
            yield where, f"{folder!r}: with '**' both in it and after it, it is open where the folder ends"
    elif grain != "file" and segments[:-1] == []:
        yield "data_path.grain", f"{grain!r}: what {rule.path!r} takes may lie at the container's root, in no folder"


def _same(part: str, segment: str) -> bool:
    """Tell whether a segment of `folder` is one of `path`; captures may be written without their types there."""
    return part in (segment, re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", segment))


def _settle(rule: Rule) -> Iterator[Fault]:
    settle, grain = rule.settle, rule.data_path.grain
    if settle is None:
        if grain != "file":
            how = '{ quiet = "5m" } or { marker = "_SUCCESS" }'
            yield "settle", f"missing; a folder is never complete by itself: say when it is, such as {how}"
        return
    yield from _settle_of_file(settle) if grain == "file" else _settle_of_folder(settle)
    if settle.longest_wait and settle.quiet_for and settle.longest_wait < settle.quiet_for:
        yield "settle.max_wait", f"{settle.max_wait!r} is shorter than quiet {settle.quiet!r}, which could never be met"
    if settle.on_max_wait != "start" and settle.max_wait is None:
        yield "settle.on_max_wait", f"{settle.on_max_wait!r} says what to do after max_wait, which is not given"


def _settle_of_file(settle: Settle) -> Iterator[Fault]:
    given = {"marker": settle.marker, "manifest": settle.manifest, "min_files": settle.min_files}
    wrong = [key for key, value in given.items() if value]
    for key in wrong:
        yield f"settle.{key}", f'{key} says when a folder is complete; is data_path meant to have grain = "folder"?'
    if settle.min_bytes:
        yield (
            "settle.min_bytes",
            "counts a folder's files together; of one file, the rule's own min_bytes says it",
        )
    elif not wrong and not settle.quiet:
        yield "settle", 'needs quiet: how long nothing must be written to a file before it is trained on, such as "5m"'
    if settle.on_max_wait != "start" and settle.max_wait:
        yield "settle.on_max_wait", "a file that is there is there whole; after max_wait it can only be started on"


def _settle_of_folder(settle: Settle) -> Iterator[Fault]:
    if not (settle.quiet or settle.marker or settle.manifest):
        yield "settle", "needs at least one of quiet, marker and manifest: otherwise nothing says that it is complete"
    for key, name in (("marker", settle.marker), ("manifest", settle.manifest)):
        if name is None:
            continue
        if "/" in name or "\\" in name:
            yield f"settle.{key}", f"{name!r} has a slash; it is the name of a file in the folder itself"
        elif set("*?") & set(name):
            yield f"settle.{key}", f"{name!r} is taken literally, and no file is called so; it is no pattern"
        elif name in (".", ".."):
            yield f"settle.{key}", f"{name!r} is no file's name"
    if settle.marker and settle.marker == settle.manifest:
        yield "settle.manifest", f"{settle.manifest!r} is the marker already"


def _templates(rule: Rule) -> Iterator[Fault]:
    try:
        fields: dict[str, type] | None = rule.fields()
    except PatternError:  # noted at `path`; which captures there are is not known then
        fields = None
    texts = [(f"parameters.{name}", text) for name, text in rule.parameters.items()]
    texts += [(f"data_paths[{number}].path", item.path) for number, item in enumerate(rule.data_paths)]
    texts += [("experiment", rule.experiment)] if rule.experiment else []
    texts += [(f"tags.{name}", text) for name, text in rule.tags.items()]
    texts += [("description", rule.description)] if rule.description else []
    for where, text in texts:
        try:
            template = Template.parse(text)
            if fields is None:
                continue
            template.check(fields)
            # What is nothing with the plainest values will be nothing with any; the rest shows when it arrives.
            fault = text_fault(
                where.partition("[")[0], template.render({name: _PLAIN[fields[name]] for name in fields})
            )
        except TemplateError as error:
            fault = f"{text!r}: {error}"
        if fault:
            yield where, fault


def _parameters(rule: Rule) -> Iterator[Fault]:
    for fault in parameter_faults(dict.fromkeys(rule.parameters, "")):  # the names; the values are templates
        yield "parameters", fault.removeprefix("parameters: ")
    paths = {rule.data_path.parameter: "data_path"}
    for number, item in enumerate(rule.data_paths):
        if item.parameter in paths:
            yield f"data_paths[{number}].parameter", f"{item.parameter!r} is in {paths[item.parameter]} already"
        paths.setdefault(item.parameter, f"data_paths[{number}]")
    for name in rule.parameters.keys() & paths.keys():
        yield f"parameters.{name}", f"{name!r} takes the path of {paths[name]}; it cannot have another value"


def _tags(rule: Rule) -> Iterator[Fault]:
    if len(rule.tags) > TAGS:
        yield "tags", f"has {len(rule.tags)}; a run takes {TAGS} beside the three that say where it comes from"
    for name in rule.tags:
        if not 0 < len(name) <= TAG_NAME:
            yield f"tags.{name[:40]}", f"the name has {len(name)} characters; a tag's name has 1 to {TAG_NAME}"
        if name.lower().startswith(RESERVED):
            yield f"tags.{name}", f"names that begin with {RESERVED!r} are taken: they say where a run comes from"


def _examples(rule: Rule) -> Iterator[Fault]:
    for number, example in enumerate(rule.examples):
        where = f"examples[{number}]"
        try:
            checked_path(example.path)
        except BadRequestError as error:
            yield f"{where}.path", str(error)
        if example.skip and (example.data_path is not None or example.parameters is not None):
            yield f"{where}.skip", "what is skipped has neither data path nor parameters"


def example_faults(rule: Rule) -> list[str]:
    """Return where the rule does not do with its examples what they say. For a rule without `faults`."""
    return [
        f"examples[{number}] ({example.path!r}): {text}"
        for number, example in enumerate(rule.examples)
        for text in _differences(rule, example)
    ]


def _differences(rule: Rule, example: Example) -> Iterator[str]:
    decision = decide(rule, example)
    if isinstance(decision, Skip):
        if not example.skip:
            yield f"is to start a run, but is skipped: {decision.reason}"
        return
    if example.skip:
        yield f"is to be skipped, but starts a run on {decision.data_path.path!r}"
        return
    if example.data_path is not None and example.data_path != decision.data_path.path:
        yield f"data_path is {decision.data_path.path!r}, not {example.data_path!r}"
    if example.parameters is None:
        return
    for name in sorted(example.parameters.keys() | decision.parameters.keys()):
        is_, wanted = decision.parameters.get(name), example.parameters.get(name)
        if is_ is None:
            yield f"there is no parameter {name!r}; the example says {wanted!r}"
        elif wanted is None:
            yield f"parameter {name!r} is {is_!r}; the example does not have it"
        elif is_ != wanted:
            yield f"parameter {name!r} is {is_!r}, not {wanted!r}"


def samples(rule: Rule) -> list[str]:
    """Return some names that the rule's path takes; a final '**' needs one segment at least."""
    return [name for name in patterns.samples(rule.path) if Pattern.parse(rule.path).takes(name)]


def decide(rule: Rule, example: Example) -> RetrainRequest | Skip:
    """Return what the rule does with an example's blob. A folder counts as complete, with that blob alone in it.

    Size and metadata count only where the example gives them.
    """
    metadata, size = example.metadata, example.size
    if metadata is None and size is not None:
        metadata = rule.metadata
    arrival = Arrival(
        datastore=rule.datastore,
        path=example.path,
        etag="example",
        last_modified=example.last_modified or datetime(2026, 1, 1, tzinfo=UTC),
        size=max(rule.min_bytes or 1, 1) if size is None else size,
        source=Source.WEBHOOK,
        metadata=metadata,
    )
    [decision] = match([rule], arrival, {})
    return _settled(rule, decision, arrival) if isinstance(decision, Settling) else decision


def _settled(rule: Rule, settling: Settling, arrival: Arrival) -> RetrainRequest | Skip:
    """Return what the rule does when nothing else comes: a marker stands for the data that it announces."""
    if rule.data_path.grain == "file":
        return file_request(rule, arrival)
    content = Content(rule, settling.folder)
    found = announced(rule, arrival.path)
    captures = found[1] if found else taken(rule, arrival)
    assert not isinstance(captures, str)  # else it would not settle
    content.count(arrival, captures)
    return folder_request(rule, settling.folder, arrival.datastore, arrival.source, content)
