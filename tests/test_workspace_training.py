"""Runs of the local workspace, really trained: metrics, outputs, reasons of failure, cancelling, pages, the process."""

import json
import re
import time
from typing import Any

import psutil
import pytest
from azure.storage.blob import BlobServiceClient

from local.process import Child
from local.workspace.sample_data import COLUMNS, generate
from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from tests.fixtures_workspace import ROOT, LocalWorkspace
from tests.test_workspace_submit import BODY, BY_ID

DEADLINE_S = 60
US, ABROAD = generate("us", 1500, 1), generate("non-us", 1500, 1)


def submit(workspace: LocalWorkspace, path: str, version: str = "1", **parameters: str) -> str:
    """Submit a run on a path of the datastore; returns its id."""
    data = {"input_data": {"DataStoreName": "training", "RelativePath": path}}
    body = {**BODY, "DataPathAssignments": data, "ParameterAssignments": parameters}
    return str(workspace.call("POST", f"{BY_ID}/{version}", body).json()["Id"])


def end(workspace: LocalWorkspace, run_id: str, *statuses: str) -> dict[str, Any]:
    """Wait until the run has ended, or has one of these statuses; returns what the controls say of it."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        run: dict[str, Any] = next(run for run in workspace.control("GET", "runs") if run["run_id"] == run_id)
        if run["status"] in (statuses or ("Finished", "Failed", "Canceled")):
            return run
        time.sleep(0.02)
    raise AssertionError(f"run {run_id} did not get there within {DEADLINE_S} s")


def test_us_and_other_data_are_trained(workspace: LocalWorkspace) -> None:
    """Both finish with metrics that differ clearly, and the model and the metrics are in storage."""
    workspace.upload("income/us/adult.csv", US)
    workspace.upload("income/non-us/adult.csv", ABROAD)
    ids = [submit(workspace, f"income/{country}/adult.csv") for country in ("us", "non-us")]
    us, abroad = (end(workspace, run_id) for run_id in ids)
    assert (us["status"], abroad["status"]) == ("Finished", "Finished")
    assert us["metrics"]["rows"] == 1500
    assert 0.8 < us["metrics"]["accuracy"] < 0.98
    assert us["metrics"]["auc"] - abroad["metrics"]["auc"] > 0.05
    with BlobServiceClient.from_connection_string(workspace.info["storage"]) as storage:
        folder = storage.get_container_client("azureml")
        assert json.loads(folder.download_blob(f"runs/{ids[0]}/metrics.json").readall()) == us["metrics"]
        assert folder.get_blob_client(f"runs/{ids[0]}/model.joblib").exists()
    entity = workspace.call("GET", f"/PipelineRuns/{ids[0]}").json()
    assert (entity["Status"]["StatusCode"], entity["HasErrors"]) == (3, False)
    assert entity["Status"]["EndTime"] > entity["Status"]["CreationTime"]


def test_versions_train_differently(workspace: LocalWorkspace) -> None:
    """The same data at another version gives another model; the same version again gives the same."""
    workspace.upload("income/us/adult.csv", US)
    ids = [submit(workspace, "income/us/adult.csv", version) for version in ("0", "1", "1")]
    linear, boosted, again = (end(workspace, run_id)["metrics"] for run_id in ids)
    assert linear["auc"] != boosted["auc"]
    assert boosted == again


def test_folder_as_data_path(workspace: LocalWorkspace) -> None:
    """All .csv files below it are one table; other files are left alone, and parameters reach the steps."""
    workspace.upload("folder/2026-11-23/a.csv", US)
    workspace.upload("folder/2026-11-23/b.csv", ABROAD)
    workspace.upload("folder/2026-11-23/_SUCCESS", "")
    run = end(workspace, submit(workspace, "folder/2026-11-23", test_fraction="0.5"))
    assert run["metrics"]["rows"] == 3000
    assert abs(run["metrics"]["rows_tested"] - run["metrics"]["rows_trained"]) <= 1


HEADER = ",".join(COLUMNS)
GOOD = [row for row in US.splitlines()[1:] if "?" not in row]
RICH, POOR = ([row for row in GOOD if row.endswith(f",{label}")] for label in (">50K", "<=50K"))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("nothing.csv", None, "There is no blob and no folder 'bad/nothing.csv' in datastore 'training'"),
        ("empty.csv", "", "is empty"),
        ("header.csv", HEADER + "\n", "no complete row"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\0\0\0", "is not a CSV file"),
        ("latin.csv", "caf\u00e9,\n".encode("latin-1"), "is not a CSV file"),
        ("text.csv", "Dear reader,\nthis is a letter.\n", "is not a CSV file"),
        ("ragged.csv", "a,b\n1,2\n1,2,3\n", "is not a CSV file"),
        ("columns.csv", US.replace("income", "salary", 1).replace("age", "years", 1), "lacks the columns: age, income"),
        ("class.csv", "\n".join([HEADER, *POOR]), "one class, <=50K"),
        ("label.csv", "\n".join([HEADER, GOOD[0].rpartition(",")[0] + ",rich", *GOOD[1:]]), "'rich'"),
        ("few.csv", "\n".join([HEADER, RICH[0], *POOR[:2]]), "too few"),
    ],
)
def test_data_that_cannot_be_trained_on(
    workspace: LocalWorkspace, name: str, content: str | bytes | None, reason: str
) -> None:
    """The run fails, and its status, run history and the controls say why."""
    if content is not None:
        workspace.upload(f"bad/{name}", content)
    run = end(workspace, submit(workspace, f"bad/{name}"))
    assert run["status"] == "Failed"
    assert reason in run["error"]
    entity = workspace.call("GET", f"/PipelineRuns/{run['run_id']}").json()
    assert (entity["Status"]["StatusCode"], entity["Status"]["StatusDetail"]) == (2, run["error"])
    history = workspace.call("GET", f"{workspace.history}/runs/{run['run_id']}").json()
    assert (history["status"], history["error"]["error"]["message"]) == ("Failed", run["error"])


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [({"test_fraction": "half"}, "'half'; expected a number"), ({"test_fraction": "1.5"}, "between 0 and 1")],
)
def test_parameter_value_that_makes_no_sense(
    workspace: LocalWorkspace, parameters: dict[str, str], reason: str
) -> None:
    """The run fails and says which parameter."""
    workspace.upload("income/us/adult.csv", US)
    run = end(workspace, submit(workspace, "income/us/adult.csv", **parameters))
    assert run["status"] == "Failed"
    assert reason in run["error"]


def test_datastore_that_is_not_registered(workspace: LocalWorkspace) -> None:
    """The run fails; once registered, the container is read."""
    workspace.upload("adult.csv", US, container="elsewhere")
    data = {"input_data": {"DataStoreName": "more", "RelativePath": "adult.csv"}}
    body = {**BODY, "DataPathAssignments": data}
    first = workspace.call("POST", BY_ID, body).json()["Id"]
    assert "no datastore named 'more'" in end(workspace, first)["error"]
    workspace.control("POST", "datastores", {"name": "more", "container": "elsewhere"})
    assert end(workspace, workspace.call("POST", BY_ID, body).json()["Id"])["status"] == "Finished"
    workspace.control("POST", "datastores", {"name": "more", "container": "nowhere"})
    assert "no container 'nowhere'" in end(workspace, workspace.call("POST", BY_ID, body).json()["Id"])["error"]


def test_cancelled_while_training(workspace: LocalWorkspace) -> None:
    """It is Canceled at once, stays so, and the next run trains as ever."""
    workspace.upload("big.csv", generate("us", 20000, 2))
    workspace.upload("income/us/adult.csv", US)
    run_id = submit(workspace, "big.csv")
    end(workspace, run_id, "Running")
    assert workspace.call("DELETE", f"/PipelineRuns/{run_id}/Execution").status_code == 200
    assert workspace.call("GET", f"/PipelineRuns/{run_id}").json()["Status"]["StatusCode"] == 4
    assert end(workspace, submit(workspace, "income/us/adult.csv"))["status"] == "Finished"
    assert end(workspace, run_id)["status"] == "Canceled"


def test_held_run(workspace: LocalWorkspace) -> None:
    """It stays NotStarted until told otherwise; its end is final; a run that is not held is not to be told."""
    workspace.control("POST", "settings", {"engine": "hold"})
    first, second = (submit(workspace, "income/us/adult.csv") for _ in range(2))
    workspace.call("DELETE", f"/Experiments/{second}/Execution")
    assert [run["status"] for run in workspace.control("GET", "runs")] == ["NotStarted", "Canceled"]
    assert workspace.control("POST", f"runs/{first}/status", {"status": "Running"})["status"] == "Running"
    failed = workspace.control("POST", f"runs/{first}/status", {"status": "Failed", "error": "Out of luck."})
    assert (failed["status"], failed["error"]) == ("Failed", "Out of luck.")
    url = f"{workspace.base_url}/_control/runs/{first}/status"
    assert workspace.session.post(url, json={"status": "Finished"}, timeout=9).status_code == 409
    assert workspace.session.post(url, json={"status": "Asleep"}, timeout=9).status_code == 400


def test_answers_while_training(workspace: LocalWorkspace) -> None:
    """The service answers quickly while a model is trained."""
    workspace.upload("big.csv", generate("us", 20000, 2))
    run_id = submit(workspace, "big.csv")
    end(workspace, run_id, "Running")
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        assert workspace.call("GET", f"/PipelineRuns/{run_id}").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1
    workspace.call("DELETE", f"/PipelineRuns/{run_id}/Execution")


def test_pages(workspace: LocalWorkspace) -> None:
    """The overview and the run's page tell what ran and why it failed, escaped, with links that open."""
    workspace.upload("income/us/adult.csv", US)
    end(workspace, good := submit(workspace, "income/us/adult.csv"))
    end(workspace, bad := submit(workspace, "<script>alert(1)</script>.csv"))
    overview = workspace.session.get(workspace.base_url, timeout=9).text
    assert "income/us/adult.csv" in overview
    assert ENDPOINT_ID in overview
    assert f"/runs/{bad}" in overview
    page = workspace.session.get(f"{workspace.base_url}/runs/{good}", timeout=9).text
    assert PIPELINE_IDS[1] in page
    links = [link.replace("&amp;", "&") for link in re.findall(r'<a href="(http[^"]+)"', page)]
    assert "accuracy" in workspace.session.get(links[1], timeout=9).text
    page = workspace.session.get(f"{workspace.base_url}/runs/{bad}", timeout=9).text
    assert "There is no blob and no folder" in page
    assert "<script>" not in page + overview
    assert workspace.session.get(f"{workspace.base_url}/runs/unknown", timeout=9).status_code == 404


