"""`./retrain check`: a sound set-up, and each fault provoked for real, with the cure that is told."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from azure.data.tables import TableClient
from azure.storage.blob import ContainerClient

from local.azurite import connection_string
from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from shared import identity
from shared.app import App, build
from shared.ledger.table import Ledger
from shared.operate import check as checks
from shared.operate.compared import same_place
from shared.operate.findings import CONNECT, Finding, sound
from shared.pipelines.base import Registered
from shared.pipelines.wire import inputs, registered
from shared.rules.rule import DataPathParameter, Example, Rule
from shared.settings.model import Datastore, PipelineEndpoint, PublishedPipeline, Settings
from shared.storage.datastores import Datastore as Store
from tests import samples
from tests.fixtures_workspace import ROOT, LocalWorkspace
from tests.samples import ENDPOINT_URL, RULE

NOWHERE = 9  # the discard port: nobody listens
PUBLICATION: dict[str, Any] = {
    "name": "other",
    "parameters": [{"name": "seed", "type": "Int"}, {"name": "note", "type": "String", "optional": True}],
    "data_paths": [{"name": "input_data", "datastore": "archive", "path": "income"}],
    "datasets": [{"name": "labels", "datastore": "training", "path": "labels"}],
}


def store(container: ContainerClient) -> Store:
    """Return the datastore `training` on another container."""
    return Store("training", container)


@pytest.fixture
def ready(app: App, workspace: LocalWorkspace) -> App:
    """The application, with its container there."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    return app


def faults(found: list[Finding]) -> list[Finding]:
    """Return the faults, each of which must come with a cure."""
    bad = [finding for finding in found if finding.level == "fault"]
    assert all(finding.cure for finding in bad)
    return bad


def warnings(found: list[Finding]) -> list[Finding]:
    """Return the warnings."""
    return [finding for finding in found if finding.level == "warning"]


def with_rule(app: App, **changes: Any) -> App:
    """Return the application with its rule changed."""
    return with_settings(app, rules=(msgspec.structs.replace(RULE, **changes),))


def with_settings(app: App, **changes: Any) -> App:
    """Return the application with other settings, and the same connections."""
    return replace(app, settings=msgspec.structs.replace(app.settings, **changes))


def pinned(app: App, version: str) -> App:
    """Return the application with another version pinned."""
    return with_settings(
        app, pipelines={"income": msgspec.structs.replace(app.settings.pipelines["income"], version=version)}
    )


def publish(workspace: LocalWorkspace, version: str = "2", **changes: Any) -> None:
    """Give the endpoint one more version."""
    pipeline = workspace.control("POST", "pipelines", {**PUBLICATION, **changes})
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json()
    entity["PipelineVersionList"].append({"Version": version, "PipelineId": pipeline["Id"]})
    assert workspace.call("PUT", f"/PipelineEndpoints/{ENDPOINT_ID}", entity).ok


# Sound


@pytest.mark.parametrize(
    ("domain", "audience", "expected", "says"),
    [
        ("api.azureml.ms", "", "https://management.azure.com", ""),
        ("api.ml.azure.cn", "", "https://management.chinacloudapi.cn", ""),
        ("api.ml.azure.us", "", "https://management.usgovcloudapi.net", ""),
        ("api.azureml.ms", "https://ml.azure.com", "https://ml.azure.com", ""),
        ("api.ml.azure.cn", "https://management.azure.com", "https://management.azure.com", "China cloud"),
        ("example.com", "", "https://management.azure.com", ""),
    ],
)
def test_cloud_is_told_by_the_address(
    domain: str, audience: str, expected: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its audience need not be written; one of another cloud is probably not meant."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1/msi/token")
    url = ENDPOINT_URL.replace("http://127.0.0.1:7081", f"https://region.{domain}")
    pipeline = PipelineEndpoint(url=url, version="1", experiment="e", audience=audience)
    settings = samples.settings(pipelines={"income": pipeline})
    assert pipeline.target.audience == expected
    told = [finding for finding in checks.offline(settings) if finding.level != "ok"]
    assert [(one.where, says in one.what) for one in told] == ([("pipelines.income", True)] if says else [])


