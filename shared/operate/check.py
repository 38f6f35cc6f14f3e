"""Looks before anything arrives: would an arrival become a run at the pinned version? Each fault comes with its cure.

Compares the configuration with what the workspace and the storage account tell. What rights the identity has is said of
the identity that looks. Never submits and never starts a rule's clock (`since`); the one thing it writes is a row of
its own in the ledger's table, removed at once.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal

import msgspec
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.app import App
from shared.errors import ConfigurationError, EndpointError, StorageError, shown
from shared.pipelines.base import Described, Endpoint, Input, ReadError, Registered
from shared.pipelines.target import Target
from shared.rules.check import example_faults, samples
from shared.rules.decision import Skip
from shared.rules.hints import hint
from shared.rules.match import match
from shared.rules.patterns import Pattern
from shared.rules.rule import DataPathParameter, FurtherDataPath, Rule
from shared.settings.model import Pipeline, Settings
from shared.storage.accounts import storage_errors

FILE = "retrain.toml"
_BRACKETS = re.compile(r"\[[^/\]]+\]")
ACTIVE = "Active"
# The kinds of datastore that are containers of a storage account.
CONTAINERS = ("AzureBlob", "AzureDataLakeGen2")
PUBLISHED_AS = {"data_path": "a DataPath parameter", "dataset": "a dataset parameter", "string": "a plain parameter"}
# Neither is anybody's: a rule's name has no '|', and a key begins with a time.
PROBE, NOBODYS_KEY = {"PartitionKey": "check|", "RowKey": "probe"}, "retrain-check"

ROLE = (
    "Give the identity that looks the role 'AzureML Data Scientist' on the workspace (docs/settings.md has a "
    "narrower one); a new role may take an hour."
)
AUDIENCE = "The token was not accepted: is `audience` that of your cloud, and the identity of the workspace's tenant? "
SIGN_IN = (
    "Run `az login`; or, where a managed identity should do, look at IDENTITY_ENDPOINT and AZURE_CLIENT_ID. The "
    "stand-ins run with ./retrain start."
)
CONNECT = (
    "Is the address right, and reached from here (DNS, firewall)? What is behind a private endpoint is reached from "
    "its network only; the stand-ins run with ./retrain start."
)
ADDRESS = "Copy `url` from the endpoint's page in the studio: there is no such endpoint at this address."
AGAIN = "Try again; if it stays like this, the service's own words say what to mend."
LINES = "Write it in one line: the service takes no line breaks in a pipeline parameter."


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "fault"]
    where: str
    """The table of retrain.toml, or what else it is about."""
    what: str
    cure: str = ""
    """What to do; always there for a fault."""


def sound(findings: Iterable[Finding]) -> bool:
    """Tell whether there is no fault among them."""
    return all(finding.level != "fault" for finding in findings)


def misconfigured(error: ConfigurationError) -> list[Finding]:
    """Return the faults of a configuration that cannot be used as it is."""
    cut = (fault.partition(": ") for fault in error.faults)
    return [Finding("fault", where, what, f"{_page(what)} says what is expected.") for where, _, what in cut]


def _page(fault: str) -> str:
    """Return the page that has the key which a fault is about."""
    return "docs/rules.md" if fault.startswith("rules") else "docs/settings.md"


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
    used = {rule.pipeline for rule in settings.rules}
    unused = [f"pipelines.{name}" for name in settings.pipelines if name not in used]
    used = {rule.datastore for rule in settings.rules}
    unused += [f"datastores.{name}" for name in settings.datastores if name not in used]
    found += [Finding("warning", where, "no rule uses it", "Add a rule, or take it out.") for where in unused]
    if sound(found):
        found.insert(0, Finding("ok", FILE, f"rules that can be used: {', '.join(settings.rule_names())}"))
    return found


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
            found.append(Finding("fault", f"pipelines.{name}", str(error), cure_of(error, ADDRESS)))
            continue
        described.add(name)
        found += [
            *pinned(f"pipelines.{name}", configured, told),
            *_history(name, app.endpoint(configured.target), configured.target),
        ]
        if told.pipeline_id is not None:
            found += [finding for rule in rules for finding in _parameters(rule, told.inputs)]
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


# The workspace


def pinned(where: str, configured: Pipeline, told: Described) -> list[Finding]:
    """Is the endpoint active, its pinned version there and active, and the newest?"""
    found = []
    if told.status != ACTIVE:
        what = f"{told.name!r} is {told.status.lower()}, not active: nothing can be submitted to it"
        found.append(Finding("fault", where, what, "Enable it in the studio, or write another one's address as `url`."))
    pin, where_pinned = configured.pin, f"{where}.{configured.pin_key}"
    if told.pipeline_id is None:
        what = f"endpoint {told.name!r} has no version {pin!r}; it has {', '.join(told.versions) or 'none'}"
        return [*found, Finding("fault", where_pinned, what, f"Write one of these as `{configured.pin_key}`.")]
    if told.versions and told.pipeline_status != ACTIVE:
        what = f"version {pin!r} is pipeline {told.pipeline_id}, which is {told.pipeline_status.lower()}, not active"
        found.append(Finding("fault", where_pinned, what, "Enable it in the studio, or pin another version."))
    numbers = [version for version in told.versions if version.isdecimal()] if pin.isdecimal() else []
    newer = [version for version in numbers if int(version) > int(pin)]
    if newer:
        what = f"version {pin!r} is pinned; newer: {', '.join(sorted(newer, key=int))}"
        cure = f"To move on, try {configured.pinned_to(max(newer, key=int))} where it does no harm, then write it here."
        found.append(Finding("warning", where_pinned, what, cure))
    if sound(found):
        version = f", version {pin!r} is pipeline {told.pipeline_id}" if told.versions else ""
        found.insert(0, Finding("ok", where, f"{told.name!r} is active{version}"))
    return found


def _history(name: str, endpoint: Endpoint, target: Target) -> list[Finding]:
    """Can run history be searched? Without it a submission whose answer was lost could never be settled."""
    where = f"pipelines.{name}"
    try:
        endpoint.search(NOBODYS_KEY, target.experiment)
    except EndpointError as error:
        return [Finding("fault", where, f"run history cannot be searched: {error}", cure_of(error))]
    return [Finding("ok", where, "run history can be searched")]


def _parameters(rule: Rule, inputs: Collection[Input]) -> list[Finding]:
    """Is every parameter that the rule gives one of the pipeline's, in the right map; and does it give all it must?"""
    where, found = f"rules.{rule.name}", list[Finding]()
    paths: list[tuple[str, DataPathParameter | FurtherDataPath, str]] = []
    paths.append((f"{where}.data_path", rule.data_path, rule.datastore))
    paths += [(f"{where}.data_paths", path, path.datastore or rule.datastore) for path in rule.data_paths]
    for table, path, datastore in paths:
        found += _path(table, path, datastore, inputs)
    for name, value in rule.parameters.items():
        found += _plain(f"{where}.parameters.{name}", name, value, inputs)
    given = [*(path.parameter for _, path, _ in paths), *rule.parameters]
    for known in inputs:
        if known.required and known.name not in given:
            what = f"it does not give {known.name!r}, {PUBLISHED_AS[known.assignment]} that the pipeline requires"
            cure = (
                f"Add it to the rule's parameters: {known.name} = ..."
                if known.assignment == "string"
                else "Add it to the rule's data_paths, or publish the pipeline with a default for it."
            )
            found.append(Finding("fault", where, what, cure))
    if sound(found):
        found.insert(
            0, Finding("ok", where, f"gives {', '.join(given)}: all of them the pipeline's, and all that it requires")
        )
    return found


