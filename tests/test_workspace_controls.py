"""What tests of the app steer at the local workspace: lost roles, sick and moved endpoints, removed runs, counts."""

import time
from typing import Any

import pytest
import requests

from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from local.workspace.state import GROUP
from tests.fixtures_workspace import LocalWorkspace
from tests.test_workspace_submit import BODY, BY_ID, refusal

QUERY = "/experiments/income-retrain/runs:query"


@pytest.fixture(autouse=True)
def _no_training(workspace: LocalWorkspace) -> None:
    workspace.control("POST", "settings", {"engine": "instant"})


def submit(workspace: LocalWorkspace, address: str = f"{BY_ID}/1", **change: Any) -> dict[str, Any]:
    """Submit a run; return its entity."""
    answer = workspace.call("POST", address, {**BODY, **change})
    assert answer.status_code == 200, answer.text
    entity: dict[str, Any] = answer.json()
    return entity


# Roles


def test_reader(workspace: LocalWorkspace) -> None:
    """It may read everything, runs:query too, and neither submits, nor cancels, nor changes anything."""
    run = submit(workspace)
    workspace.control("POST", "settings", {"role": "reader"})
    assert refusal(workspace.call("POST", f"{BY_ID}/1", BODY))[:2] == (403, "Forbidden")
    assert refusal(workspace.call("DELETE", f"/PipelineRuns/{run['Id']}/Execution"))[0] == 403
    assert refusal(workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[0]}/status", "Disabled"))[0] == 403
    patch = workspace.call("PATCH", f"{workspace.history}/runs/{run['Id']}", {"tags": {"a": "b"}})
    assert (patch.status_code, patch.json()["error"]["code"]) == (403, "Forbidden")
    for path in (f"/PipelineRuns/{run['Id']}", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[1]}", "/PipelineEndpoints"):
        assert workspace.call("GET", path).status_code == 200
    assert workspace.call("POST", workspace.history + QUERY, {}).status_code == 200
    assert len(workspace.control("GET", "runs")) == 1


def test_no_role(workspace: LocalWorkspace) -> None:
    """Nothing is allowed, in the form of the service that is asked; tokens are still given out. Then all is well."""
    run = submit(workspace)
    workspace.control("POST", "settings", {"role": "none"})
    for method, path in (("POST", f"{BY_ID}/1"), ("GET", f"/PipelineRuns/{run['Id']}"), ("GET", "/PipelineEndpoints")):
        assert refusal(workspace.call(method, path, BODY if method == "POST" else None))[:2] == (403, "Forbidden")
    for method, url in (("GET", f"{workspace.history}/runs/{run['Id']}"), ("POST", workspace.history + QUERY)):
        assert workspace.call(method, url, {}).json()["error"]["code"] == "Forbidden"
    store = workspace.call("GET", f"{workspace.pipelines.replace('/pipelines/', '/datastore/')}/datastores/training")
    assert store.status_code == 403
    headers = {"X-IDENTITY-HEADER": workspace.info["identity_header"]}
    address = f"{workspace.info['identity_endpoint']}?api-version=2019-08-01&resource=https://management.azure.com"
    assert workspace.session.get(address, headers=headers, timeout=9).status_code == 200
    workspace.control("POST", "settings", {"role": "contributor"})
    submit(workspace)


def test_caller_without_a_role_while_a_fault_waits(workspace: LocalWorkspace) -> None:
    """It is refused, and the fault waits for the next one; a caller without a token is asked for that first."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status"}])
    workspace.control("POST", "settings", {"role": "none"})
    assert workspace.call("POST", BY_ID, BODY).status_code == 403
    assert requests.post(workspace.pipelines + BY_ID, json=BODY, timeout=9).status_code == 401
    assert len(workspace.control("GET", "faults")) == 1


# Removed runs


def test_removed_run(workspace: LocalWorkspace) -> None:
    """It can be read nowhere and is in no service's list; that it was accepted is still told."""
    gone, kept = submit(workspace), submit(workspace)
    before = time.time()
    assert workspace.control("DELETE", f"runs/{gone['Id']}")["removed"] is True
    assert workspace.call("GET", f"/PipelineRuns/{gone['Id']}").status_code == 404
    assert workspace.call("GET", f"{workspace.history}/runs/{gone['Id']}").status_code == 404
    assert workspace.call("DELETE", f"/PipelineRuns/{gone['Id']}/Execution").status_code == 404
    assert [run["Id"] for run in workspace.call("GET", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[1]}").json()] == [
        kept["Id"]
    ]
    found = workspace.call("POST", workspace.history + QUERY, {}).json()["value"]
    assert [run["runId"] for run in found] == [kept["Id"]]
    assert workspace.session.get(f"{workspace.base_url}/runs/{gone['Id']}", timeout=9).status_code == 404
    told = workspace.control("GET", "runs")
    assert [(run["run_id"], run["removed"]) for run in told] == [(gone["Id"], True), (kept["Id"], False)]
    assert 0 < told[0]["accepted_at"] <= told[1]["accepted_at"] <= before