@pytest.mark.parametrize(
    ("domain", "authority", "says"),
    [
        ("api.azureml.ms", None, ""),
        ("api.ml.azure.cn", None, "signs in at login.microsoftonline.com"),
        ("api.ml.azure.cn", "https://login.chinacloudapi.cn/", ""),
        ("api.ml.azure.us", "login.microsoftonline.us", ""),
        ("api.azureml.ms", "https://login.chinacloudapi.cn", "signs in at login.chinacloudapi.cn"),
    ],
)
def test_who_signs_in_does_so_in_the_cloud_of_the_address(
    domain: str, authority: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a managed identity azure-identity has to be told."""
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    monkeypatch.delenv("AZURE_AUTHORITY_HOST", raising=False)
    if authority:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority)
    url = ENDPOINT_URL.replace("http://127.0.0.1:7081", f"https://region.{domain}")
    settings = samples.settings(pipelines={"income": PipelineEndpoint(url=url, version="1", experiment="e")})
    told = [finding.what for finding in checks.offline(settings) if finding.level != "ok"]
    assert [says in what for what in told] == ([True] if says else [])


def test_sound_set_up(ready: App) -> None:
    """Everything that was looked at is told, and nothing is to mend."""
    found = checks.check(ready)
    assert {finding.level for finding in found} == {"ok"}
    assert [finding.where for finding in found] == [
        "retrain.toml",
        "pipelines.income",
        "pipelines.income",
        "pipelines.income",
        "rules.income-files",
        "datastores.training",
        "rules.income-files",
        "datastores.training",
        "ledger",
    ]
    assert sound(found)


def test_check_leaves_nothing_behind(ready: App, workspace: LocalWorkspace) -> None:
    """No run, no row, and no rule's clock: blobs that are older than the deployment still start nothing."""
    checks.check(ready)
    assert workspace.control("GET", "runs") == []
    assert list(ready.ledger.table.list_entities()) == []


def test_ledger_that_is_not_there_yet_is_no_fault(ready: App, storage: str) -> None:
    """The app makes it when it starts; checking does not."""
    table = TableClient.from_connection_string(storage, "notyet")
    with table:
        found = checks.check(replace(ready, ledger=Ledger(table)))
        assert sound(found)
        assert "not there yet" in found[-1].what


def test_published_pipeline_without_an_endpoint(ready: App, workspace: LocalWorkspace) -> None:
    """Its id is the pin: no version is looked for."""
    url = f"{workspace.pipelines}/PipelineRuns/PipelineSubmit/{PIPELINE_IDS[1]}"
    published = PublishedPipeline(url=url, experiment="e")
    other = build(msgspec.structs.replace(ready.settings, pipelines={"income": published}))
    assert sound(checks.check(other))
    workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[1]}/status", "Disabled")
    [fault] = faults(checks.check(other))
    assert "'income-1' is disabled" in fault.what
    other.close()


# The endpoint and its version


def test_disabled_endpoint(ready: App, workspace: LocalWorkspace) -> None:
    """It would refuse every submission."""
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json()
    workspace.call("PUT", f"/PipelineEndpoints/{ENDPOINT_ID}", {**entity, "EntityStatus": "Disabled"})
    [fault] = faults(checks.check(ready))
    assert (fault.where, "'income' is disabled" in fault.what) == ("pipelines.income", True)


def test_pinned_version_that_is_not_there(ready: App) -> None:
    """The versions that are there are named."""
    [fault] = faults(checks.check(pinned(ready, "7")))
    assert fault.where == "pipelines.income.version"
    assert "has no version '7'; it has 0, 1" in fault.what


