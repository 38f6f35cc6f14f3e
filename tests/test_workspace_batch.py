"""Batch endpoints of the stand-in: what is invoked, refused, read back, listed, and what a second PUT comes to."""

from typing import Any

import pytest
import requests
from azure.storage.blob import ContainerClient

from local.workspace.batch.uris import data_path
from local.workspace.runs import DataPath
from local.workspace.seed import BATCH_ENDPOINT, PIPELINE_IDS
from local.workspace.state import PATH
from tests.fixtures_workspace import LocalWorkspace
from tests.stacks import INCOME
from tests.waiting import until

ML, MANAGEMENT = "https://ml.azure.com", "https://management.azure.com"
LONG = "azureml:/" + PATH.lower().replace("/providers/microsoft.machinelearningservices", "")
URI = "azureml://datastores/training/paths/income/us/a.csv"
DATA = {"input_data": {"jobInputType": "UriFile", "uri": URI}}


@pytest.fixture(autouse=True)
def held(workspace: LocalWorkspace) -> None:
    """Jobs are held."""
    workspace.control("POST", "settings", {"engine": "hold"})


def call(
    workspace: LocalWorkspace, method: str, path: str, body: Any = None, audience: str = MANAGEMENT, **headers: str
) -> requests.Response:
    """Call a service with a token for an audience."""
    sent = {"Authorization": f"Bearer {workspace.token(audience)}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, f"{workspace.base_url}{path}", json=body, headers=sent, timeout=30)


def invoke(workspace: LocalWorkspace, inputs: Any = None, **more: Any) -> requests.Response:
    """Invoke deployment income-1."""
    body = {"properties": {"inputData": DATA if inputs is None else inputs, **more}}
    path = f"/batch/{BATCH_ENDPOINT}/jobs"
    return call(workspace, "POST", path, body, ML, azureml_model_deployment="income-1")


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Return status and message of a refusal, which is in ARM's form."""
    error = answer.json()["error"]
    assert error["code"]
    return answer.status_code, error["message"]


def test_invocation_makes_a_job_of_the_deployment(workspace: LocalWorkspace) -> None:
    """201 with the job; ARM and the scoring URI read it back, and it names its deployment."""
    answer = invoke(workspace, properties={"experimentName": "e", "retrain.key": "k"}, tags={"t": "1"})
    assert answer.status_code == 201
    job = answer.json()
    assert (job["properties"]["status"], job["properties"]["experimentName"]) == ("NotStarted", "e")
    for path, audience in (
        (f"{PATH}/jobs/{job['name']}", MANAGEMENT),
        (f"/batch/{BATCH_ENDPOINT}/jobs/{job['name']}", ML),
    ):
        read = call(workspace, "GET", path, audience=audience).json()["properties"]
        assert read["properties"]["azureml.deploymentName"] == "income-1"
        assert (read["properties"]["retrain.key"], read["tags"]) == ("k", {"t": "1"})
    [run] = workspace.control("GET", "runs")
    assert (run["endpoint_id"], run["version"], run["pipeline_id"]) == (BATCH_ENDPOINT, "income-1", PIPELINE_IDS[1])


@pytest.mark.parametrize("word", ["Running", "Finished", "Failed", "Canceled"])
def test_statuses_are_those_of_v2(workspace: LocalWorkspace, word: str) -> None:
    """`Completed`, never `Succeeded`."""
    name = invoke(workspace).json()["name"]
    workspace.control("POST", f"runs/{name}/status", {"status": word})
    read = call(workspace, "GET", f"{PATH}/jobs/{name}").json()["properties"]["status"]
    assert read == {"Finished": "Completed"}.get(word, word)


def test_without_a_deployment_it_is_the_default_one(workspace: LocalWorkspace) -> None:
    """Which is why a client pins."""
    body = {"Properties": {"InputData": {"input_data": {"JobInputType": "UriFolder", "Uri": URI}}}}
    answer = call(workspace, "POST", f"/batch/{BATCH_ENDPOINT}/jobs", body, ML)
    assert answer.status_code == 201
    assert workspace.control("GET", "runs")[0]["version"] == "income-0"


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "Required input 'input_data' is missing"),
        ({**DATA, "other": {"jobInputType": "Literal", "value": "1"}}, "'other' is not one of the component's"),
        ({"input_data": {"jobInputType": "Literal", "value": URI}}, "is uri_file; got jobInputType 'Literal'"),
        ({"input_data": {"jobInputType": "MLTable", "uri": URI}}, "MLTable is not supported"),
        ({"input_data": {"jobInputType": "UriFile"}}, "expected a uri"),
        ({**DATA, "seed": {"jobInputType": "Literal", "value": "many"}}, "'seed' is integer"),
        ({**DATA, "seed": {"jobInputType": "Literal", "value": True}}, "'seed' is integer"),
        ({**DATA, "seed": {"jobInputType": "Literal", "value": 1.5}}, "'seed' is integer"),
        ({**DATA, "test_fraction": {"jobInputType": "UriFile", "uri": URI}}, "expected a Literal"),
        ({**DATA, "seed": 7}, "expected an object"),
        ([], "inputData: expected an object"),
    ],
)
def test_inputs_that_are_refused(workspace: LocalWorkspace, inputs: Any, says: str) -> None:
    """400 in ARM's form, and no job."""
    status, message = refusal(invoke(workspace, inputs))
    assert (status, says in message) == (400, True), message
    assert workspace.control("GET", "runs") == []