@pytest.mark.parametrize("engine", ["hold", "train"])
def test_run_that_is_removed_before_its_end(workspace: LocalWorkspace, engine: str) -> None:
    """It never comes back, and a second removal finds nothing."""
    workspace.control("POST", "settings", {"engine": engine})
    run = submit(workspace)
    workspace.control("DELETE", f"runs/{run['Id']}")
    url = f"{workspace.base_url}/_control/runs/{run['Id']}"
    assert workspace.session.delete(url, timeout=9).status_code == 404
    assert workspace.session.post(f"{url}/status", json={"status": "Finished"}, timeout=9).status_code == 404
    assert submit(workspace)["Id"] != run["Id"]


# Endpoints


def test_second_endpoint(workspace: LocalWorkspace) -> None:
    """One call makes it; each of its versions is a pipeline of its own that takes what the first endpoint takes."""
    made = workspace.control("POST", "endpoints", {"name": "other", "versions": 2})
    assert (made["name"], made["versions"], made["default_version"]) == ("other", ["0", "1"], "0")
    assert made == workspace.control("GET", "info")["endpoints"][1]
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{made['id']}").json()
    pipelines = [version["PipelineId"] for version in entity["PipelineVersionList"]]
    assert len({*pipelines, *PIPELINE_IDS}) == 4
    assert submit(workspace, f"{made['url'].removeprefix(workspace.pipelines)}/1")["PipelineId"] == pipelines[1]
    assert workspace.call("GET", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[1]}").json() == []
    workspace.control("POST", "reset")
    assert [one["name"] for one in workspace.control("GET", "info")["endpoints"]] == ["income"]


@pytest.mark.parametrize(
    ("order", "status", "word"),
    [
        ({"name": "income"}, 409, "'income'"),
        ({"name": ""}, 400, "name"),
        ({"name": "other", "versions": 0}, 400, "versions"),
        ({"name": "other", "colour": "red"}, 400, "colour"),
    ],
)
def test_endpoint_that_cannot_be_made(workspace: LocalWorkspace, order: dict[str, Any], status: int, word: str) -> None:
    """It is refused, and nothing is published for it."""
    pipelines = workspace.call("GET", "/Pipelines").json()
    answer = workspace.session.post(f"{workspace.base_url}/_control/endpoints", json=order, timeout=9)
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]
    assert workspace.call("GET", "/Pipelines").json() == pipelines


# Faults of one endpoint


