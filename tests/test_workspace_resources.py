"""Endpoints, pipelines and interfaces of the local workspace, and publishing new ones."""

from typing import Any

import pytest

from local.workspace.datastores import account_of
from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from tests.fixtures_workspace import LocalWorkspace

PUBLICATION: dict[str, Any] = {
    "name": "designer",
    "parameters": [{"name": "seed", "type": "Int", "default": 5}],
    "datasets": [{"name": "path", "datastore": "training", "path": "income"}],
    "model": {"kind": "gradient_boosting", "max_iter": 20},
}


def test_seeded_endpoint_by_id_and_name(workspace: LocalWorkspace) -> None:
    """Both ways give the same entity: two versions, default "0", active, and the URL to submit to."""
    by_id = workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json()
    assert workspace.call("GET", "/PipelineEndpoints/Name?Name=income").json() == by_id
    assert [v["Version"] for v in by_id["PipelineVersionList"]] == ["0", "1"]
    assert (by_id["DefaultVersion"], by_id["EntityStatus"]) == ("0", 0)
    assert by_id["Url"] == workspace.endpoint["url"]
    assert "tags" in by_id


def test_interface_of_the_pinned_pipeline(workspace: LocalWorkspace) -> None:
    """The data path is in DataPathParameters with its default, basic parameters with their type codes."""
    pipeline = workspace.call("GET", f"/Pipelines/{PIPELINE_IDS[1]}").json()
    interface = workspace.call("GET", f"/Graphs/{pipeline['GraphId']}/Interface").json()
    assert [(p["Name"], p["Type"]) for p in interface["Parameters"]] == [
        ("test_fraction", 1),
        ("seed", 0),
        ("country", 3),
    ]
    (data_path,) = interface["DataPathParameters"]
    assert data_path["Name"] == "input_data"
    assert data_path["DefaultValue"] == {"DataStoreName": "training", "RelativePath": "income/us/adult.csv"}
    assert interface["DataPathParameterList"] == []


def test_pipeline_published_with_a_dataset_parameter(workspace: LocalWorkspace) -> None:
    """It is in DataPathParameterList, and its literal value is taken when submitting."""
    workspace.control("POST", "settings", {"engine": "hold"})
    pipeline = workspace.control("POST", "pipelines", PUBLICATION)
    interface = workspace.call("GET", f"/Graphs/{pipeline['GraphId']}/Interface").json()
    literal = {"LiteralValue": {"DataStoreName": "training", "RelativePath": "income"}}
    assert [(p["Name"], p["DefaultValue"]) for p in interface["DataPathParameterList"]] == [("path", literal)]
    body = {"ExperimentName": "e", "DataSetDefinitionValueAssignments": {"path": literal}}
    run = workspace.call("POST", f"/PipelineRuns/PipelineSubmit/{pipeline['Id']}", body).json()
    assert run["DataSetDefinitionValueAssignments"] == {"path": literal}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"colour": "red"}, "colour"),
        ({"parameters": [{"name": "seed", "type": "Number"}]}, "type"),
        ({"datasets": []}, "data_paths"),
        ({"model": {"kind": "magic"}}, "kind"),
        ({"import_from": "seed"}, "import_from"),
        ({"data_paths": [{"name": "path", "datastore": "d", "path": "p"}]}, "once"),
    ],
)
def test_malformed_publication(workspace: LocalWorkspace, change: dict[str, Any], field: str) -> None:
    """It is refused with 400 and the name of the field."""
    answer = workspace.session.post(
        f"{workspace.base_url}/_control/pipelines", json={**PUBLICATION, **change}, timeout=9
    )
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