def _path(
    table: str, wanted: DataPathParameter | FurtherDataPath, datastore: str, inputs: Collection[Input]
) -> list[Finding]:
    """Is there a parameter of this name that takes a path, and in the map that the rule says?"""
    takers = [known for known in inputs if known.name == wanted.parameter]
    if not takers:
        return [_unknown(table, wanted.parameter, inputs, "parameter")]
    found = []
    if wanted.assignment not in [taker.assignment for taker in takers]:
        right = takers[0].assignment
        what = f"{wanted.parameter!r} is {PUBLISHED_AS[right]}, but is given as {PUBLISHED_AS[wanted.assignment]}"
        found.append(Finding("fault", table, what, f'Write assignment = "{right}" there.'))
    for taker in takers:
        if taker.datastore is not None and taker.datastore != datastore:
            what = f"its default is on datastore {taker.datastore!r}, the rule's is {datastore!r}"
            cure = "Nothing to do if the pipeline may read both; else make the rule for the other datastore."
            found.append(Finding("warning", table, what, cure))
    return found


def _plain(where: str, name: str, value: str, inputs: Collection[Input]) -> list[Finding]:
    """Is there a plain parameter of this name, and may it have this value?"""
    takers = [known for known in inputs if known.name == name]
    if not takers:
        return [_unknown(where, name, [known for known in inputs if known.assignment == "string"], "name")]
    plain = next((taker for taker in takers if taker.assignment == "string"), None)
    if plain is None:
        what = f"{name!r} is {PUBLISHED_AS[takers[0].assignment]}, and takes no plain value"
        return [Finding("fault", where, what, f'Give it by data_path, with assignment = "{takers[0].assignment}".')]
    if "{" not in value and plain.type in ("Int", "Double") and not _number(value):
        what = f"{value!r} is no number, and {name!r} is published as {plain.type}"
        return [Finding("warning", where, what, "Write a number; the service may refuse others, or the run fail.")]
    return []