def test_faults_of_one_endpoint(workspace: LocalWorkspace) -> None:
    """Submissions, reads of runs, lists and reads of the endpoint itself: its neighbour meets none of them."""
    other = workspace.control("POST", "endpoints", {"name": "other", "versions": 1})
    address = other["url"].removeprefix(workspace.pipelines)
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{other['id']}").json()
    pipeline = entity["PipelineVersionList"][0]["PipelineId"]
    mine = submit(workspace, f"{BY_ID}/0")
    theirs = submit(workspace, address, ExperimentName="theirs")
    history, by_name = workspace.history, "/PipelineRuns/PipelineEndpointSubmit/Name?name="
    calls = {
        "submit": [("POST", BY_ID, address), ("POST", f"{by_name}income", f"{by_name}other")],
        "status": [
            ("GET", f"/PipelineRuns/{mine['Id']}", f"/PipelineRuns/{theirs['Id']}"),
            ("GET", f"{history}/runs/{mine['Id']}", f"{history}/runs/{theirs['Id']}"),
        ],
        "list": [
            ("GET", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[0]}", f"/PipelineRuns/Pipeline/{pipeline}"),
            ("POST", history + QUERY, f"{history}/experiments/theirs/runs:query"),
        ],
        "endpoint": [
            ("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}", f"/PipelineEndpoints/Id/{other['id']}"),
            ("GET", "/PipelineEndpoints/Name?Name=income", "/PipelineEndpoints/Name?Name=other"),
        ],
    }
    order = [{"on": on, "kind": "status", "times": 2, "endpoint": other["id"]} for on in calls]
    workspace.control("POST", "faults", order)
    for on, pairs in calls.items():
        for method, healthy, sick in pairs:
            body = None if method == "GET" else {} if on == "list" else BODY
            assert workspace.call(method, healthy, body).status_code == 200, healthy
            assert workspace.call(method, sick, body).status_code == 503, sick
    assert workspace.control("GET", "faults") == []


def test_faults_of_a_published_pipeline_and_by_chance(workspace: LocalWorkspace) -> None:
    """A published pipeline's id limits a fault, too, and so it is with odds."""
    faults = [{"on": "submit", "kind": "status", "status": 500, "endpoint": PIPELINE_IDS[0]}]
    workspace.control("POST", "odds", {"rate": 1, "faults": faults})
    calls = [f"/PipelineRuns/PipelineSubmit/{pipeline_id}" for pipeline_id in PIPELINE_IDS]
    assert [workspace.call("POST", address, BODY).status_code for address in calls] == [500, 200]


def test_endpoint_that_hangs(workspace: LocalWorkspace) -> None:
    """A client that gives up on it is served at once by its neighbour."""
    other = workspace.control("POST", "endpoints", {"name": "other"})
    fault = {"on": "endpoint", "kind": "delay", "delay_s": 600, "endpoint": other["id"]}
    workspace.control("POST", "faults", [fault])
    headers = {"Authorization": f"Bearer {workspace.token()}"}
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{workspace.pipelines}/PipelineEndpoints/Id/{other['id']}", headers=headers, timeout=0.2)
    assert workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").status_code == 200


@pytest.mark.parametrize("order", [{"on": "submit", "endpoint": "unknown"}, {"on": "token", "endpoint": ENDPOINT_ID}])
def test_fault_of_an_endpoint_that_never_meets_it(workspace: LocalWorkspace, order: dict[str, Any]) -> None:
    """It is refused with 400 and the name of the field, on order and by chance."""
    fault = {"kind": "status", **order}
    for what, body in (("faults", [fault]), ("odds", {"rate": 1, "faults": [fault]})):
        answer = workspace.session.post(f"{workspace.base_url}/_control/{what}", json=body, timeout=9)
        assert answer.status_code == 400
        assert "endpoint" in answer.json()["error"]["message"]


# Counts


def test_requests_are_counted(workspace: LocalWorkspace) -> None:
    """By what they are about, refused ones too; the controls themselves are not."""
    workspace.control("POST", "reset")
    assert {*workspace.control("GET", "requests").values()} == {0}
    workspace.control("POST", "settings", {"engine": "instant"})
    run = submit(workspace)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status"}])
    assert workspace.call("POST", BY_ID, BODY).status_code == 503
    assert requests.post(workspace.pipelines + BY_ID, json=BODY, timeout=9).status_code == 401
    for _ in range(2):
        workspace.call("GET", f"/PipelineRuns/{run['Id']}")
    workspace.call("GET", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[1]}")
    workspace.call("POST", workspace.history + QUERY, {})
    workspace.call("GET", f"{workspace.history}/runs/{run['Id']}")
    workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}")
    workspace.session.get(workspace.info["identity_endpoint"], timeout=9)
    workspace.call("GET", f"/Pipelines/{PIPELINE_IDS[1]}")
    workspace.call("GET", "/Schedules")
    counted = {"submit": 3, "status": 2, "list": 1, "history": 2, "endpoint": 1, "token": 1, "other": 2}
    assert workspace.control("GET", "requests") == counted
    workspace.control("POST", "reset")
    assert {*workspace.control("GET", "requests").values()} == {0}