@pytest.mark.parametrize("value", [7, "7"])
def test_literals_as_texts_and_as_values(workspace: LocalWorkspace, value: Any) -> None:
    """Clients send both."""
    assert invoke(workspace, {**DATA, "seed": {"jobInputType": "Literal", "value": value}}).status_code == 201


def test_folder_where_a_file_is_declared(workspace: LocalWorkspace) -> None:
    """Whether the service takes it is not established: a switch."""
    folder = {"input_data": {"jobInputType": "UriFolder", "uri": URI}}
    assert invoke(workspace, folder).status_code == 201
    workspace.control("POST", "settings", {"input_types": "strict"})
    assert refusal(invoke(workspace, folder)) == (400, "Input 'input_data' is uri_file; got UriFolder.")


@pytest.mark.parametrize(
    ("path", "audience", "status"),
    [
        (f"/batch/{BATCH_ENDPOINT}/jobs/x", MANAGEMENT, 401),
        (f"{PATH}/jobs/x", ML, 401),
        (f"/mferp/managementfrontend{PATH}/batchEndpoints/{BATCH_ENDPOINT}/jobs", MANAGEMENT, 401),
        (f"/batch/{BATCH_ENDPOINT}/jobs/x", ML, 404),
        ("/batch/nowhere/jobs/x", ML, 404),
        (f"{PATH}/jobs/x", MANAGEMENT, 404),
        (f"{PATH}/batchEndpoints/nowhere", MANAGEMENT, 404),
        (f"{PATH}/batchEndpoints/{BATCH_ENDPOINT}/deployments/nowhere", MANAGEMENT, 404),
        (f"{PATH}/components/income_train/versions/9", MANAGEMENT, 404),
        (f"{PATH}/onlineEndpoints", MANAGEMENT, 501),
    ],
)
def test_reads_that_are_refused(workspace: LocalWorkspace, path: str, audience: str, status: int) -> None:
    """For another audience, and of what is not there; what is not served is 501."""
    assert refusal(call(workspace, "GET", path, audience=audience))[0] == status


def test_deployment_that_is_not_there(workspace: LocalWorkspace) -> None:
    """404; it never becomes the default one."""
    path, body = f"/batch/{BATCH_ENDPOINT}/jobs", {"properties": {"inputData": DATA}}
    answer = call(workspace, "POST", path, body, ML, azureml_model_deployment="income-9")
    assert refusal(answer) == (404, f"Deployment 'income-9' does not exist in endpoint '{BATCH_ENDPOINT}'.")
    assert workspace.control("GET", "runs") == []


def test_name_of_the_callers_own(workspace: LocalWorkspace) -> None:
    """Honoured, and then taken once; or not looked at: a switch, since it is not established."""
    assert invoke(workspace, name="k-1").json()["name"] == "k-1"
    assert refusal(invoke(workspace, name="k-1"))[0] == 409
    assert refusal(invoke(workspace, name="no name"))[0] == 400
    workspace.control("POST", "settings", {"honour_job_names": False})
    assert invoke(workspace, name="k-1").json()["name"] != "k-1"
    assert len(workspace.control("GET", "runs")) == 2