def test_pinned_version_that_is_disabled(ready: App, workspace: LocalWorkspace) -> None:
    """The endpoint is active, what is pinned is not."""
    workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[1]}/status", "Disabled")
    [fault] = faults(checks.check(ready))
    assert fault.where == "pipelines.income.version"
    assert f"is pipeline {PIPELINE_IDS[1]}, which is disabled" in fault.what


def test_newer_version_than_the_pinned_one_is_a_warning(ready: App, workspace: LocalWorkspace) -> None:
    """Published since; nothing moves by itself. Versions count as numbers."""
    publish(workspace, "2")
    publish(workspace, "10")
    found = checks.check(ready)
    [warning] = warnings(found)
    assert sound(found)
    assert warning.what == "version '1' is pinned; newer: 2, 10"
    assert 'version = "10"' in warning.cure


def test_endpoint_that_does_not_exist(ready: App, workspace: LocalWorkspace) -> None:
    """A wrong address; the rest is looked at all the same, as far as it can be."""
    other = at(ready, workspace.endpoint["url"].replace(ENDPOINT_ID, ENDPOINT_ID[::-1]))
    found = checks.check(other)
    [fault] = faults(found)
    assert "404 NotFound" in fault.what
    assert "Copy `url`" in fault.cure
    [warning] = warnings(found)
    assert "could not be read (pipelines.income)" in warning.what
    assert [finding.where for finding in found if finding.level == "ok"] == [
        "retrain.toml",
        "datastores.training",
        "rules.income-files",
        "ledger",
    ]


# Parameters


def test_data_path_parameter_that_the_pipeline_does_not_have(ready: App) -> None:
    """The nearest name is proposed."""
    [fault] = faults(checks.check(with_rule(ready, data_path=DataPathParameter(parameter="inputdata"))))
    assert fault.where == "rules.income-files.data_path"
    assert fault.what == "the pipeline has no parameter 'inputdata'; did you mean 'input_data'?"
    assert "country, input_data, seed, test_fraction" in fault.cure


@pytest.mark.parametrize(
    ("parameter", "assignment", "right"),
    [
        ("input_data", "string", "data_path"),
        ("input_data", "dataset", "data_path"),
        ("labels", "data_path", "dataset"),
        ("note", "data_path", "string"),
    ],
)
def test_data_path_in_the_wrong_map(
    ready: App, workspace: LocalWorkspace, parameter: str, assignment: Any, right: str
) -> None:
    """It says which assignment to write; the service might take the wrong one and train on the default."""
    publish(workspace)
    data_path = DataPathParameter(parameter=parameter, assignment=assignment)
    rule = with_rule(pinned(ready, "2"), data_path=data_path, parameters={"seed": "1"})
    [fault] = faults(checks.check(rule))
    assert fault.cure == f'Write assignment = "{right}" there.'


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"contry": "us"}, "no parameter 'contry'; did you mean 'country'?"),
        ({"country": "us\nde"}, "several lines"),
    ],
)
def test_further_parameters_that_cannot_be_given(ready: App, parameters: dict[str, str], what: str) -> None:
    """Unknown names and values with line breaks."""
    [fault] = faults(checks.check(with_rule(ready, parameters=parameters)))
    assert what in fault.what


def test_plain_value_for_a_dataset_parameter(ready: App, workspace: LocalWorkspace) -> None:
    """Only the data path goes onto such a parameter."""
    publish(workspace)
    [fault] = faults(checks.check(with_rule(pinned(ready, "2"), parameters={"seed": "1", "labels": "x"})))
    assert "'labels' is a dataset parameter, and takes no plain value" in fault.what


def test_required_parameter_that_no_rule_gives(ready: App, workspace: LocalWorkspace) -> None:
    """Without a default and not optional: the pipeline cannot run without it. An optional one may be left out."""
    publish(workspace)
    [fault] = faults(checks.check(pinned(ready, "2")))
    assert (fault.where, "'seed'" in fault.what) == ("rules.income-files", True)
    assert sound(checks.check(with_rule(pinned(ready, "2"), parameters={"seed": "{year}"})))


