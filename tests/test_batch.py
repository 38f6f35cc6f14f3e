"""Batch endpoints as a kind of pipeline: what is invoked, read, found again; and an arrival's whole way over one."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local.workspace.seed import BATCH_ENDPOINT
from local.workspace.state import PATH
from shared import identity
from shared.app import App
from shared.errors import ConfigurationError, EndpointError
from shared.flow.arrive import arrive
from shared.flow.tick import tick
from shared.identity import Tokens
from shared.ledger.entries import Entry, State
from shared.operate import check as checks
from shared.operate import redrive as operators
from shared.operate.calls import Call
from shared.operate.compared import parameters
from shared.operate.plan import plan_call
from shared.pipelines.address import Address
from shared.pipelines.base import Input, Limits, NotAccepted, Phase, Refused, Submitted, Unknown
from shared.pipelines.batch import BatchEndpoint as Client
from shared.pipelines.batch import invocation
from shared.pipelines.calls import new_session
from shared.pipelines.clouds import CLOUDS, cloud_of
from shared.pipelines.jobs import listed
from shared.pipelines.target import Target
from shared.rules.arrival import Source
from shared.rules.decision import DataPath
from shared.rules.rule import DataPathParameter, Settle
from shared.settings import read
from shared.settings.model import BatchEndpoint
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import retrain_request

WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
SCORING = "https://income.westeurope.inference.ml.azure.com/jobs"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (SCORING, ("https://westeurope.api.azureml.ms", "income", "https://management.azure.com")),
        (SCORING + "/", ("https://westeurope.api.azureml.ms", "income", "https://management.azure.com")),
        (
            SCORING.replace("azure.com", "azure.cn"),
            ("https://westeurope.api.ml.azure.cn", "income", "https://management.chinacloudapi.cn"),
        ),
        (
            SCORING.replace("azure.com", "azure.us"),
            ("https://westeurope.api.ml.azure.us", "income", "https://management.usgovcloudapi.net"),
        ),
        (
            "http://127.0.0.1:7081/batch/income-batch/jobs",
            ("http://127.0.0.1:7081", "income-batch", "http://127.0.0.1:7081"),
        ),
    ],
)
def test_scoring_uri_tells_cloud_region_and_name(url: str, expected: tuple[str, str, str]) -> None:
    """One table has what belongs together."""
    address = Address.of_batch(url, WORKSPACE)
    assert (address.service, address.id, address.management) == expected
    assert address.scoring == url.rstrip("/")
    assert cloud_of(address.management).machine_learning.startswith("https://ml.azure.")


@pytest.mark.parametrize(
    ("url", "workspace", "says"),
    [
        (f"https://management.azure.com{WORKSPACE}/batchEndpoints/income", WORKSPACE, "expected the scoring URI"),
        ("https://income.westeurope.inference.ml.azure.com/score", WORKSPACE, "expected the scoring URI"),
        ("https://income.westeurope.inference.example.com/jobs", WORKSPACE, "expected the scoring URI"),
        ("https://127.0.0.1:7081/jobs", WORKSPACE, "expected the scoring URI"),
        (SCORING.replace("https", "http"), WORKSPACE, "expected https"),
        (f"{SCORING}?x=1", WORKSPACE, "expected no query"),
        (f"{SCORING} ", WORKSPACE, "expected no blanks"),
        (SCORING, "w", "expected the workspace's id"),
        (SCORING, "", "expected the workspace's id"),
    ],
)
def test_address_that_is_none(url: str, workspace: str, says: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match=says):
        Address.of_batch(url, workspace)


def test_clouds_have_all_of_it() -> None:
    """Hosts and audiences, each its own."""
    for cloud in CLOUDS.values():
        assert all(msgspec.structs.astuple(cloud))
    assert len({cloud.management for cloud in CLOUDS.values()}) == len(CLOUDS)


def test_body_of_an_invocation() -> None:
    """As the SDK sends it (./retrain conformance), with our key in every place that might keep it."""
    request = msgspec.structs.replace(
        retrain_request(path="income/us/ü 1.csv"),
        parameters={"seed": "7", "test_fraction": "0.3", "on": "True", "country": "us", "odd": "x"},
        data_paths=(
            DataPath(datastore="lake", path="ref/", parameter="ref"),
            DataPath(datastore="lake", path="a", parameter="declared"),
            DataPath(datastore="lake", path="a.csv", parameter="file"),
        ),
        tags={"country": "us", "retrain.key": "forged"},
    )
    types = {
        "seed": "Int",
        "test_fraction": "Double",
        "on": "Bool",
        "country": "String",
        "odd": "Int",
        "declared": "uri_folder",
    }
    outputs = (("model", "azureml://datastores/models/paths/income/{key}"),)
    address = Address.of_batch(SCORING, WORKSPACE)
    pinned = Target(address=address, version="income-1", experiment="income-retrain", outputs=outputs)
    told = invocation(request, pinned, types)["properties"]
    data = {
        name: (value["jobInputType"], value.get("uri", value.get("value"))) for name, value in told["inputData"].items()
    }
    assert data == {
        "input_data": ("UriFile", "azureml://datastores/training/paths/income/us/ü 1.csv"),
        "ref": ("UriFolder", "azureml://datastores/lake/paths/ref/"),
        "declared": ("UriFolder", "azureml://datastores/lake/paths/a"),
        "file": ("UriFile", "azureml://datastores/lake/paths/a.csv"),
        "seed": ("Literal", 7),
        "test_fraction": ("Literal", 0.3),
        "on": ("Literal", True),
        "country": ("Literal", "us"),
        "odd": ("Literal", "x"),
    }
    assert told["name"] == told["tags"]["retrain.key"] == told["properties"]["retrain.key"] == request.key
    assert told["properties"]["experimentName"] == "income-retrain"
    assert told["tags"]["country"] == "us"
    where = f"azureml://datastores/models/paths/income/{request.key}"
    assert told["outputData"] == {"model": {"jobOutputType": "UriFolder", "uri": where}}
    assert "outputData" not in invocation(request, msgspec.structs.replace(pinned, outputs=()), types)["properties"]


# The client against the stand-in


def pipeline(workspace: LocalWorkspace, **changes: Any) -> BatchEndpoint:
    """Return the stand-in's batch endpoint as retrain.toml would have it."""
    url = f"{workspace.base_url}/batch/{BATCH_ENDPOINT}/jobs"
    values = {"url": url, "workspace": PATH, "deployment": "income-1", "experiment": "income-retrain"}
    return BatchEndpoint(**{**values, **changes})


