"""Component jobs as a kind of pipeline: a name of our own, what a second PUT tells, and when sending again is safe."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local.workspace.state import PATH
from shared import identity
from shared.app import App
from shared.errors import ConfigurationError, EndpointError
from shared.flow.arrive import arrive
from shared.flow.tick import tick
from shared.identity import Tokens
from shared.ledger import learned
from shared.ledger.entries import Entry, State
from shared.operate import check as checks
from shared.operate import redrive as operators
from shared.operate.calls import Call
from shared.operate.plan import plan_call
from shared.pipelines.address import Address
from shared.pipelines.base import Evidence, Limits, NotAccepted, Phase, Refused, Submitted, Unknown
from shared.pipelines.calls import new_session
from shared.pipelines.component import ComponentJob as Client
from shared.pipelines.component import job
from shared.pipelines.target import Target
from shared.rules.arrival import Source
from shared.rules.decision import DataPath
from shared.rules.rule import DataPathParameter
from shared.settings import read
from shared.settings.model import ComponentJob, Output
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import retrain_request
from tests.stacks import INCOME
from tests.waiting import until

WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


def test_body_of_a_job() -> None:
    """As the SDK sends it, with our key in every place that might keep it; literals are texts."""
    request = msgspec.structs.replace(
        retrain_request(path="income/us/ü 1.csv"),
        parameters={"seed": "7", "country": "us"},
        data_paths=(DataPath(datastore="lake", path="ref/", parameter="ref"),),
        tags={"country": "us", "retrain.key": "forged"},
    )
    pinned = Target(
        address=Address.of_component("https://management.azure.com", WORKSPACE, "income_train"),
        version="1",
        experiment="income-retrain",
        outputs=(("model", "azureml://datastores/models/paths/income/{key}"),),
        compute="cpu-cluster",
    )
    told = job(request, pinned, "the component")
    assert told["inputs"] == {
        "input_data": {"jobInputType": "uri_file", "uri": "azureml://datastores/training/paths/income/us/ü 1.csv"},
        "ref": {"jobInputType": "uri_folder", "uri": "azureml://datastores/lake/paths/ref/"},
        "seed": {"jobInputType": "literal", "value": "7"},
        "country": {"jobInputType": "literal", "value": "us"},
    }
    assert (told["jobType"], told["componentId"]) == ("Pipeline", "the component")
    compute = {"default_compute": f"{WORKSPACE}/computes/cpu-cluster"}
    assert (told["experimentName"], told["settings"]) == ("income-retrain", compute)
    where = f"azureml://datastores/models/paths/income/{request.key}"
    assert told["outputs"] == {"model": {"jobOutputType": "uri_folder", "uri": where}}
    assert told["tags"]["retrain.key"] == told["properties"]["retrain.key"] == told["displayName"] == request.key
    assert told["tags"]["country"] == "us"
    bare = job(request, msgspec.structs.replace(pinned, outputs=(), compute=""), "the component")
    assert {"settings", "outputs"} & bare.keys() == set()


# The client against the stand-in


def pipeline(workspace: LocalWorkspace, **changes: Any) -> ComponentJob:
    """Return the stand-in's component as retrain.toml would have it."""
    values = {"url": workspace.base_url, "workspace": PATH, "component": "azureml:income_train:1", "experiment": "e"}
    return ComponentJob(**{**values, **changes})