def test_default_on_another_datastore_is_a_warning(ready: App, workspace: LocalWorkspace) -> None:
    """It may be meant: the path that is given replaces it, datastore and all."""
    publish(workspace)
    [warning] = warnings(checks.check(with_rule(pinned(ready, "2"), parameters={"seed": "1"})))
    assert "datastore 'archive', the rule's is 'training'" in warning.what


@pytest.mark.parametrize(("value", "count"), [("many", 1), ("0.5", 0), ("True", 0), ("{stem}", 0)])
def test_value_that_is_no_number_is_a_warning(ready: App, value: str, count: int) -> None:
    """The SDK publishes a bool as Int, so True passes; a template's value is not known yet."""
    found = checks.check(with_rule(ready, parameters={"test_fraction": value}))
    assert sound(found)
    assert len(warnings(found)) == count


def test_interface_with_words_for_numbers_and_no_lists() -> None:
    """The service may send either, or leave lists out."""
    parameters = [{"Name": name, "Type": code} for name, code in (("a", 1), ("b", "1"), ("c", "Double"), ("d", None))]
    found = inputs(msgspec.json.encode({"Parameters": parameters, "DataPathParameters": None, "Ports": {}}))
    assert [one.type for one in found] == ["Double", "Double", "Double", ""]
    assert all(one.required and one.assignment == "string" for one in found)


# Datastores and ledger


def test_datastore_that_is_not_registered(ready: App) -> None:
    """A run would not find it: the name is the workspace's, not the container's."""
    stores = {"trainings": Datastore(container="training-data", connection="TrainingStorage")}
    other = with_settings(with_rule(ready, datastore="trainings"), datastores=stores)
    found = checks.check(replace(other, datastores={"trainings": ready.datastores["training"]}))
    [fault] = faults(found)
    assert "no datastore 'trainings'" in fault.what
    assert "Register container 'training-data'" in fault.cure


def test_datastore_on_another_container(ready: App, workspace: LocalWorkspace) -> None:
    """Runs would look for the data in the wrong place."""
    workspace.control("POST", "datastores", {"name": "training", "container": "other"})
    [fault] = faults(checks.check(ready))
    assert fault.what == (
        "in the workspace it is container 'other' of account 'devstoreaccount1', "
        "here 'training-data' of account 'devstoreaccount1'"
    )


@pytest.mark.parametrize(
    ("told", "level"),
    [
        (Registered(kind="AzureBlob", account="acc", container="c"), "ok"),
        (Registered(kind="AzureDataLakeGen2", account="acc", container="c"), "ok"),
        (Registered(kind="AzureBlob", account="other", container="c"), "fault"),
        (Registered(kind="AzureBlob", container="c"), "warning"),
        (Registered(kind="AzureFile", account="acc", container="c"), "fault"),
        (Registered(kind="AzureSqlDatabase"), "fault"),
    ],
)
def test_where_the_workspace_has_a_datastore(told: Registered, level: str) -> None:
    """Kind, account and container; what is not told is not held against it."""
    with ContainerClient("https://acc.privatelink.blob.core.windows.net", "c") as container:
        [finding] = same_place("datastores.d", told, container)
    assert finding.level == level


def test_credential_of_a_datastore_is_not_kept() -> None:
    """The service tells it to whoever may read the datastore; neither the result nor an error repeats it."""
    section = {"accountName": "a", "containerName": "c", "credentialType": "AccountKey", "credential": "secret=="}
    content = {"name": "n", "dataStoreType": "AzureBlob", "azureStorageSection": {**section, "accountKey": "secret=="}}
    assert "secret" not in repr(registered(msgspec.json.encode(content)))
    with pytest.raises(Exception, match="no datastore") as caught:
        registered(msgspec.json.encode({**content, "dataStoreType": ["secret=="]}))
    assert "secret" not in str(caught.value)


