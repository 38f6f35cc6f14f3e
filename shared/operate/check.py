"""Looks before anything arrives: would an arrival become a run at the pinned version? Each fault comes with its cure.

Compares the configuration with what the workspace and the storage account tell. What rights the identity has is said of
the identity that looks. Never submits and never starts a rule's clock (`since`); the one thing it writes is a row of
its own in the ledger's table, removed at once.
"""

import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.app import App
from shared.errors import EndpointError, StorageError, shown
from shared.operate.compared import output, parameters, pinned, same_place
from shared.operate.findings import ADDRESS, AGAIN, CONNECT, SIGN_IN, Finding, Gap, cure_of, sound, unseen
from shared.pipelines.base import Endpoint
from shared.pipelines.clouds import LOCAL, PUBLIC, cloud_at
from shared.pipelines.target import Target
from shared.rules.check import example_faults, samples
from shared.rules.decision import Skip
from shared.rules.hints import hint
from shared.rules.match import match
from shared.rules.patterns import Pattern
from shared.rules.rule import Rule
from shared.settings.model import Output, Pipeline, Settings
from shared.storage.accounts import storage_errors

FILE = "retrain.toml"
_BRACKETS = re.compile(r"\[[^/\]]+\]")
# Neither is anybody's: a rule's name has no '|', and a key begins with a time.
PROBE, NOBODYS_KEY = {"PartitionKey": "check|", "RowKey": "probe"}, "retrain-check"

LINES = "Write it in one line: the service takes no line breaks in a pipeline parameter."


def offline(settings: Settings) -> list[Finding]:
    """Look at the configuration alone; nothing is connected to."""
    found = [
        Finding("fault", f"rules.{rule.name}", f"the value of parameter {name!r} has several lines", LINES)
        for rule in settings.rules
        for name, value in rule.parameters.items()
        if len(value.splitlines()) > 1
    ]
    found += [
        Finding("fault", f"rules.{rule.name}", text, "Either the rule or its example is wrong: mend the one that is.")
        for rule in settings.rules
        for text in example_faults(rule)
    ]
    found += [finding for rule in settings.rules for finding in _doubtful(settings, rule)]
    clouds = (_cloud(f"pipelines.{name}", pipeline) for name, pipeline in settings.pipelines.items())
    found += [one for one in clouds if one.level != "ok"]
    used = {rule.pipeline for rule in settings.rules}
    unused = [f"pipelines.{name}" for name in settings.pipelines if name not in used]
    used = {rule.datastore for rule in settings.rules}
    unused += [f"datastores.{name}" for name in settings.datastores if name not in used]
    found += [Finding("warning", where, "no rule uses it", "Add a rule, or take it out.") for where in unused]
    if sound(found):
        found.insert(0, Finding("ok", FILE, f"rules that can be used: {', '.join(settings.rule_names())}"))
    return found


def _cloud(where: str, pipeline: Pipeline) -> Finding:
    """Which cloud was the address taken for, and what follows from that?"""
    host, audience = urlsplit(pipeline.url).hostname or "", pipeline.target.audience
    cloud = cloud_at(host)
    told = f"{cloud.name} cloud, by its address ({host}); tokens for {audience}"
    known = (cloud.audience, cloud.machine_learning)
    if cloud is not LOCAL and audience.rstrip("/") not in known:
        cure = f"Leave `audience` out, or write one of this cloud's: {' or '.join(known)}."
        return Finding("warning", where, f"{told}, which are another cloud's, or nobody's", cure)
    authority = os.environ.get("AZURE_AUTHORITY_HOST", PUBLIC.authority).removeprefix("https://").rstrip("/")
    if cloud is not LOCAL and authority != cloud.authority and not os.environ.get("IDENTITY_ENDPOINT"):
        cure = f"Set AZURE_AUTHORITY_HOST=https://{cloud.authority}; a managed identity needs none."
        return Finding("warning", where, f"{told}, but who looks signs in at {authority}", cure)
    return Finding("ok", where, told)