@pytest.fixture
def client(workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client; jobs are held."""
    workspace.control("POST", "settings", {"engine": "hold"})
    monkeypatch.setenv("IDENTITY_ENDPOINT", workspace.info["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", workspace.info["identity_header"])
    identity.credential.cache_clear()
    address, limits = pipeline(workspace).target.address, Limits(begin_s=5, retry_s=2, connect_s=1, read_s=2)
    with new_session() as session:
        yield Client(address, Tokens("https://ml.azure.com"), Tokens("https://management.azure.com"), session, limits)
    identity.credential.cache_clear()


def target(client: Client, deployment: str = "income-1") -> Target:
    """Return a deployment."""
    return Target(address=client.address, version=deployment, experiment="e", audience="https://ml.azure.com")


def submitted(client: Client, **changes: Any) -> str:
    """Submit a request; return the job's name."""
    answer = client.submit(msgspec.structs.replace(retrain_request(), **changes), target(client))
    assert isinstance(answer, Submitted), answer
    return answer.run_id


def test_invocation_goes_to_the_pinned_deployment(workspace: LocalWorkspace, client: Client) -> None:
    """Its name is our key, where the service honours that; without parameters nothing is read before."""
    request = retrain_request()
    name = submitted(client, key=request.key)
    [run] = workspace.control("GET", "runs")
    assert (run["version"], run["headers"]["azureml-model-deployment"]) == ("income-1", "income-1")
    assert name == run["run_id"] == request.key
    assert uuid.UUID(run["headers"]["repeatability_request-id"])
    assert workspace.control("GET", "requests")["other"] == 0


def test_parameters_have_the_types_that_the_component_declares(workspace: LocalWorkspace, client: Client) -> None:
    """Read once a process."""
    for _ in range(2):
        submitted(client, key=retrain_request().key, parameters={"seed": "7", "test_fraction": "0.3", "country": "us"})
    first, second = workspace.control("GET", "runs")
    literals = {name: value.get("value") for name, value in first["body"]["properties"]["inputData"].items()}
    assert literals == {"input_data": None, "seed": 7, "test_fraction": 0.3, "country": "us"}
    assert second["body"]["properties"]["inputData"]["seed"]["value"] == 7
    assert workspace.control("GET", "requests")["endpoint"] == 2


def test_parameters_go_as_texts_where_types_cannot_be_read(workspace: LocalWorkspace, client: Client) -> None:
    """The service takes them, or says what is wrong."""
    workspace.control("POST", "faults", [{"on": "endpoint", "kind": "status", "status": 403}])
    submitted(client, parameters={"seed": "7"})
    assert workspace.control("GET", "runs")[0]["body"]["properties"]["inputData"]["seed"]["value"] == "7"


@pytest.mark.parametrize("name", ["retrain.x", "a-b", "ä", "a b"])
def test_name_that_no_input_can_have_is_refused_before_it_is_sent(
    workspace: LocalWorkspace, client: Client, name: str
) -> None:
    """Letters, digits and underscores."""
    answer = client.submit(msgspec.structs.replace(retrain_request(), parameters={name: "x"}), target(client))
    assert isinstance(answer, Refused)
    assert "is no name of a job's input" in answer.reason
    assert workspace.control("GET", "requests")["submit"] == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "status", "status": 400}, Refused),
        ({"kind": "status", "status": 409}, Refused),
        ({"kind": "status", "status": 403}, NotAccepted),
        ({"kind": "status", "status": 404}, NotAccepted),
        ({"kind": "status", "status": 500}, Unknown),
        ({"kind": "status", "status": 202}, Unknown),
        ({"kind": "status", "status": 201, "body": {}}, Unknown),
        ({"kind": "status", "status": 200, "body": "no json"}, Unknown),
        ({"kind": "drop"}, Unknown),
        ({"kind": "accept_then_drop"}, Unknown),
    ],
)
def test_what_an_answer_means(workspace: LocalWorkspace, client: Client, fault: dict[str, Any], expected: type) -> None:
    """As of the pipelines service; only 200 and 201 with a name accept."""
    workspace.control("POST", "faults", [{"on": "submit", **fault}])
    assert isinstance(client.submit(retrain_request(), target(client)), expected)


