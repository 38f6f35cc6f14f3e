"""What the workspace tells, held against the configuration: the pin, parameters, datastores, outputs.

Pure: never reads anything itself, `check` does.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping

from azure.storage.blob import ContainerClient

from shared.operate.findings import Finding, sound
from shared.pipelines.base import Described, Input, Registered
from shared.rules.loops import starts_again
from shared.rules.rule import DataPathParameter, FurtherDataPath, Rule
from shared.settings.model import Output, Pipeline
from shared.settings.read import loop

ACTIVE = "Active"
# The kinds of datastore that are containers of a storage account.
CONTAINERS = ("AzureBlob", "AzureDataLakeGen2")
PUBLISHED_AS = {"data_path": "a DataPath parameter", "dataset": "a dataset parameter", "string": "a plain parameter"}


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


def parameters(rule: Rule, inputs: Collection[Input]) -> list[Finding]:
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
        found += _kind(table, wanted, taker)
        if taker.datastore is not None and taker.datastore != datastore:
            what = f"its default is on datastore {taker.datastore!r}, the rule's is {datastore!r}"
            cure = "Nothing to do if the pipeline may read both; else make the rule for the other datastore."
            found.append(Finding("warning", table, what, cure))
    return found


def _kind(table: str, wanted: DataPathParameter | FurtherDataPath, taker: Input) -> list[Finding]:
    """Is the input of a component declared as what it is given, a file or a folder?"""
    if taker.assignment == "string":
        return []
    if taker.type not in ("", "uri_file", "uri_folder"):
        what = f"{taker.name!r} is declared as {taker.type}, which takes no path on a datastore here"
        return [Finding("fault", table, what, "Declare it as uri_file or uri_folder: see docs/settings.md.")]
    given = "uri_folder" if isinstance(wanted, DataPathParameter) and wanted.grain == "folder" else "uri_file"
    if not isinstance(wanted, DataPathParameter) or taker.type in ("", given):
        return []
    what = f"{taker.name!r} is declared as {taker.type}, and is given as {given}, by the rule's grain"
    return [Finding("warning", table, what, "Declare it so, or change the grain; the service may refuse it otherwise.")]


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


def same_place(where: str, told: Registered, container: ContainerClient) -> list[Finding]:
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


def output(
    where: str,
    told: Output,
    registered: Registered | None,
    watched: Mapping[str, ContainerClient],
    rules: Iterable[Rule],
) -> Finding:
    """Is the datastore of an output there, and what is written there taken by no rule?

    `watched`: the containers of the rules' datastores.
    """
    if registered is None:
        what = f"the workspace has no datastore {told.datastore!r}"
        return Finding("fault", where, what, "Write the name that a datastore is registered under.")
    for rule in rules:
        ours = watched[rule.datastore]
        account = (ours.account_name or "").partition(".")[0]
        same = (registered.container, registered.account or account) == (ours.container_name, account)
        if same and (blob := starts_again(rule, told.folder)):
            return Finding("fault", where, loop(told, rule, blob), "Until then nothing should be deployed.")
    return Finding("ok", where, f"goes to {told.path!r} on datastore {told.datastore!r}, where no rule takes anything")