def _doubtful(settings: Settings, rule: Rule) -> Iterator[Finding]:
    """Yield what is probably not meant in a rule's patterns."""
    where, store = f"rules.{rule.name}", settings.datastores[rule.datastore]
    if told := hint(rule.path, store.container, rule.datastore):
        yield Finding("warning", f"{where}.path", f"{shown(rule.path)} begins as no path does", told)
    for key, text in (("path", rule.path), *((f"ignore[{number}]", text) for number, text in enumerate(rule.ignore))):
        if found := _BRACKETS.search(text):
            what = f"{found[0]!r} is taken as it is: brackets have no meaning in a pattern"
            cure = "Write '*', or a capture such as {n:int}; nothing to do where the names have brackets."
            yield Finding("warning", f"{where}.{key}", what, cure)
    if all(any(Pattern.parse(text, rule.case_sensitive).takes(name) for text in rule.ignore) for name in samples(rule)):
        what = "ignore seems to take back all that path takes, so that nothing would ever start"
        yield Finding("warning", f"{where}.ignore", what, "Compare the two: ./retrain plan PATH says what is ignored.")


def check(app: App) -> list[Finding]:
    """Look at everything: configuration, endpoints, parameters, datastores, ledger."""
    settings = app.settings
    found, described = offline(settings), set[str]()
    for name, configured in settings.pipelines.items():
        rules = [rule for rule in settings.rules if rule.pipeline == name]
        try:
            told = app.endpoint(configured.target).described(configured.pin)
        except EndpointError as error:
            found.append(unseen(f"pipelines.{name}", error, ADDRESS))
            continue
        described.add(name)
        cloud = _cloud(f"pipelines.{name}", configured)
        found += [
            *([cloud] if cloud.level == "ok" else []),
            *pinned(f"pipelines.{name}", configured, told),
            *_history(name, app.endpoint(configured.target), configured.target),
        ]
        if told.pipeline_id is not None:
            found += [finding for rule in rules for finding in parameters(rule, told.inputs)]
        found += [_output(app, name, one, told) for one, told in configured.written().items()]
    for name in settings.datastores:
        found.append(listable(f"datastores.{name}", _container(app, name)))
        if found[-1].level == "ok":
            found += [one for rule in settings.rules if rule.datastore == name for one in _matching(app, rule)]
    compared = set[tuple[str, str]]()
    for rule in sorted(settings.rules, key=lambda rule: rule.pipeline not in described):
        pair = (rule.datastore, settings.pipelines[rule.pipeline].target.address.workspace)
        if pair not in compared:
            compared.add(pair)
            found += _datastore(app, rule, readable=rule.pipeline in described)
    return [*found, *_ledger(app)]


def _history(name: str, endpoint: Endpoint, target: Target) -> list[Finding]:
    """Can run history be searched? Without it a submission whose answer was lost could never be settled."""
    where = f"pipelines.{name}"
    try:
        endpoint.search(NOBODYS_KEY, target.experiment)
    except EndpointError as error:
        return [Finding("fault", where, f"run history cannot be searched: {error}", cure_of(error))]
    return [Finding("ok", where, "run history can be searched")]


def _datastore(app: App, rule: Rule, *, readable: bool) -> list[Finding]:
    """Is the datastore registered in the workspace of the rule's pipeline, on our container?"""
    name, where = rule.datastore, f"datastores.{rule.datastore}"
    container = _container(app, name)
    if not readable:
        what = f"not compared with the workspace, which could not be read (pipelines.{rule.pipeline})"
        return [Finding("warning", where, what, "Mend that first.")]
    try:
        told = app.endpoint(app.settings.pipelines[rule.pipeline].target).registered(name)
    except EndpointError as error:
        what = f"whether the workspace knows it cannot be told: {error}"
        return [Finding("warning", where, what, f"Compare it in the studio (Data, Datastores). {cure_of(error)}")]
    if told is None:
        cure = (
            f"Register container {container.container_name!r} under this name in the studio (Data, Datastores), "
            "or give this table the name that it is registered under."
        )
        return [Finding("fault", where, f"the workspace has no datastore {name!r}", cure)]
    return same_place(where, told, container)