@pytest.fixture
def client(workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client; jobs are held."""
    workspace.control("POST", "settings", {"engine": "hold"})
    monkeypatch.setenv("IDENTITY_ENDPOINT", workspace.info["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", workspace.info["identity_header"])
    identity.credential.cache_clear()
    limits = Limits(begin_s=5, retry_s=2, connect_s=1, read_s=2)
    with new_session() as session:
        yield Client(pipeline(workspace).target.address, Tokens("https://management.azure.com"), session, limits)
    identity.credential.cache_clear()


def target(client: Client, version: str = "1") -> Target:
    """Return a version of the component."""
    return Target(address=client.address, version=version, experiment="e", compute="cpu-cluster")


def submitted(client: Client, **changes: Any) -> Submitted:
    """Submit a request."""
    answer = client.submit(msgspec.structs.replace(retrain_request(), **changes), target(client))
    assert isinstance(answer, Submitted), answer
    return answer


def test_job_has_our_name_and_is_of_the_pinned_version(workspace: LocalWorkspace, client: Client) -> None:
    """One PUT; nothing is read before."""
    request = retrain_request()
    answer = submitted(client, key=request.key, parameters={"seed": "7"})
    [run] = workspace.control("GET", "runs")
    assert (answer.run_id, answer.repeated, run["run_id"]) == (request.key, False, request.key)
    assert (run["endpoint_id"], run["version"], run["experiment"]) == ("income_train", "1", "e")
    assert run["body"]["properties"]["settings"]["default_compute"] == f"{PATH}/computes/cpu-cluster"
    assert workspace.control("GET", "requests")["other"] == 0
    assert client.run(request.key).pipeline_id == client.pinned("1")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "status", "status": 400}, Refused),
        ({"kind": "status", "status": 409}, Refused),
        ({"kind": "status", "status": 403}, NotAccepted),
        ({"kind": "status", "status": 404}, NotAccepted),
        ({"kind": "status", "status": 500}, Unknown),
        ({"kind": "status", "status": 202}, Unknown),
        ({"kind": "drop"}, Unknown),
        ({"kind": "accept_then_drop"}, Unknown),
        ({"kind": "status", "status": 409, "accept": True}, Submitted),
        ({"kind": "status", "status": 400, "accept": True}, Submitted),
    ],
)
def test_what_an_answer_means(workspace: LocalWorkspace, client: Client, fault: dict[str, Any], expected: type) -> None:
    """200 and 201 accept; a refusal does, too, where the job is there."""
    workspace.control("POST", "faults", [{"on": "submit", **fault}])
    answer = client.submit(retrain_request(), target(client))
    assert isinstance(answer, expected)
    assert not (isinstance(answer, Submitted) and answer.repeated)


@pytest.mark.parametrize("kind", ["status", "drop"])
def test_refusal_while_the_job_cannot_be_read(workspace: LocalWorkspace, client: Client, kind: str) -> None:
    """Whether it is there is not known: that is no refusal."""
    faults = [{"on": "submit", "kind": "status", "status": 409}, {"on": "status", "kind": kind, "status": 503}]
    workspace.control("POST", "faults", faults)
    answer = client.submit(retrain_request(), target(client))
    assert isinstance(answer, Unknown)
    assert "whether the job is there could not be read" in answer.reason


@pytest.mark.parametrize(("switch", "repeated"), [("refused", True), ("updates", False)])
def test_second_job_of_a_name(workspace: LocalWorkspace, client: Client, switch: str, repeated: bool) -> None:
    """One job; that the service refuses it is told apart from an answer that says nothing of a first one."""
    workspace.control("POST", "settings", {"second_put": switch})
    request = retrain_request()
    first, second = (submitted(client, key=request.key) for _ in range(2))
    assert (first.repeated, second.repeated) == (False, repeated)
    assert first.run_id == second.run_id == request.key
    assert len(workspace.control("GET", "runs")) == 1


def test_version_that_is_not_there(client: Client) -> None:
    """Not accepted, in the service's words; it never becomes the latest one."""
    answer = client.submit(retrain_request(), target(client, "9"))
    assert isinstance(answer, NotAccepted)
    assert "no component 'income_train' of version '9'" in answer.reason


@pytest.mark.parametrize("name", ["retrain.x", "a-b", "ä"])
def test_name_that_no_input_can_have_is_refused_before_it_is_sent(
    workspace: LocalWorkspace, client: Client, name: str
) -> None:
    """Letters, digits and underscores."""
    answer = client.submit(msgspec.structs.replace(retrain_request(), parameters={name: "x"}), target(client))
    assert isinstance(answer, Refused)
    assert workspace.control("GET", "requests")["submit"] == 0


@pytest.mark.parametrize(
    ("word", "phase"),
    [("Running", Phase.RUNNING), ("Finished", Phase.FINISHED), ("Failed", Phase.FAILED), ("Canceled", Phase.CANCELED)],
)
def test_job_is_read_back(workspace: LocalWorkspace, client: Client, word: str, phase: Phase) -> None:
    """By its name and in the list of ours; with why it failed."""
    name = submitted(client).run_id
    error = "no column age" if word == "Failed" else None
    workspace.control("POST", f"runs/{name}/status", {"status": word, "error": error})
    [listed] = client.runs("1")
    assert (listed.run_id, listed.phase, listed.key) == (name, phase, name)
    assert client.search(name, "e") == client.run(name) == listed
    assert client.error_of(name) == (error or "")
    assert client.search("20260101T000000Z-" + "0" * 32, "e") is None


def test_list_goes_on_page_by_page(workspace: LocalWorkspace, client: Client) -> None:
    """Newest first."""
    workspace.control("POST", "settings", {"page_size": 2})
    names = [submitted(client, key=f"20261101T12000{number}Z-{number:032x}").run_id for number in range(5)]
    assert [run.run_id for run in client.runs("1")] == names[::-1]


def test_component_is_described(client: Client) -> None:
    """Its versions, and what the pinned one declares."""
    told = client.described("1")
    assert (told.name, told.versions, told.pipeline_id) == ("income_train", ("0", "1"), client.pinned("1"))
    assert {one.name: (one.assignment, one.type, one.required) for one in told.inputs} == {
        "input_data": ("data_path", "uri_file", True),
        "test_fraction": ("string", "Double", False),
        "seed": ("string", "Int", False),
        "country": ("string", "String", False),
    }
    assert client.described("9").pipeline_id is None
    assert client.registered("training") is not None
    assert client.registered("nowhere") is None


# An arrival's way


@pytest.fixture
def made(app: App, workspace: LocalWorkspace, empty_container: None) -> App:
    """The application whose pipeline is the component."""
    return over(app, workspace)


def over(app: App, workspace: LocalWorkspace, rule: dict[str, Any] | None = None, **changes: Any) -> App:
    """Return the application with a component as its pipeline."""
    pipelines = {"income": pipeline(workspace, **changes)}
    rules = (samples.changed(**(rule or {})),)
    settings = msgspec.structs.replace(app.settings, pipelines=pipelines, rules=rules)
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
    """The same states as over the other kinds; the pin is proven by the component that the job names."""
    entry = upload(made, workspace)
    assert (entry.state, entry.version, entry.run_id) == (State.SUBMITTED, "1", entry.key)
    [again] = arrive(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert again.duplicate
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Running"})
    tick(made)
    assert now(made, entry).state == State.RUNNING
    assert now(made, entry).pipeline_id == "components/income_train/versions/1"
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Finished"})
    tick(made)
    assert (now(made, entry).state, now(made, entry).run_status) == (State.FINISHED, "Completed")


def test_absence_alone_is_no_reason_to_send_again(made: App, workspace: LocalWorkspace) -> None:
    """`auto` holds until a second PUT was seen to be refused, though runs give keys back."""
    upload(made, workspace, "income/us/before.csv")
    tick(made)
    entry = upload(made, workspace, kind="drop")
    later(made, minutes=11)
    tick(made)
    assert now(made, entry).state == State.HELD
    assert "Whether this endpoint refuses a second job of a name: that was not seen yet" in now(made, entry).reason
    assert len(workspace.control("GET", "runs")) == 1


def test_refusal_of_a_second_job_is_learned(app: App, workspace: LocalWorkspace, empty_container: None) -> None:
    """Under `resubmit` one is sent that was accepted, and cannot be seen in time; `auto` relies on what that told."""
    made = over(app, workspace, on_uncertain="resubmit")
    first = upload(made, workspace, kind="accept_then_drop")
    # Neither list nor job can be seen at first: what a service that is late would look like.
    workspace.control("POST", "faults", [{"on": "status", "kind": "status", "status": 404}])
    workspace.control("POST", "settings", {"list_lag_s": 3600})
    later(made, minutes=11)
    tick(made)
    workspace.control("POST", "settings", {"list_lag_s": 0})
    assert now(made, first).state == State.SUBMITTED
    assert len(workspace.control("GET", "runs")) == 1
    place = made.settings.pipelines["income"].target.place
    assert learned.seen(made.ledger, Evidence.REPEATS, place) is True
    auto = over(app, workspace)
    second = upload(auto, workspace, "income/us/b.csv", kind="drop")
    later(auto, minutes=11)
    tick(auto)
    assert now(auto, second).state == State.SUBMITTED
    assert len(workspace.control("GET", "runs")) == 2


@pytest.mark.parametrize("settings", [{}, {"list_lag_s": 3600}])
def test_submission_without_an_answer_is_found(made: App, workspace: LocalWorkspace, settings: dict[str, Any]) -> None:
    """In the list, or by its name."""
    workspace.control("POST", "settings", settings)
    entry = upload(made, workspace, kind="accept_then_drop")
    assert entry.state == State.UNCERTAIN
    later(made, minutes=11)
    tick(made)
    assert now(made, entry).state == State.SUBMITTED
    assert len(workspace.control("GET", "runs")) == 1


def test_operator_cancels_and_plans(made: App, workspace: LocalWorkspace) -> None:
    """The exact request beforehand; afterwards the job's end."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    [planned] = plan_call(made, Call(datastore="training", path="income/us/a.csv"))
    assert planned.request is not None
    assert planned.request.method == "PUT"
    assert f"{PATH}/jobs/{planned.key}" in planned.request.url
    entry = upload(made, workspace)
    operators.cancel(made, entry.key)
    tick(made)
    assert now(made, entry).state == State.CANCELED


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({"component": "azureml:income_train:1"}, {}, ""),
        ({"component": "azureml:income_train:0"}, {}, "version '0' is pinned; newer: 1"),
        ({"component": "azureml:income_train:9"}, {}, "has no version '9'; it has 0, 1"),
        ({"component": "azureml:other:1"}, {}, "There is no component 'other'"),
        ({}, {"parameters": {"sed": "1"}}, "no parameter 'sed'; did you mean 'seed'"),
        ({}, {"data_path": DataPathParameter(parameter="data")}, "does not give 'input_data'"),
    ],
)
def test_check_of_a_component(
    app: App,
    workspace: LocalWorkspace,
    empty_container: None,
    changes: dict[str, Any],
    rule: dict[str, Any],
    says: str,
) -> None:
    """The component's versions, inputs with names and types, required ones, the datastore."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    told = [finding for finding in checks.check(over(app, workspace, rule, **changes)) if finding.level != "ok"]
    assert any(says in finding.what for finding in told) if says else told == [], told


TABLE = """
[datastores.training]
container = "training-data"

[pipelines.income]
kind = "component_job"
workspace = "%WORKSPACE_ID%"
component = "azureml:income_train:1"
experiment = "income-retrain"

[[rules]]
name = "income-files"
datastore = "training"
path = "income/**/*.csv"
pipeline = "income"
data_path = { parameter = "input_data" }
"""


def loaded(tmp_path: Path, text: str) -> Target:
    """Return what a file says of the pipeline."""
    file = tmp_path / "retrain.toml"
    file.write_text(text)
    return read.load(file, {**samples.ENVIRON, "WORKSPACE_ID": WORKSPACE}).pipelines["income"].target


def test_table_of_a_component(tmp_path: Path) -> None:
    """The cloud is that of Resource Manager's address, which need not be given for the public one."""
    found = loaded(tmp_path, TABLE)
    assert (found.version, found.audience, found.address.id) == ("1", "https://management.azure.com", "income_train")
    assert found.place == f"https://management.azure.com{WORKSPACE}/income_train"
    china = TABLE.replace("workspace =", 'url = "https://management.chinacloudapi.cn"\nworkspace =')
    assert loaded(tmp_path, china).audience == "https://management.chinacloudapi.cn"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('component = "azureml:income_train:1"', "", "pipelines.income.component: missing"),
        ("azureml:income_train:1", "income_train:1", "a run never goes to the latest version"),
        ("azureml:income_train:1", "azureml:income_train", "a run never goes to the latest version"),
        ("azureml:income_train:1", "azureml:income_train@latest", "a run never goes to the latest version"),
        ('"%WORKSPACE_ID%"', '"w"', "expected the workspace's id"),
        ("workspace =", 'url = "https://evil.example"\nworkspace =', "expected the address of Azure Resource Manager"),
        ("workspace =", 'url = "http://management.azure.com"\nworkspace =', "expected the address of Azure Resource"),
    ],
)
def test_faults_of_the_table(tmp_path: Path, old: str, new: str, says: str) -> None:
    """All of them before anything is sent."""
    assert old in TABLE
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, TABLE.replace(old, new))
    assert says in str(caught.value)