def test_container_that_does_not_exist(ready: App, storage: str) -> None:
    """It says which one."""
    with ContainerClient.from_connection_string(storage, "nothing-here") as container:
        found = faults(checks.check(replace(ready, datastores={"training": store(container)})))
    assert "'nothing-here' cannot be read: 404 ContainerNotFound" in found[0].what
    assert "Make container 'nothing-here'" in found[0].cure


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # azure-data-tables does
def test_account_with_a_wrong_key(ready: App, storage: str) -> None:
    """Roles for both services are named."""
    wrong = storage.replace("AccountKey=", "AccountKey=AAAA")
    with (
        ContainerClient.from_connection_string(wrong, "training-data") as container,
        TableClient.from_connection_string(wrong, "retrains") as table,
    ):
        found = checks.check(replace(ready, datastores={"training": store(container)}, ledger=Ledger(table)))
    blobs, ledger = faults(found)
    assert "'Storage Blob Data Owner'" in blobs.cure
    assert (ledger.where, "'Storage Table Data Contributor'" in ledger.cure) == ("ledger", True)


def test_account_that_cannot_be_reached(ready: App) -> None:
    """It says what to look at; the workspace is looked at all the same."""
    nowhere = connection_string(NOWHERE)
    with (
        ContainerClient.from_connection_string(nowhere, "training-data", retry_total=0) as container,
        TableClient.from_connection_string(nowhere, "retrains", retry_total=0) as table,
    ):
        found = checks.check(replace(ready, datastores={"training": store(container)}, ledger=Ledger(table)))
    assert [(fault.where, fault.cure) for fault in faults(found)] == [
        ("datastores.training", CONNECT),
        ("ledger", CONNECT),
    ]


# Rights and reach


def at(app: App, url: str) -> App:
    """Return the application with its pipeline at another address."""
    pipeline = msgspec.structs.replace(app.settings.pipelines["income"], url=url)
    return with_settings(app, pipelines={"income": pipeline})


def test_workspace_that_cannot_be_reached(ready: App) -> None:
    """It says what to look at."""
    other = at(ready, ENDPOINT_URL.replace(":7081", f":{NOWHERE}"))
    [fault] = faults(checks.check(other))
    assert fault.cure == CONNECT