def _output(app: App, name: str, output_name: str, configured: Output) -> Finding:
    """Is the datastore of an output registered, and does no rule watch what is written there?"""
    where = f"pipelines.{name}.outputs.{output_name}"
    try:
        told = app.endpoint(app.settings.pipelines[name].target).registered(configured.datastore)
    except EndpointError as error:
        return Finding("warning", where, f"whether the workspace knows its datastore cannot be told: {error}", AGAIN)
    watched = {rule.datastore: _container(app, rule.datastore) for rule in app.settings.rules}
    return output(where, configured, told, watched, app.settings.rules)


# The storage account


def _container(app: App, datastore: str) -> ContainerClient:
    return app.datastores[datastore].container


def listable(where: str, container: ContainerClient) -> Finding:
    """Is the container there, and may its blobs be listed?"""
    name = container.container_name
    absent = f"Make container {name!r}, or write the right one as `container`."
    doing = f"container {name!r} cannot be read"

    def look() -> None:
        next(container.list_blobs(results_per_page=1), None)

    fault = _tried(where, doing, look, absent, "Blob Data Owner")
    return fault or Finding("ok", where, f"container {name!r} can be read")


def _matching(app: App, rule: Rule) -> list[Finding]:
    """Does the rule take anything of what is there, as far as the first page of a listing tells?"""
    where, prefix = f"rules.{rule.name}", rule.prefix()
    below = f"below {prefix!r}" if prefix else "in the container"
    try:
        page = next(app.datastores[rule.datastore].pages(prefix, ""), None)
    except StorageError as error:
        return [Finding("warning", where, f"what is there cannot be listed: {error}", AGAIN)]
    blobs = [one for one in page.arrivals if not one.is_folder] if page else []
    if not blobs:
        cure = "Nothing to do if data is still to come; else look at the rule's path and the datastore's container."
        return [Finding("warning", where, f"nothing is there {below}, so that nothing matches", cure)]
    decided = [(one.path, match([rule], one, {})[0]) for one in blobs]
    skipped = [(path, decision.reason) for path, decision in decided if isinstance(decision, Skip)]
    first = f"the first {len(blobs):,} blobs" if page and page.marker else f"{len(blobs):,} blobs"
    if len(skipped) < len(blobs):
        return [Finding("ok", where, f"takes {len(blobs) - len(skipped):,} of {first} {below}")]
    path, reason = next((one for one in skipped if "does not match" not in one[1]), skipped[0])
    cure = f"Compare its path with the names that are there, such as {shown(path)}: {reason}."
    return [Finding("warning", where, f"takes none of {first} {below}", cure)]


def _ledger(app: App) -> list[Finding]:
    """Can the ledger's table be written? A table that is not there yet is made by the app when it starts."""
    table = app.ledger.table
    where, doing = "ledger", f"table {table.table_name!r} cannot be written"

    def write_and_remove() -> str:
        try:
            table.upsert_entity(PROBE)
        except ResourceNotFoundError:
            return "is not there yet, and will be made when the app starts"
        table.delete_entity(PROBE)
        return "can be written"

    told: list[str] = []
    if fault := _tried(where, doing, lambda: told.append(write_and_remove()), CONNECT, "Table Data Contributor"):
        return [fault]
    return [Finding("ok", where, f"table {table.table_name!r} {told[0]}")]


def _tried(where: str, doing: str, act: Callable[[], object], absent: str, role: str) -> Finding | None:
    """Do something with the account; return the fault that it comes to. `absent` is the cure when it is not found."""
    try:
        with storage_errors(doing):
            act()
    except StorageError as error:
        cause = error.__cause__
        status = cause.status_code if isinstance(cause, HttpResponseError) else None
        if status == 404:
            cure = absent
        elif status in (401, 403):
            cure = f"Give the identity that looks 'Storage {role}' on the account, or mend the connection string."
        elif status is None:
            cure = SIGN_IN if isinstance(cause, ClientAuthenticationError) else CONNECT
        else:
            cure = AGAIN
        return (Gap if status in (None, 401, 403) else Finding)("fault", where, str(error), cure)
    return None