def test_new_version_on_the_endpoint(workspace: LocalWorkspace) -> None:
    """The PUT with one more version adds it; old pins still lead where they led."""
    pipeline = workspace.control("POST", "pipelines", PUBLICATION)
    url = f"/PipelineEndpoints/{ENDPOINT_ID}"
    entity = workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json()
    entity["PipelineVersionList"].append({"Version": "2", "PipelineId": pipeline["Id"]})
    changed = workspace.call("PUT", url, {**entity, "DefaultVersion": "2"}).json()
    assert (changed["DefaultVersion"], len(changed["PipelineVersionList"])) == ("2", 3)
    assert changed["Etag"] != entity["Etag"]
    assert len(workspace.call("GET", f"{url}/pipelines?activeOnly=true").json()) == 3
    assert workspace.control("GET", "info")["endpoints"][0]["versions"] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"DefaultVersion": "9"}, "'9'"),
        ({"PipelineVersionList": [{"Version": "0", "PipelineId": PIPELINE_IDS[0]}]}, "'1'"),
        ({"PipelineVersionList": [{"Version": v, "PipelineId": PIPELINE_IDS[1]} for v in "01"]}, "'0'"),
        ({"PipelineVersionList": [{"Version": "x", "PipelineId": PIPELINE_IDS[1]}]}, "'x'"),
        ({"EntityStatus": "Asleep"}, "Asleep"),
        ({"Name": None}, "Name"),
    ],
)
def test_endpoint_update_that_would_break_a_pin(workspace: LocalWorkspace, change: dict[str, Any], word: str) -> None:
    """It is refused, and the endpoint stays as it is."""
    before = workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json()
    answer = workspace.call("PUT", f"/PipelineEndpoints/{ENDPOINT_ID}", {**before, **change})
    assert answer.status_code == 400
    assert word in answer.json()["Error"]["Message"]
    assert workspace.call("GET", f"/PipelineEndpoints/Id/{ENDPOINT_ID}").json() == before


def test_new_endpoint(workspace: LocalWorkspace) -> None:
    """Its pipeline is version "0"; the same name again is refused; it is listed."""
    body = {"Name": "other", "PipelineId": PIPELINE_IDS[1]}
    made = workspace.call("POST", "/PipelineEndpoints/Create", body).json()
    assert made["PipelineVersionList"] == [{"Version": "0", "PipelineId": PIPELINE_IDS[1]}]
    assert workspace.call("POST", "/PipelineEndpoints/Create", body).status_code == 409
    assert len(workspace.call("GET", "/PipelineEndpoints?activeOnly=true").json()) == 2
    assert len(workspace.call("GET", "/PipelineEndpoints", headers={"BatchSize": "1"}).json()) == 1


def test_disabled_pipeline_in_lists(workspace: LocalWorkspace) -> None:
    """Lists leave it out, unless all are asked for."""
    workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[1]}/status", "Disabled")
    assert [p["Id"] for p in workspace.call("GET", "/Pipelines").json()] == [PIPELINE_IDS[0]]
    every = workspace.call("GET", "/Pipelines?activeOnly=false").json()
    assert [p["EntityStatus"] for p in every] == [0, 2]


def test_registered_datastore(workspace: LocalWorkspace) -> None:
    """It is told by its name, in camelCase, with account and container, and without a credential."""
    url = f"{workspace.base_url}/datastore/v1.0{workspace.info['workspace']}/datastores"
    store = workspace.call("GET", f"{url}/training").json()
    assert (store["name"], store["dataStoreType"]) == ("training", "AzureBlob")
    section = store["azureStorageSection"]
    assert (section["accountName"], section["containerName"]) == ("devstoreaccount1", "training-data")
    assert not {section["credential"], section["accountKey"], section["sasToken"]} - {None}


def test_datastore_that_is_not_registered(workspace: LocalWorkspace) -> None:
    """404 in camelCase; another workspace's is 404, too, and changing one is not implemented."""
    url = f"{workspace.base_url}/datastore/v1.0{workspace.info['workspace']}/datastores"
    answer = workspace.call("GET", f"{url}/other")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "UserError")
    assert "Could not find datastore: other" in answer.json()["error"]["message"]
    assert workspace.call("GET", url.replace("retrain-local", "another") + "/training").status_code == 404
    assert workspace.call("PUT", f"{url}/training", {}).status_code == 501
    assert workspace.session.get(f"{url}/training", timeout=9).status_code == 401


@pytest.mark.parametrize(
    ("storage", "account"),
    [
        ("UseDevelopmentStorage=true", ("devstoreaccount1", "http", "127.0.0.1:10000")),
        ("AccountName=a;AccountKey=k==;EndpointSuffix=core.windows.net", ("a", "https", "core.windows.net")),
        ("AccountName=a;BlobEndpoint=http://127.0.0.1:5/a;AccountKey=k==", ("a", "http", "127.0.0.1:5")),
    ],
)
def test_account_of_a_connection_string(storage: str, account: tuple[str, str, str]) -> None:
    """Each of the three forms."""
    assert account_of(storage) == account


def test_discovery(workspace: LocalWorkspace) -> None:
    """It needs no token, and all services are at the base URL."""
    services = workspace.session.get(f"{workspace.base_url}/discovery", timeout=9).json()
    assert {"api", "experimentation", "history", "hyperdrive", "modelmanagement", "studio"} <= set(services)
    assert set(services.values()) == {workspace.base_url}