def test_lists_have_pages(workspace: LocalWorkspace) -> None:
    """Newest first, by nextLink, at the endpoint and in the workspace; by deployment, property and tag."""
    workspace.control("POST", "settings", {"page_size": 2})
    names = [
        invoke(workspace, properties={"n": str(number)}, tags={"even": "y"} if number % 2 == 0 else {}).json()["name"]
        for number in range(5)
    ]
    front = f"/mferp/managementfrontend{PATH}/batchEndpoints/{BATCH_ENDPOINT}"

    def listed(path: str, audience: str) -> list[str]:
        found = list[str]()
        while path:
            page = call(workspace, "GET", path, audience=audience).json()
            assert len(page["value"]) <= 2
            found += [job["name"] for job in page["value"]]
            path = page.get("nextLink", "").removeprefix(workspace.base_url)
        return found

    assert listed(f"{front}/jobs", ML) == names[::-1]
    assert listed(f"{front}/deployments/income-1/jobs", ML) == names[::-1]
    assert listed(f"{front}/jobs?deployment=income-0", ML) == []
    assert listed(f"{PATH}/jobs", MANAGEMENT) == names[::-1]
    assert listed(f"{PATH}/jobs?properties=n%3D3", MANAGEMENT) == [names[3]]
    assert listed(f"{PATH}/jobs?properties=n", MANAGEMENT) == names[::-1]
    assert listed(f"{PATH}/jobs?tag=even", MANAGEMENT) == [names[4], names[2], names[0]]
    assert listed(f"{PATH}/jobs?jobType=Command", MANAGEMENT) == []


def test_keys_that_are_not_given_back_and_lists_that_lag(workspace: LocalWorkspace) -> None:
    """The switches of the pipelines service work here, too."""
    workspace.control("POST", "settings", {"give_back_keys": False, "list_lag_s": 60})
    name = invoke(workspace, properties={"retrain.key": "k"}).json()["name"]
    assert "retrain.key" not in call(workspace, "GET", f"{PATH}/jobs/{name}").json()["properties"]["properties"]
    assert call(workspace, "GET", f"{PATH}/jobs").json()["value"] == []


@pytest.mark.parametrize("on", ["submit", "status", "list", "endpoint"])
def test_faults_on_order(workspace: LocalWorkspace, on: str) -> None:
    """For this endpoint alone, where one is named."""
    name = invoke(workspace).json()["name"]
    order = {"on": on, "kind": "status", "status": 503, "times": 9}
    workspace.control("POST", "faults", [{**order, "endpoint": BATCH_ENDPOINT}])
    front = f"/mferp/managementfrontend{PATH}/batchEndpoints/{BATCH_ENDPOINT}/jobs"
    asked = {
        "submit": lambda: invoke(workspace),
        "status": lambda: call(workspace, "GET", f"{PATH}/jobs/{name}"),
        "list": lambda: call(workspace, "GET", front, audience=ML),
        "endpoint": lambda: call(workspace, "GET", f"{PATH}/batchEndpoints/{BATCH_ENDPOINT}"),
    }
    assert refusal(asked[on]())[0] == 503
    for other in asked.keys() - {on}:
        assert asked[other]().ok
    if on == "endpoint":
        assert workspace.call("GET", f"/PipelineEndpoints/Id/{workspace.endpoint['id']}").ok


def test_jobs_and_runs_are_kept_apart(workspace: LocalWorkspace) -> None:
    """The pipelines service knows no jobs, ARM no pipeline runs."""
    name = invoke(workspace).json()["name"]
    assert workspace.call("GET", f"/PipelineRuns/{name}").status_code == 404
    assert workspace.call("GET", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[1]}").json() == []
    url = workspace.endpoint["url"] + "/1"
    run = workspace.call("POST", url, {"ExperimentName": "e"}).json()["Id"]
    assert call(workspace, "GET", f"{PATH}/jobs/{run}").status_code == 404


COMPONENT = f"{PATH}/components/income_train/versions/1"
PUT = {"jobType": "Pipeline", "componentId": COMPONENT, "inputs": DATA, "experimentName": "e", "tags": {"k": "v"}}


def test_component_under_a_name_of_the_callers_own(workspace: LocalWorkspace) -> None:
    """A second PUT of the name is refused, and says that the first exists; or changes its tags, or runs: a switch."""
    path = f"{PATH}/jobs/20261125T164500Z-8c1f"
    assert call(workspace, "PUT", path, {"properties": PUT}).status_code == 201
    status, message = refusal(call(workspace, "PUT", path, {"properties": PUT}))
    assert (status, "already exists" in message) == (409, True)
    workspace.control("POST", "settings", {"second_put": "updates"})
    again = call(workspace, "PUT", path, {"properties": {**PUT, "tags": {"more": "1"}}})
    assert again.json()["properties"]["tags"] == {"k": "v", "more": "1"}
    [run] = workspace.control("GET", "runs")
    assert (run["version"], run["endpoint_id"]) == ("1", "income_train")
    workspace.control("POST", "settings", {"second_put": "runs again"})
    assert call(workspace, "PUT", path, {"properties": PUT}).status_code == 201
    assert [run["removed"] for run in workspace.control("GET", "runs")] == [True, False]
    read = call(workspace, "GET", path).json()["properties"]
    assert (read["componentId"], read["tags"]) == (COMPONENT, {"k": "v"})