def test_deployment_that_is_not_there(client: Client) -> None:
    """Not accepted, in the service's words; it never becomes the default one."""
    answer = client.submit(retrain_request(), target(client, "income-9"))
    assert isinstance(answer, NotAccepted)
    assert "Deployment 'income-9' does not exist" in answer.reason


def test_invocation_that_is_sent_twice_is_one_job(workspace: LocalWorkspace, client: Client) -> None:
    """Where names are honoured: the second is refused, and that says that the first exists."""
    request = retrain_request()
    names = {submitted(client, key=request.key) for _ in range(2)}
    assert names == {request.key}
    assert len(workspace.control("GET", "runs")) == 1


@pytest.mark.parametrize(
    ("word", "phase"),
    [("Running", Phase.RUNNING), ("Finished", Phase.FINISHED), ("Failed", Phase.FAILED), ("Canceled", Phase.CANCELED)],
)
def test_job_is_read_back(workspace: LocalWorkspace, client: Client, word: str, phase: Phase) -> None:
    """With its phase, our key, its deployment, and why it failed."""
    name = submitted(client)
    assert client.run(name).phase == Phase.PENDING
    error = "no column age" if word == "Failed" else None
    workspace.control("POST", f"runs/{name}/status", {"status": word, "error": error})
    run = client.run(name)
    assert (run.phase, run.pipeline_id, run.key) == (phase, "income-1", name)
    assert client.error_of(name) == (error or "")
    assert run.run_url.startswith("https://ml.azure.com/runs/")


def test_job_is_read_through_the_scoring_uri_where_resource_manager_is_not_to_be_had(
    workspace: LocalWorkspace, client: Client
) -> None:
    """A role on the endpoint alone."""
    name = submitted(client)
    workspace.control("POST", "faults", [{"on": "status", "kind": "status", "status": 403}])
    assert client.run(name).run_id == name
    workspace.control("POST", "faults", [{"on": "status", "kind": "status", "status": 403, "times": 2}])
    with pytest.raises(EndpointError, match="403"):
        client.run(name)