def test_sample_data() -> None:
    """The same seed gives the same text, another one another; a wrong country is refused."""
    assert generate("us", 50, 1) == generate("us", 50, 1) != generate("us", 50, 2)
    assert len(generate("non-us", 50, 1).splitlines()) == 51
    with pytest.raises(ValueError, match="expected us or non-us"):
        generate("mars", 1, 1)


def test_workspace_told_to_end_while_training(storage: str, tmp_path: Any, workspace: LocalWorkspace) -> None:
    """It printed one line, and on SIGTERM it ends within seconds, its training processes with it."""
    workspace.upload("big.csv", generate("us", 20000, 2))
    log = tmp_path / "workspace.log"
    command = [*workspace.child.process.args]  # type: ignore[misc]
    with Child("second workspace", command, log=log, cwd=ROOT) as child:
        child.wait_until(lambda: "ready" in log.read_text())
        second = LocalWorkspace(log.read_text().split()[-1], child)
        with second.session:
            end(second, submit(second, "big.csv"), "Running")
        workers = psutil.Process(child.process.pid).children(recursive=True)
        assert workers
        began = time.monotonic()
        child.stop()
        assert time.monotonic() - began < 5
        assert psutil.wait_procs(workers, timeout=5)[1] == []
    assert re.fullmatch(r"workspace ready http://127\.0\.0\.1:\d+\n", log.read_text())
