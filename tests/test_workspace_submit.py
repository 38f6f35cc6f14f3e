"""Submitting to the local workspace: addresses, versions, bodies, refusals."""

from typing import Any
from urllib.parse import quote

import pytest

from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from tests.fixtures_workspace import TIMEOUT_S, LocalWorkspace

BY_ID = f"/PipelineRuns/PipelineEndpointSubmit/Id/{ENDPOINT_ID}"
BY_NAME = "/PipelineRuns/PipelineEndpointSubmit/Name"
BODY: dict[str, Any] = {
    "ExperimentName": "income-retrain",
    "RunSource": "API",
    "ParameterAssignments": {"test_fraction": "0.3"},
    "DataPathAssignments": {"input_data": {"DataStoreName": "training", "RelativePath": "income/us/x y.csv"}},
    "tags": {"retrain.key": "k1"},
    "Properties": {"retrain.key": "k1"},
}


@pytest.fixture(autouse=True)
def _no_training(workspace: LocalWorkspace) -> None:
    workspace.control("POST", "settings", {"engine": "hold"})


def refusal(answer: Any) -> tuple[int, str, str]:
    """Return status, code and message of a refusal in the pipelines service's form."""
    body = answer.json()
    assert set(body) == {"Error", "Correlation"}
    return answer.status_code, body["Error"]["Code"], body["Error"]["Message"]


@pytest.mark.parametrize(
    ("address", "version"),
    [
        (BY_ID, "0"),
        (f"{BY_ID}/1", "1"),
        (f"{BY_ID}?pipelineVersion=1", "1"),
        (f"{BY_ID}/1?pipelineVersion=1", "1"),
        (f"{BY_NAME}?name=income", "0"),
        (f"{BY_NAME}?name=income&pipelineVersion=1", "1"),
        (f"{BY_NAME}?Name=income&PIPELINEVERSION=1", "1"),
    ],
)
def test_endpoint_is_addressed_in_each_way(workspace: LocalWorkspace, address: str, version: str) -> None:
    """The run is one of the version's pipeline; without a version, of the default one's."""
    answer = workspace.call("POST", address, BODY)
    assert answer.status_code == 200
    assert answer.json()["PipelineId"] == PIPELINE_IDS[int(version)]
    assert answer.json()["PipelineEndpointId"] == ENDPOINT_ID
    assert workspace.control("GET", "runs")[0]["version"] == version


@pytest.mark.parametrize(
    "address", ["PipelineRuns/PipelineSubmit", "Experiments/PipelineSubmit", "Experiments/PublishedPipelineSubmit"]
)
def test_published_pipeline_is_addressed_by_itself(workspace: LocalWorkspace, address: str) -> None:
    """The run names the pipeline and no endpoint."""
    answer = workspace.call("POST", f"/{address}/{PIPELINE_IDS[1]}", BODY)
    assert (answer.json()["PipelineId"], answer.json()["PipelineEndpointId"]) == (PIPELINE_IDS[1], None)


def test_accepted_submission_is_answered_as_a_run_entity(workspace: LocalWorkspace) -> None:
    """PascalCase but for tags, enums as integers, seven fractional digits; a read gives the same."""
    run = workspace.call("POST", f"{BY_ID}/1", BODY).json()
    assert run["Status"]["StatusCode"] == 0
    assert (run["RunType"], run["EntityStatus"], run["UploadState"], run["IsSubmitted"]) == (0, 0, 1, True)
    assert len(run["CreatedDate"]) == len("2026-11-23T16:00:00.1234567Z")
    assert run["RunHistoryExperimentName"] == "income-retrain"
    assert run["DataPathAssignments"] == BODY["DataPathAssignments"]
    assert (run["tags"], run["Properties"]) == (BODY["tags"], BODY["Properties"])
    assert run["RunUrl"] == f"{workspace.base_url}/runs/{run['Id']}"
    assert "Tags" not in run
    for alias in ("PipelineRuns", "Experiments"):
        assert workspace.call("GET", f"/{alias}/{run['Id']}").json() == run