def _number(value: str) -> bool:
    """Tell whether a number takes this value; the SDK publishes a default of True or False as a number, too."""
    try:
        float(value)
    except ValueError:
        return value.lower() in ("true", "false")
    return True


def _unknown(where: str, name: str, known: Collection[Input], as_what: str) -> Finding:
    names = sorted(one.name for one in known)
    near = difflib.get_close_matches(name, names, 1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    what = f"the pipeline has no parameter {name!r}{guess}"
    return Finding("fault", where, what, f"Write one of these as {as_what}: {', '.join(names) or '(it has none)'}.")


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
    return _same_place(where, told, container)


def _same_place(where: str, told: Registered, container: ContainerClient) -> list[Finding]:
    if told.kind not in CONTAINERS:
        what = f"in the workspace it is of kind {told.kind or 'unknown'}, which is no blob container"
        return [Finding("fault", where, what, "Name a datastore of Azure Blob Storage.")]
    # Of an account's host names only the first part is the account's; some addresses do not tell it at all.
    account = (container.account_name or "").partition(".")[0]
    ours, theirs = (account, container.container_name), (told.account or "", told.container or "")
    if ours[1] != theirs[1] or (account and told.account and ours != theirs):
        what = f"in the workspace it is container {_place(*theirs)}, here {_place(*ours)}"
        cure = (
            "Write the workspace's container as `container` (and its account as the connection), or the name of the "
            "datastore that is on ours: runs would look for the data in the wrong place."
        )
        return [Finding("fault", where, what, cure)]
    if not (account and told.account):
        what = f"the workspace has it on container {theirs[1]!r}, too; whether of the same account cannot be told"
        return [Finding("warning", where, what, "Compare the accounts in the studio (Data, Datastores).")]
    return [Finding("ok", where, f"the workspace has it on the same container, {_place(*theirs)}")]


def _place(account: str, container: str) -> str:
    return f"{container!r} of account {account!r}" if account else repr(container)


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
        return Finding("fault", where, str(error), cure)
    return None


def cure_of(error: EndpointError, absent: str = ROLE) -> str:
    """Return what to do about a read of the workspace that failed."""
    if not isinstance(error, ReadError):
        return SIGN_IN if str(error).startswith("No token") else AGAIN
    cures = {None: CONNECT, 401: AUDIENCE + ROLE, 403: ROLE, 404: absent}
    return cures.get(error.status, AGAIN)