# The deployed app


HOOK = "https://app.example.com/runtime/webhooks/blobs?code=k&functionName=Host.Functions.arrive_training"
APP: dict[str, Any] = {
    "name": "app",
    "host": "app.example.com",
    "functions": [{"name": "tick"}, {"name": "health", "disabled": True}],
    "settings": {"A": "1"},
    "function_key": "f",
    "system_keys": {"blobs_extension": "k"},
    "topic": "t",
    "account": "a",
    "subscriptions": [
        {"name": "s", "properties": {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": HOOK}}}},
        {"name": "q", "properties": {"destination": None}},
    ],
}
SITE, TOPIC = "Microsoft.Web/sites/app", "Microsoft.EventGrid/systemTopics/t"


def arm(workspace: LocalWorkspace, method: str, path: str) -> requests.Response:
    """Call Resource Manager, in the resource group of the workspace."""
    return workspace.call(method, f"{workspace.base_url}{GROUP}/{path}?api-version=2025-03-01")


def test_deployed_app(workspace: LocalWorkspace) -> None:
    """What it was told, in ARM's form, page by page; a reset leaves it, since it cannot be deployed again from here."""
    workspace.control("POST", "app", APP)
    workspace.control("POST", "reset")
    workspace.control("POST", "settings", {"page_size": 1})
    site = arm(workspace, "GET", SITE).json()
    host = {"defaultHostName": "app.example.com", "hostNames": ["app.example.com"]}
    assert site["properties"] == {"state": "Running", "enabled": True, **host}
    page = arm(workspace, "GET", f"{SITE}/functions").json()
    following = workspace.call("GET", page["nextLink"]).json()
    assert [one["name"] for one in page["value"] + following["value"]] == ["app/tick", "app/health"]
    assert following["value"][0]["properties"]["isDisabled"] is True
    assert arm(workspace, "POST", f"{SITE}/config/appsettings/list").json()["properties"] == {"A": "1"}
    keys = arm(workspace, "POST", f"{SITE}/host/default/listkeys").json()
    assert (keys["functionKeys"], keys["systemKeys"]) == ({"default": "f"}, {"blobs_extension": "k"})


def test_event_subscriptions_of_the_deployed_app(workspace: LocalWorkspace) -> None:
    """A list does not have the webhook's key; getFullUrl does, and of what is no webhook it is refused."""
    workspace.control("POST", "app", APP)
    assert arm(workspace, "GET", TOPIC).json()["properties"]["source"].endswith("/storageAccounts/a")
    [hook, _] = arm(workspace, "GET", f"{TOPIC}/eventSubscriptions").json()["value"]
    assert hook["properties"]["destination"]["properties"] == {"endpointBaseUrl": HOOK.partition("?")[0]}
    assert arm(workspace, "POST", f"{TOPIC}/eventSubscriptions/s/getFullUrl").json() == {"endpointUrl": HOOK}
    assert arm(workspace, "POST", f"{TOPIC}/eventSubscriptions/q/getFullUrl").status_code == 400
    assert arm(workspace, "POST", f"{TOPIC}/eventSubscriptions/x/getFullUrl").status_code == 404


def test_what_is_not_deployed(workspace: LocalWorkspace) -> None:
    """404 for another name, 501 for what ARM does besides; a reader sees no settings; bad orders are 400."""
    workspace.control("POST", "app", APP)
    assert arm(workspace, "GET", "Microsoft.Web/sites/other").json()["error"]["code"] == "ResourceNotFound"
    assert arm(workspace, "GET", "Microsoft.EventGrid/systemTopics/other").status_code == 404
    assert arm(workspace, "PUT", SITE).status_code == 501
    assert requests.get(f"{workspace.base_url}{GROUP}/{SITE}", timeout=9).status_code == 401
    workspace.control("POST", "settings", {"role": "reader"})
    assert arm(workspace, "GET", f"{SITE}/functions").status_code == 200
    assert arm(workspace, "POST", f"{SITE}/config/appsettings/list").status_code == 403
    for order in ({"name": "app"}, {**APP, "topic": ""}, {**APP, "state": "Asleep"}):
        assert requests.post(f"{workspace.base_url}/_control/app", json=order, timeout=9).status_code == 400