@pytest.mark.parametrize("settings", [{}, {"honour_job_names": False}])
def test_job_is_found_by_our_key(workspace: LocalWorkspace, client: Client, settings: dict[str, Any]) -> None:
    """By its name in one read; else by the property, among the workspace's jobs."""
    workspace.control("POST", "settings", settings)
    request = retrain_request()
    name = submitted(client, key=request.key)
    found = client.search(request.key, "e")
    assert found is not None
    assert found.run_id == name
    assert client.search("20260101T000000Z-" + "0" * 32, "e") is None


def test_list_goes_on_page_by_page_and_only_at_its_own_host(workspace: LocalWorkspace, client: Client) -> None:
    """The newest pages; a token goes to no other host."""
    workspace.control("POST", "settings", {"page_size": 2})
    names = [submitted(client, key=f"20261101T12000{number}Z-{number:032x}") for number in range(5)]
    assert [run.run_id for run in client.runs("income-1")] == names[::-1]
    assert client.runs("income-0") == []
    with pytest.raises(EndpointError, match="goes on at another host"):
        listed(client._scoring, "https://evil.example/jobs", client.address.service, 1)


def test_cancel(workspace: LocalWorkspace, client: Client) -> None:
    """Through Resource Manager."""
    name = submitted(client)
    client.cancel(name)
    assert client.run(name).phase == Phase.CANCELED


def test_endpoint_is_described_by_what_the_component_declares(client: Client) -> None:
    """Deployments, types, what is required."""
    told = client.described("income-1")
    assert (told.name, told.status, told.versions, told.pipeline_id) == (
        BATCH_ENDPOINT,
        "Active",
        ("income-0", "income-1"),
        "income-1",
    )
    inputs = {one.name: (one.assignment, one.type, one.required) for one in told.inputs}
    assert inputs["input_data"] == ("data_path", "uri_file", True)
    assert inputs["seed"] == ("string", "Int", False)
    assert client.described("income-9").pipeline_id is None
    assert client.registered("nowhere") is None
    store = client.registered("training")
    assert store is not None
    assert (store.kind, store.container) == ("AzureBlob", "training-data")


# The application over it


@pytest.fixture
def made(app: App, workspace: LocalWorkspace, empty_container: None) -> App:
    """The application whose pipeline is the batch endpoint."""
    return over(app, workspace)


def over(app: App, workspace: LocalWorkspace, **changes: Any) -> App:
    """Return the application with the batch endpoint as its pipeline, at once or beside the other."""
    pipelines = {**app.settings.pipelines, "income": pipeline(workspace)}
    settings = msgspec.structs.replace(app.settings, **{"pipelines": pipelines, **changes})
    made = App(settings, app.ledger, app.datastores, app.endpoints)
    made.prepare()
    return made


def upload(app: App, workspace: LocalWorkspace, path: str = "income/us/a.csv", **fault: Any) -> Entry:
    """Let a file arrive, while the endpoint answers with a fault."""
    workspace.upload(path, f"a\n{path}\n")
    if fault:
        workspace.control("POST", "faults", [{"on": "submit", **fault}])
    [outcome] = arrive(app, "training", path, Source.BLOB_EVENT)
    assert outcome.entry is not None
    return outcome.entry


def now(app: App, entry: Entry) -> Entry:
    """Return the entry as the ledger has it."""
    row = app.ledger.get(entry.key, [entry.rule])
    assert row is not None
    return row.entry


def later(app: App, **by: float) -> None:
    """Move the app's clock on."""
    clock = app.ledger.now
    app.ledger.now = lambda: clock() + timedelta(**by)