def test_identity_that_gets_no_token(ready: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing in comes first."""
    monkeypatch.setenv("PATH", "")  # no `az` either
    identity.credential.cache_clear()
    workspace.control("POST", "faults", [{"on": "token", "kind": "status", "status": 403, "times": 9}])
    [fault] = faults(checks.check(ready))
    assert fault.what.startswith("No token for https://management.azure.com/.default")
    assert "az login" in fault.cure


def test_token_for_another_audience(ready: App) -> None:
    """The workspace answers 401, to a fresh token, too."""
    pipeline = msgspec.structs.replace(ready.settings.pipelines["income"], audience="https://ml.azure.com")
    other = build(msgspec.structs.replace(ready.settings, pipelines={"income": pipeline}))
    [fault] = faults(checks.check(other))
    assert "401 Unauthorized" in fault.what
    assert "`audience`" in fault.cure
    assert "AzureML Data Scientist" in fault.cure
    other.close()


def test_run_history_that_cannot_be_searched(ready: App, workspace: LocalWorkspace) -> None:
    """Reconciliation needs it: a fault before there is anything to reconcile."""
    workspace.control("POST", "faults", [{"on": "list", "kind": "status", "status": 403}])
    [fault] = faults(checks.check(ready))
    assert "run history cannot be searched" in fault.what
    assert "AzureML Data Scientist" in fault.cure


class Refusing(BaseHTTPRequestHandler):
    """A service that refuses below `refused`, and passes nothing else on."""

    def do_GET(self) -> None:
        """Answer 403 for datastores, and what an endpoint looks like elsewhere."""
        answers: dict[str, Any] = {
            "/PipelineEndpoints/": {"Name": "income", "PipelineVersionList": [{"Version": "1", "PipelineId": "p"}]},
            "/Pipelines/": {"Name": "p", "GraphId": "g", "EntityStatus": "Active"},
            "/Graphs/": {"DataPathParameters": [{"Name": "input_data", "DefaultValue": {"DataStoreName": "training"}}]},
        }
        found = next((body for part, body in answers.items() if part in self.path), None)
        refusal = {"error": {"code": "Forbidden", "message": "may not datastores/read"}}
        self.answer(200 if found else 403, found or refusal)

    def do_POST(self) -> None:
        """Find no run."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"value": []})

    def answer(self, status: int, body: object) -> None:
        """Send JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """Address of a workspace where datastores may not be read."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_datastore_that_may_not_be_read_is_a_warning(ready: App, refusing: str) -> None:
    """A submission does not need this right; what cannot be told is not a fault. Statuses may come as words, or not."""
    other = at(ready, ENDPOINT_URL.replace("127.0.0.1:7081", refusing))
    found = checks.check(other)
    assert faults(found) == []
    [warning] = warnings(found)
    assert "403 Forbidden: may not datastores/read" in warning.what
    assert "AzureML Data Scientist" in warning.cure


# Offline


def test_offline_looks_at_the_configuration_alone() -> None:
    """No connection is needed for what the file alone tells; what no rule uses is a warning."""
    assert [finding.level for finding in checks.offline(samples.settings())] == ["ok"]
    made = samples.settings()
    idle: Settings = samples.settings(
        rules=(msgspec.structs.replace(RULE, pipeline="p", datastore="d"),),
        datastores={**made.datastores, "d": made.datastores["training"]},
        pipelines={**made.pipelines, "p": made.pipelines["income"]},
    )
    assert [finding.where for finding in warnings(checks.offline(idle))] == ["pipelines.income", "datastores.training"]
    lines: Rule = msgspec.structs.replace(RULE, parameters={"note": "a\nb"})
    [fault] = faults(checks.offline(samples.settings(rules=(lines,))))
    assert fault.where == "rules.income-files"


@pytest.mark.parametrize(
    ("changes", "where", "says"),
    [
        ({"path": "training-data/income/**/*.csv"}, "path", "did you mean 'income/**/*.csv'?"),
        ({"path": "training/income/*.csv"}, "path", "did you mean 'income/*.csv'?"),
        ({"path": "income/my%20data/*.csv"}, "path", "did you mean 'income/my data/*.csv'?"),
        ({"path": "income/2026-[0-9][0-9]/*.csv"}, "path", "'[0-9]' is taken as it is"),
        ({"ignore": ["**/[.]*"]}, "ignore[0]", "'[.]' is taken as it is"),
        ({"ignore": ["income/**"]}, "ignore", "take back all"),
        ({"ignore": ["**/*.txt", "*/**/*.csv"]}, "ignore", "take back all"),
        ({"path": "in/{c}/{day:date:%Y%m%d}/{n:int}.csv", "ignore": ["in/*/*/*"]}, "ignore", "take back all"),
    ],
)
def test_pattern_that_is_probably_not_meant(changes: dict[str, Any], where: str, says: str) -> None:
    """A warning at the key, with what may be meant."""
    rule = msgspec.structs.replace(RULE, **changes)
    [warning] = checks.offline(samples.settings(rules=(rule,)))[1:]
    assert (warning.level, warning.where) == ("warning", f"rules.income-files.{where}")
    assert says in f"{warning.what} {warning.cure}"


@pytest.mark.parametrize(
    "changes",
    [
        {"ignore": ["**/_*/**", "**/.*", "**/*.tmp.csv", "income/archive/**"]},
        {"path": "income/{country}/**", "ignore": ["income/us/**", "**/a"]},
        {"path": "income/100%/*.csv"},
    ],
)
def test_pattern_that_takes_something_is_no_warning(changes: dict[str, Any]) -> None:
    """What is ignored may be much, as long as something is left."""
    rule = msgspec.structs.replace(RULE, **changes)
    assert warnings(checks.offline(samples.settings(rules=(rule,)))) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"path": "income/*.parquet"}, "takes none of 1 blobs below 'income/'"),
        ({"ignore": ["**/a.csv"]}, "such as 'income/us/a.csv': is ignored by '**/a.csv'"),
        ({"min_bytes": 1000}, "less than the rule's min_bytes"),
        ({"path": "outgoing/*.csv"}, "nothing is there below 'outgoing/'"),
    ],
)
def test_rule_that_takes_nothing_of_what_is_there(ready: App, changes: dict[str, Any], says: str) -> None:
    """A warning, with a name that is there and why the rule does not take it."""
    found = checks.check(with_rule(ready, **changes))
    assert sound(found)
    [warning] = [one for one in warnings(found) if one.where == "rules.income-files"]
    assert says in f"{warning.what} {warning.cure}"