OUTPUTS = 'experiment = "income-retrain"\noutputs = { model = { datastore = "DATASTORE", path = "PATH" } }'


@pytest.mark.parametrize(
    ("datastore", "path", "says"),
    [
        ("training", "models/{key}", ""),
        ("elsewhere", "income/out", ""),
        ("training", "income/out/{key}", "'income/out/20260101T000000Z-0/a.csv' would start a run"),
        ("again", "income/out", "lies in what rule 'income-files' watches"),
        ("training", "/models", "expected a folder below the container's root"),
        ("training", "models/../income", "expected a folder below the container's root"),
        ("training", "", "expected a folder below the container's root"),
        ("a-b", "models", "expected the name a datastore is registered under"),
    ],
)
@pytest.mark.parametrize("kind", ["component_job", "batch_endpoint"])
def test_output_with_a_place_of_its_own(tmp_path: Path, kind: str, datastore: str, path: str, says: str) -> None:
    """Where a rule watches the place, that is a loop without end: a fault before anything runs."""
    outputs = OUTPUTS.replace("DATASTORE", datastore).replace("PATH", path)
    text = TABLE.replace('experiment = "income-retrain"', outputs)
    text = f'{text}\n[datastores.again]\ncontainer = "training-data"\n'.replace(
        "[datastores.training]\n", '[datastores.training]\nconnection = "AzureWebJobsStorage"\n'
    )
    if kind == "batch_endpoint":
        text = text.replace("component_job", kind).replace(
            'component = "azureml:income_train:1"',
            'deployment = "d-1"\nurl = "https://income.westeurope.inference.ml.azure.com/jobs"',
        )
    if not says:
        assert loaded(tmp_path, text).outputs == (("model", f"azureml://datastores/{datastore}/paths/{path}"),)
        return
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text)
    assert f"pipelines.income.outputs.model{'' if 'watches' in says or 'would' in says else '.'}" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path", "ignore", "says"),
    [
        ("other", "models", [], ""),
        ("other", "income/out", [], "'income/out/a.csv' would start a run"),
        ("other", "income/out", ["income/out/**"], ""),
        ("nowhere", "models", [], "the workspace has no datastore 'nowhere'"),
    ],
)
def test_check_of_an_output_on_a_datastore_that_the_file_does_not_have(
    app: App, workspace: LocalWorkspace, empty_container: None, name: str, path: str, ignore: list[str], says: str
) -> None:
    """The workspace tells that it is the container that a rule watches."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    workspace.control("POST", "datastores", {"name": "other", "container": "training-data"})
    made = over(app, workspace, {"ignore": ignore}, outputs={"model": Output(datastore=name, path=path)})
    told = [one for one in checks.check(made) if one.where == "pipelines.income.outputs.model"]
    assert [one.level for one in told] == ["fault" if says else "ok"]
    assert says in told[0].what


def test_model_is_written_where_the_table_says(app: App, workspace: LocalWorkspace, empty_container: None) -> None:
    """In a folder of the request's own; nothing of it starts anything."""
    workspace.control("POST", "settings", {"engine": "train"})
    made = over(app, workspace, outputs={"model": Output(datastore="training", path="models/{key}")})
    workspace.upload("income/us/a.csv", INCOME)
    [outcome] = arrive(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert outcome.entry is not None
    until(lambda: workspace.control("GET", "runs")[0]["status"] == "Finished")
    blobs = set(made.datastores["training"].container.list_blob_names(name_starts_with="models/"))
    assert blobs == {f"models/{outcome.key}/{name}" for name in ("model.joblib", "metrics.json")}
    later(made, minutes=20)
    tick(made)
    assert len(workspace.control("GET", "runs")) == 1


def test_reading_that_fails(workspace: LocalWorkspace, client: Client) -> None:
    """It is an error of the endpoint, and names what was asked."""
    workspace.control("POST", "settings", {"role": "none"})
    with pytest.raises(EndpointError, match="403"):
        client.search("20260101T000000Z-" + "0" * 32, "e")