def test_arrival_becomes_a_job_and_is_followed_to_its_end(made: App, workspace: LocalWorkspace) -> None:
    """The same states as over a pipeline endpoint; a second delivery is a duplicate."""
    entry = upload(made, workspace)
    assert (entry.state, entry.version, entry.run_id) == (State.SUBMITTED, "income-1", entry.key)
    [again] = arrive(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert again.duplicate
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Running"})
    tick(made)
    assert (now(made, entry).state, now(made, entry).pipeline_id) == (State.RUNNING, "income-1")
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Finished"})
    tick(made)
    assert (now(made, entry).state, now(made, entry).run_status) == (State.FINISHED, "Completed")


@pytest.mark.parametrize("settings", [{}, {"honour_job_names": False}, {"list_lag_s": 0.5}])
@pytest.mark.parametrize("kind", ["accept_then_drop", "drop"])
def test_submission_without_an_answer_is_settled(
    made: App, workspace: LocalWorkspace, kind: str, settings: dict[str, Any]
) -> None:
    """One job, whether it was accepted or not: found by name or property, or sent again when it is surely absent."""
    upload(made, workspace, "income/us/before.csv")
    tick(made)  # it is learned that keys come back
    workspace.control("POST", "settings", settings)
    entry = upload(made, workspace, kind=kind)
    assert entry.state == State.UNCERTAIN
    for _ in range(4):
        later(made, minutes=6)
        tick(made)
    assert now(made, entry).state in (State.SUBMITTED, State.RUNNING)
    keys = [run["body"]["properties"]["tags"]["retrain.key"] for run in workspace.control("GET", "runs")]
    assert keys.count(entry.key) == 1


def test_deployment_that_another_one_answers_for_is_an_alarm(made: App, workspace: LocalWorkspace) -> None:
    """The job read back names its deployment: the pin is proven."""
    workspace.control("POST", "settings", {"ignore_pin": True})
    entry = upload(made, workspace)
    tick(made)
    assert now(made, entry).state == State.MISPINNED
    assert "is of pipeline income-0, but version income-1" in now(made, entry).reason


def test_tag_of_a_rule_is_no_proof_of_the_deployment(
    app: App, workspace: LocalWorkspace, empty_container: None
) -> None:
    """Only the service's own property is; whatever a rule calls its tags."""
    made = over(
        app, workspace, rules=(samples.changed(tags={"deploymentName": "other", "azureml.deploymentName": "x"}),)
    )
    entry = upload(made, workspace)
    tick(made)
    assert now(made, entry).state == State.SUBMITTED
    assert now(made, entry).pipeline_id == "income-1"


def test_folder_is_a_folder(app: App, workspace: LocalWorkspace, empty_container: None) -> None:
    """The grain says which."""
    rule = samples.changed(
        path="income/{c}/*.csv",
        data_path=DataPathParameter(parameter="input_data", grain="folder"),
        settle=Settle(marker="_SUCCESS"),
    )
    made = over(app, workspace, rules=(rule,))
    workspace.upload("income/us/a.csv", "a\n1\n")
    workspace.upload("income/us/_SUCCESS", "")
    arrive(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    arrive(made, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
    [run] = workspace.control("GET", "runs")
    assert run["body"]["properties"]["inputData"]["input_data"] == {
        "jobInputType": "UriFolder",
        "uri": "azureml://datastores/training/paths/income/us",
    }


def test_both_kinds_side_by_side(app: App, workspace: LocalWorkspace, empty_container: None) -> None:
    """Two rules send the same arrival to both, while a team moves."""
    pipelines = {"income": app.settings.pipelines["income"], "next": pipeline(workspace)}
    rules = (samples.RULE, samples.changed(name="income-next", pipeline="next"))
    made = over(app, workspace, pipelines=pipelines, rules=rules)
    workspace.upload("income/us/a.csv", "a\n1\n")
    outcomes = arrive(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert [outcome.entry and outcome.entry.version for outcome in outcomes] == ["1", "income-1"]
    for run in workspace.control("GET", "runs"):
        workspace.control("POST", f"runs/{run['run_id']}/status", {"status": "Finished"})
    tick(made)
    assert {entry.state for entry in made.history(5)} == {State.FINISHED}


def test_team_moves_by_changing_one_table(app: App, workspace: LocalWorkspace, empty_container: None) -> None:
    """What was sent is followed where it was sent; what comes goes to the new place."""
    before = upload(app, workspace, "income/us/before.csv")
    made = over(app, workspace)
    after = upload(made, workspace, "income/us/after.csv")
    for run in workspace.control("GET", "runs"):
        workspace.control("POST", f"runs/{run['run_id']}/status", {"status": "Finished"})
    tick(made)
    assert [now(made, entry).state for entry in (before, after)] == [State.FINISHED] * 2
    assert [entry.version for entry in (before, after)] == ["1", "income-1"]


def test_operator_cancels_and_plans(made: App, workspace: LocalWorkspace) -> None:
    """The exact request beforehand; afterwards the job's end."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    [planned] = plan_call(made, Call(datastore="training", path="income/us/a.csv"))
    assert planned.request is not None
    assert planned.request.url.endswith(f"/batch/{BATCH_ENDPOINT}/jobs")
    assert "income-1" in str(planned.request.body)
    entry = upload(made, workspace)
    operators.cancel(made, entry.key)
    tick(made)
    assert now(made, entry).state == State.CANCELED


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({}, {}, ""),
        ({"deployment": "income-9"}, {}, "has no version 'income-9'; it has income-0, income-1"),
        ({"audience": "https://management.azure.com"}, {}, ""),
        ({}, {"parameters": {"sed": "1"}}, "no parameter 'sed'; did you mean 'seed'"),
        ({}, {"parameters": {"seed": "many"}}, "'many' is no number"),
        ({}, {"data_path": DataPathParameter(parameter="data")}, "does not give 'input_data'"),
        (
            {},
            {
                "path": "income/{c}/*.csv",
                "data_path": DataPathParameter(parameter="input_data", grain="folder"),
                "settle": Settle(quiet="1m"),
            },
            "is declared as uri_file, and is given as uri_folder",
        ),
    ],
)
def test_check_of_a_batch_endpoint(
    app: App,
    workspace: LocalWorkspace,
    empty_container: None,
    changes: dict[str, Any],
    rule: dict[str, Any],
    says: str,
) -> None:
    """Endpoint and deployment, inputs with names and types, required ones, the datastore."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    made = over(app, workspace, pipelines={"income": pipeline(workspace, **changes)}, rules=(samples.changed(**rule),))
    told = [finding for finding in checks.check(made) if finding.level != "ok"]
    assert any(says in finding.what for finding in told) if says else told == [], told


def test_input_that_takes_no_path() -> None:
    """MLTable is not supported as an input of a batch endpoint: a fault before anything is sent."""
    inputs = [Input(name="input_data", assignment="data_path", type="mltable", required=True)]
    [fault] = parameters(samples.RULE, inputs)
    assert (fault.level, "is declared as mltable" in fault.what) == ("fault", True)


TABLE = """
[datastores.training]
container = "training-data"

[pipelines.income]
kind = "batch_endpoint"
url = "https://income.westeurope.inference.ml.azure.com/jobs"
workspace = "%WORKSPACE_ID%"
deployment = "income-1"
experiment = "income-retrain"

[[rules]]
name = "income-files"
datastore = "training"
path = "income/**/*.csv"
pipeline = "income"
data_path = { parameter = "input_data" }
"""


def test_table_of_a_batch_endpoint(tmp_path: Path) -> None:
    """Audiences come from the cloud, the workspace from an app setting."""
    file = tmp_path / "retrain.toml"
    file.write_text(TABLE)
    settings = read.load(file, {**samples.ENVIRON, "WORKSPACE_ID": WORKSPACE})
    found = settings.pipelines["income"].target
    assert (found.version, found.audience) == ("income-1", "https://ml.azure.com")
    assert found.place == f"https://westeurope.api.azureml.ms{WORKSPACE}/income"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('deployment = "income-1"', "", "pipelines.income.deployment: missing"),
        ('deployment = "income-1"', 'deployment = "1"', "a run never goes to the default deployment"),
        ('deployment = "income-1"', 'version = "1"', "pipelines.income.version"),
        ('workspace = "%WORKSPACE_ID%"', "", "pipelines.income.workspace: missing"),
        ('workspace = "%WORKSPACE_ID%"', 'workspace = "w"', "expected the workspace's id"),
        ("inference.ml.azure.com/jobs", "api.azureml.ms/jobs", "expected the scoring URI as the studio shows it"),
        (
            'kind = "batch_endpoint"',
            'kind = "batch"',
            "expected one of pipeline_endpoint, published_pipeline, batch",
        ),
    ],
)
def test_faults_of_the_table(tmp_path: Path, old: str, new: str, says: str) -> None:
    """All of them before anything is sent."""
    file = tmp_path / "retrain.toml"
    assert old in TABLE
    file.write_text(TABLE.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        read.load(file, {**samples.ENVIRON, "WORKSPACE_ID": WORKSPACE})
    assert says in str(caught.value)