# The command


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `./retrain check` as a process of its own, past the door."""
    command = [sys.executable, "-m", "cli", "check", *arguments]
    env = {**os.environ, "INCOME_ENDPOINT_URL": ENDPOINT_URL, "TRAINING_CONTAINER": "training-data", **environ}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60, check=False)


def test_command_on_a_sound_set_up(ready: App, workspace: LocalWorkspace) -> None:
    """Exit code 0, one line a finding; as JSON one object."""
    done = run(INCOME_ENDPOINT_URL=workspace.endpoint["url"])
    assert (done.returncode, "FAULT" in done.stdout) == (0, False), done.stdout
    assert "ok       pipelines.income: 'income' is active" in done.stdout
    assert "faults: 0, warnings: 0" in done.stdout
    done = run("--json", INCOME_ENDPOINT_URL=workspace.endpoint["url"])
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    assert told["findings"][1].keys() == {"level", "where", "what", "cure"}


def test_command_with_a_fault(ready: App, workspace: LocalWorkspace) -> None:
    """Exit code 1; the cure stands below the fault; as JSON not ok."""
    workspace.control("POST", "datastores", {"name": "training", "container": "other"})
    done = run(INCOME_ENDPOINT_URL=workspace.endpoint["url"])
    lines = done.stdout.splitlines()
    [number] = [number for number, line in enumerate(lines) if line.startswith("FAULT    datastores.training: ")]
    assert lines[number + 1].startswith("         -> Write the workspace's container")
    assert (done.returncode, lines[-1][:9]) == (1, "faults: 1")
    told = json.loads(run("--json", INCOME_ENDPOINT_URL=workspace.endpoint["url"]).stdout)
    assert told["ok"] is False


@pytest.mark.parametrize("offline", [True, False])
def test_command_with_faults_in_the_configuration(offline: bool) -> None:
    """All of them are told, and nothing is connected to."""
    done = run(*(["--offline"] if offline else []), "--json", RETRAIN_GRACE="soon", TRAINING_CONTAINER="No!")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert {finding["where"].split(":")[0] for finding in told["findings"]} == {
        "retrain.toml",
        "app setting RETRAIN_GRACE",
    }
    assert any("datastores.training.container" in finding["what"] for finding in told["findings"])


def test_command_offline() -> None:
    """Nobody needs to be there, and no token is asked for."""
    done = run("--offline", IDENTITY_ENDPOINT=f"http://127.0.0.1:{NOWHERE}", TrainingStorage=connection_string(NOWHERE))
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("ok       retrain.toml")


def test_example_that_does_not_hold_is_a_fault(ready: App) -> None:
    """Rule and intent have drifted apart; it needs no workspace to see that."""
    wrong = Example(path="income/us/a.csv", skip=True)
    rule = msgspec.structs.replace(ready.settings.rules[0], examples=[wrong])
    [fault] = faults(checks.offline(msgspec.structs.replace(ready.settings, rules=(rule,))))
    assert "is to be skipped, but starts a run" in fault.what