def test_outputs_go_where_they_are_wanted(workspace: LocalWorkspace) -> None:
    """To a path on a datastore; what is none, or is not declared, is refused."""
    workspace.control("POST", "settings", {"engine": "train"})
    workspace.upload("income/us/a.csv", INCOME)
    wanted = {"model": {"jobOutputType": "UriFolder", "uri": "azureml://datastores/training/paths/models/us"}}
    job = f"{PATH}/jobs/{invoke(workspace, outputData=wanted).json()['name']}"
    until(lambda: call(workspace, "GET", job).json()["properties"]["status"] == "Completed")
    with ContainerClient.from_connection_string(workspace.info["storage"], "training-data") as container:
        names = set(container.list_blob_names(name_starts_with="models/us/"))
    assert names == {"models/us/model.joblib", "models/us/metrics.json"}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"score": {"jobOutputType": "UriFolder"}}, "Output 'score' is not one of the component's"),
        ({"model": {"jobOutputType": "UriFile", "uri": "azureml://datastores/training/paths/m"}}, "is uri_folder"),
        ({"model": {"jobOutputType": "uri_folder", "uri": "https://x/y"}}, "no path on a datastore"),
        ({"model": 1}, "expected an object"),
    ],
)
def test_output_that_is_refused(workspace: LocalWorkspace, output: dict[str, Any], says: str) -> None:
    """In words."""
    answer = call(workspace, "PUT", f"{PATH}/jobs/k", {"properties": {**PUT, "outputs": output}})
    assert says in refusal(answer)[1]
    assert workspace.control("GET", "runs") == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"jobType": "Command"}, "jobType: expected Pipeline"),
        ({"componentId": "income_train:1"}, "componentId: expected the id"),
        ({"componentId": COMPONENT.replace("versions/1", "versions/9")}, "no component 'income_train' of version '9'"),
        ({"inputs": {}}, "Required input"),
        ({"tags": {"k": 1}}, "tags: expected an object whose values are texts"),
    ],
)
def test_component_job_that_is_refused(workspace: LocalWorkspace, changes: dict[str, Any], says: str) -> None:
    """In words."""
    answer = call(workspace, "PUT", f"{PATH}/jobs/k", {"properties": {**PUT, **changes}})
    assert says in refusal(answer)[1]
    assert workspace.control("GET", "runs") == []


def test_component_tells_its_inputs(workspace: LocalWorkspace) -> None:
    """With types and defaults."""
    read = call(workspace, "GET", COMPONENT).json()["properties"]["componentSpec"]["inputs"]
    assert read["input_data"] == {"type": "uri_file", "optional": False}
    assert read["seed"] == {"type": "integer", "optional": True, "default": "0"}


def test_datastore_and_workspace(workspace: LocalWorkspace) -> None:
    """What a client compares its container with, and where it finds the services."""
    store = call(workspace, "GET", f"{PATH}/datastores/training").json()["properties"]
    assert (store["containerName"], store["credentials"]) == ("training-data", {"credentialsType": "None"})
    assert refusal(call(workspace, "GET", f"{PATH}/datastores/none"))[0] == 404
    assert call(workspace, "GET", PATH).json()["properties"]["discoveryUrl"] == f"{workspace.base_url}/discovery"


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("azureml://datastores/d/paths/a/b.csv", DataPath("d", "a/b.csv")),
        (
            f"azureml:/{PATH.lower().replace('/providers/microsoft.machinelearningservices', '')}/datastores/d/paths/a",
            DataPath("d", "a"),
        ),
        (f"{PATH}/datastores/d/paths/a", DataPath("d", "a")),
        ("azureml://datastores/d/a", None),
        ("https://a.blob.core.windows.net/c/b", None),
        ("azureml://subscriptions/other/resourcegroups/g/workspaces/w/datastores/d/paths/a", None),
    ],
)
def test_forms_of_a_path(uri: str, found: DataPath | None) -> None:
    """Short, long and ARM's; what is no path of this workspace is none."""
    assert data_path(uri) == found