def test_accepted_submissions_are_kept_as_received(workspace: LocalWorkspace) -> None:
    """The control surface tells URL, headers and body in order, and never the token."""
    for version in ("1", "0"):
        workspace.call("POST", f"{BY_ID}/{version}?pipelineVersion={version}", BODY, headers={"X-Trace": version})
    first, second = workspace.control("GET", "runs")
    assert first["url"].endswith(f"{BY_ID}/1?pipelineVersion=1")
    assert first["url"].startswith("/pipelines/v1.0/subscriptions/")
    assert (first["headers"]["x-trace"], second["headers"]["x-trace"]) == ("1", "0")
    assert "authorization" not in first["headers"]
    assert first["body"] == BODY
    assert (first["pipeline_id"], first["version"], first["status"]) == (PIPELINE_IDS[1], "1", "NotStarted")


def test_json_patch_content_type(workspace: LocalWorkspace) -> None:
    """What the SDK sends as content type is taken, another one is not."""
    for content_type, status in (("application/json-patch+json; charset=utf-8", 200), ("text/plain", 415)):
        answer = workspace.call("POST", BY_ID, BODY, headers={"Content-Type": content_type})
        assert answer.status_code == status


def test_numbers_as_parameter_values(workspace: LocalWorkspace) -> None:
    """They are taken and turned into strings."""
    run = workspace.call("POST", BY_ID, {**BODY, "ParameterAssignments": {"test_fraction": 0.2, "seed": 7}}).json()
    assert run["ParameterAssignments"] == {"test_fraction": "0.2", "seed": "7"}


@pytest.mark.parametrize(
    ("address", "status", "word"),
    [
        (f"{BY_ID}/1?pipelineVersion=0", 400, "pipelineVersion"),
        (f"{BY_ID}/7", 404, "version '7'"),
        (f"{BY_NAME}?name=income&pipelineVersion=7", 404, "version '7'"),
        (f"{BY_NAME}?name=other", 404, "'other'"),
        (BY_NAME, 400, "'name'"),
        ("/PipelineRuns/PipelineEndpointSubmit/Id/unknown", 404, "'unknown'"),
        ("/PipelineRuns/PipelineSubmit/unknown", 404, "'unknown'"),
        (f"{BY_ID}?parentRunId=unknown", 400, "parentRunId"),
    ],
)
def test_address_that_leads_nowhere(workspace: LocalWorkspace, address: str, status: int, word: str) -> None:
    """It is refused with a message that names what is wrong, and nothing is accepted."""
    answer = workspace.call("POST", address, BODY)
    assert refusal(answer)[0] == status
    assert word in refusal(answer)[2]
    assert workspace.control("GET", "runs") == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"ExperimentName": None}, "Experiment name"),
        ({"ExperimentName": 5}, "ExperimentName"),
        ({"ParameterAssignments": {"epochs": "3"}}, "'epochs'"),
        ({"ParameterAssignments": {"seed": ["3"]}}, "ParameterAssignments"),
        ({"DataPathAssignments": {"data": {"DataStoreName": "t", "RelativePath": "p"}}}, "'data'"),
        ({"DataPathAssignments": {"input_data": {"RelativePath": "p"}}}, "DataStoreName"),
        ({"DataSetDefinitionValueAssignments": {"input_data": {"LiteralValue": {}}}}, "LiteralValue"),
        ({"DataSetDefinitionValueAssignments": {"input_data": {}}}, "input_data"),
        ({"RunType": "Robot"}, "RunType"),
        ({"tags": {"k": "v" * 1001}}, "tags"),
        ({"Properties": {f"k{n}": "v" for n in range(51)}}, "Properties"),
    ],
)
def test_body_that_is_not_in_order(workspace: LocalWorkspace, change: dict[str, Any], word: str) -> None:
    """It is refused with 400 and the name of the member, and nothing is accepted."""
    status, code, message = refusal(workspace.call("POST", BY_ID, {**BODY, **change}))
    assert (status, code) == (400, "BadRequest")
    assert word in message
    assert workspace.control("GET", "runs") == []


@pytest.mark.parametrize("name", ["", "a b", "income/us", "-a", "_a", "café", "a.b", "a\n", "x" * 257])
def test_experiment_that_cannot_be(workspace: LocalWorkspace, name: str) -> None:
    """It is refused with 400 in the form of the service that is asked, and nothing is accepted."""
    status, code, message = refusal(workspace.call("POST", BY_ID, {**BODY, "ExperimentName": name}))
    assert (status, code) == (400, "BadRequest")
    assert message.startswith("Experiment name must be 1-256 characters")
    assert workspace.control("GET", "runs") == []
    if name and "/" not in name:
        url = f"{workspace.history}/experiments/{quote(name)}"
        assert workspace.call("POST", url, {}).json()["error"]["code"] == "BadRequest"


@pytest.mark.parametrize("name", ["a", "0", "Income-us_2026", "x" * 256])
def test_experiment_that_can_be(workspace: LocalWorkspace, name: str) -> None:
    """It is made with the first run in it."""
    assert workspace.call("POST", BY_ID, {**BODY, "ExperimentName": name}).status_code == 200
    assert workspace.call("GET", f"{workspace.history}/experiments/{name}").json()["name"] == name


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"ExperimentName": "\\ud800"}'])
def test_body_that_is_no_json_object(workspace: LocalWorkspace, content: bytes) -> None:
    """It is refused with 400."""
    headers = {"Authorization": f"Bearer {workspace.token()}", "Content-Type": "application/json"}
    answer = workspace.session.post(workspace.pipelines + BY_ID, data=content, headers=headers, timeout=TIMEOUT_S)
    assert refusal(answer)[0] == 400


def test_unknown_parameters_when_they_are_to_be_ignored(workspace: LocalWorkspace) -> None:
    """The switch lets them through."""
    workspace.control("POST", "settings", {"unknown_parameters": "ignore"})
    assert workspace.call("POST", BY_ID, {**BODY, "ParameterAssignments": {"epochs": "3"}}).status_code == 200


def test_service_that_ignores_the_pin(workspace: LocalWorkspace) -> None:
    """The switch answers 200, with a run of the default version."""
    workspace.control("POST", "settings", {"ignore_pin": True})
    assert workspace.call("POST", f"{BY_ID}/1", BODY).json()["PipelineId"] == PIPELINE_IDS[0]


def test_submission_to_what_is_disabled(workspace: LocalWorkspace) -> None:
    """A disabled pipeline, and then a disabled endpoint, refuse."""
    assert workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[1]}/status", "Disabled").status_code == 200
    assert "Disabled" in refusal(workspace.call("POST", f"{BY_ID}/1", BODY))[2]
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json()
    workspace.call("PUT", f"/PipelineEndpoints/{ENDPOINT_ID}", {**entity, "EntityStatus": "2"})
    assert "endpoint 'income' is Disabled" in refusal(workspace.call("POST", BY_ID, BODY))[2]


def test_submit_address_opened_with_get(workspace: LocalWorkspace) -> None:
    """It answers UnsupportedApiVersion, as the service was seen to do."""
    assert refusal(workspace.call("GET", BY_ID))[:2] == (400, "UnsupportedApiVersion")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/Schedules"), ("POST", "/Pipelines/Create"), ("GET", f"/Graphs/{PIPELINE_IDS[0]}")]
)
def test_what_is_not_implemented(workspace: LocalWorkspace, method: str, path: str) -> None:
    """It answers 501 and says what."""
    status, code, message = refusal(workspace.call(method, path))
    assert (status, code) == (501, "NotImplemented")
    assert path in message


def test_dataset_reference(workspace: LocalWorkspace) -> None:
    """References to registered datasets answer 501."""
    body = {**BODY, "DataSetDefinitionValueAssignments": {"d": {"SavedDataSetReference": {"Id": "1"}}}}
    assert refusal(workspace.call("POST", BY_ID, body))[0] == 501


def test_another_workspace(workspace: LocalWorkspace) -> None:
    """It is not found."""
    other = workspace.pipelines.replace("/workspaces/", "/workspaces/not-")
    assert refusal(workspace.call("POST", other + BY_ID, BODY))[0] == 404
