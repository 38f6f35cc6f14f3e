"""The app as a whole, on a function host with Azurite and the local workspace, over HTTP only."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from local.stack import AppFaultsError, Ports, Stack
from tests.waiting import until

DATA = Path(__file__).parent / "data"


class Running:
    """A running stack and what tests do with it."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.api = stack, f"{stack.app_url}/api"
        self.container = ContainerClient.from_connection_string(stack.storage, "training-data")

    def get(self, path: str) -> Any:
        """GET a path of the API."""
        return requests.get(f"{self.api}/{path}", timeout=30).json()

    def retrain(self, body: Any) -> requests.Response:
        """POST to the webhook: JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body)
        return requests.post(f"{self.api}/retrain", data=data, timeout=30)

    def runs(self, path: str | None = None) -> list[dict[str, Any]]:
        """Return what the workspace accepted, for one blob."""
        accepted: list[dict[str, Any]] = requests.get(f"{self.stack.workspace_url}/_control/runs", timeout=30).json()
        return [run for run in accepted if path in (None, path_of(run))]

    def tick(self) -> None:
        """Fire the timer."""
        answer = requests.post(f"{self.stack.app_url}/admin/functions/tick", json={"input": ""}, timeout=30)
        assert answer.status_code == 202


def path_of(run: dict[str, Any]) -> str:
    """Return the path in a submission's body."""
    path: str = run["body"]["DataPathAssignments"]["input_data"]["RelativePath"]
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything, started once for this module; there was a blob before the app's first start."""
    logs = tmp_path_factory.mktemp("logs")
    ports = Ports.free()
    with Stack(ports, logs=logs, parts=("storage", "workspace")) as stack:
        made = Running(stack)
        with made.container:
            written = made.container.upload_blob("income/us/from-before.csv", b"age\n1\n").get_blob_properties()
            until(lambda: datetime.now(UTC) - written.last_modified >= timedelta(seconds=1))  # dates have whole seconds
            stack.start_app(RETRAIN_TIMER_SCHEDULE="0 0 0 1 1 *")
            yield made


def test_upload_becomes_exactly_one_submission(running: Running) -> None:
    """The version stands in the URL, the path in the body; scan and webhook together make one run."""
    path = "income/de/ü 100% #1+2.csv"
    running.container.upload_blob(path, (DATA / "income.csv").read_bytes())
    [run] = until(lambda: running.runs(path))
    assert run["url"].endswith("/1?pipelineVersion=1")
    answer = running.retrain({"datastore": "training", "path": path})
    assert answer.status_code == 202
    told = answer.json()
    assert (told["run_id"], told["version"], told["state"]) == (run["run_id"], "1", "submitted")
    assert told["duplicate"] is True
    assert told["run_url"].startswith("http")
    assert len(running.runs(path)) == 1


def test_run_is_followed_to_its_end(running: Running) -> None:
    """Trained for real; the timer writes down the end."""
    path = "income/fr/a.csv"
    running.container.upload_blob(path, (DATA / "income.csv").read_bytes())
    key = running.retrain({"rule": "income-files", "path": path}).json()["key"]
    until(lambda: running.runs(path)[0]["status"] == "Finished", timeout_s=60)
    running.tick()
    entry = until(lambda: (found := running.get(f"retrains/{key}"))["state"] == "finished" and found)
    assert entry["run_status"] == "Finished"
    assert key in [item["key"] for item in running.get("retrains")["retrains"]]


def test_data_that_is_no_csv_fails_the_run_with_a_reason(running: Running) -> None:
    """The app does not look into the data; the run does, and its reason comes back."""
    path = "income/it/broken.csv"
    running.container.upload_blob(path, b"\x00\x01\x02 no table")
    key = running.retrain({"datastore": "training", "path": path}).json()["key"]
    until(lambda: running.runs(path)[0]["status"] == "Failed", timeout_s=60)
    running.tick()
    entry = until(lambda: (found := running.get(f"retrains/{key}"))["state"] == "failed" and found)
    assert entry["reason"] == running.runs(path)[0]["error"]


def test_blob_that_was_there_before_the_first_start_starts_nothing(running: Running) -> None:
    """The scan saw it before the upload of this test, whose run is there."""
    running.container.upload_blob("income/us/after.csv", b"age\n1\n")
    until(lambda: running.runs("income/us/after.csv"))
    assert running.runs("income/us/from-before.csv") == []
    assert "before the rule's since" in running.stack.children["app"].log.read_text()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not what is expected"),
        (b"", 400, "not what is expected"),
        (b"[]", 400, "Expected `object`"),
        ({"datastore": "training"}, 400, "missing required field `path`"),
        ({"datastore": "training", "path": 3}, 400, "Expected `str`"),
        ({"datastore": "training", "path": "a", "forse": True}, 400, "unknown field `forse`"),
        ({"datastore": "training", "path": "a", "parameters": {"x": 1}}, 400, "Expected `str`"),
        ({"datastore": "training", "path": "income/../a.csv"}, 400, "'..'"),
        ({"datastore": "training", "path": "/income/a.csv"}, 400, "slash"),
        ({"datastore": "nowhere", "path": "income/a.csv"}, 404, "known are: training"),
        ({"rule": "none", "path": "income/a.csv"}, 404, "known are: income-files"),
        ({"datastore": "training", "path": "income/missing.csv"}, 404, "no blob"),
        (b'{"path": "' + b"x" * 70_000 + b'"}', 413, "65,536"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_calls_that_cannot_be_acted_on_are_problem_documents(
    running: Running, body: Any, status: int, says: str
) -> None:
    """RFC 9457, with what is wrong; nothing is started."""
    before = len(running.runs())
    answer = running.retrain(body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert says in answer.json()["detail"]
    assert len(running.runs()) == before


def test_blob_that_no_rule_takes_is_told_so(running: Running) -> None:
    """Nothing is wrong with the call; nothing is started either."""
    running.container.upload_blob("scratch/a.txt", b"x")
    answer = running.retrain({"datastore": "training", "path": "scratch/a.txt"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "skipped"
    assert "does not match" in answer.json()["skipped"][0]["reason"]


def test_dry_run_shows_the_request_and_sends_nothing(running: Running) -> None:
    """What would be sent, to the letter; then the real call sends it."""
    path = "income/nl/a.csv"
    before = len(running.runs())
    body = json.dumps({"datastore": "training", "path": path})
    answer = requests.post(f"{running.api}/retrain?dry_run=true", data=body, timeout=30)
    assert answer.status_code == 200
    [planned] = answer.json()["planned"]
    assert (planned["decision"], planned["rule"], planned["version"]) == ("start", "income-files", "1")
    assert planned["request"]["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == path
    assert planned["request"]["url"].endswith("/1?pipelineVersion=1")
    assert len(running.runs()) == before


@pytest.mark.parametrize(
    "query",
    ["dry_run=1", "dry_run=yes", "dry_run", "dry_run=", "dryRun=true", "dry_run=True", "dry_run=true&dry_run=true"],
)
def test_dry_run_that_is_mistyped_starts_nothing(running: Running, query: str) -> None:
    """Whoever writes something like it does not mean to train: a 400 that says what is known."""
    path = f"income/it/{uuid.uuid4().hex}.csv"
    running.container.upload_blob(path, b"age\n1\n")
    until(lambda: running.runs(path))  # by the scan
    before = len(running.runs(path))
    body = json.dumps({"datastore": "training", "path": path, "force": True})
    answer = requests.post(f"{running.api}/retrain?{query}", data=body, timeout=30)
    assert answer.status_code == 400
    assert "known are: dry_run" in answer.json()["detail"]
    assert len(running.runs(path)) == before


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("status=failed", "known are: limit, rule"),
        ("limit=0", "known are: limit"),
        ("limit=" + "9" * 5000, "known are: limit"),
        ("limit=ten", "known are: limit"),
        ("limit=1&limit=2", "given twice"),
    ],
    ids=lambda value: value[:20],
)
def test_queries_that_are_none(running: Running, query: str, says: str) -> None:
    """An unknown parameter, or a value that is none, is never taken for no parameter at all."""
    answer = requests.get(f"{running.api}/retrains?{query}", timeout=30)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_forced_call_trains_again(running: Running) -> None:
    """Another run, another key."""
    path = "income/es/a.csv"
    running.container.upload_blob(path, b"age\n1\n")
    first = running.retrain({"datastore": "training", "path": path}).json()
    second = running.retrain({"datastore": "training", "path": path, "force": True}).json()
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert len({first["key"], second["key"]}) == 2
    assert len(running.runs(path)) == 2


def test_redrive_over_http(running: Running) -> None:
    """A refused request is acted on again; a key that is none is a 404."""
    path = "income/pt/a.csv"
    fault = [{"on": "submit", "kind": "status", "status": 400}]
    requests.post(f"{running.stack.workspace_url}/_control/faults", json=fault, timeout=30)
    running.container.upload_blob(path, b"age\n1\n")
    refused = running.retrain({"datastore": "training", "path": path}).json()
    assert refused["state"] == "refused"
    answer = requests.post(f"{running.api}/retrains/{refused['key']}/redrive", timeout=30)
    assert (answer.status_code, answer.json()["state"]) == (202, "submitted")
    again = requests.post(f"{running.api}/retrains/{refused['key']}/redrive", timeout=30)
    assert (again.status_code, again.json()["status"]) == (409, 409)
    missing = requests.post(f"{running.api}/retrains/nonsense/redrive", timeout=30)
    assert missing.status_code == 404


def test_many_are_redriven_over_http(running: Running) -> None:
    """By rule and state: first what it would be about, then they are queued; a state that is none is a 400."""
    path = "income/pt/b.csv"
    fault = [{"on": "submit", "kind": "status", "status": 400}]
    requests.post(f"{running.stack.workspace_url}/_control/faults", json=fault, timeout=30)
    running.container.upload_blob(path, b"age\n1\n")
    refused = running.retrain({"datastore": "training", "path": path}).json()
    wish = {"rule": "income-files", "state": "refused", "since": "1h"}
    would = requests.post(f"{running.api}/redrive", json={**wish, "dry_run": True}, timeout=30)
    assert would.json() == {"redriven": [], "would": [refused["key"]]}
    answer = requests.post(f"{running.api}/redrive", json=wish, timeout=30)
    [done] = answer.json()["redriven"]
    assert (answer.status_code, done["key"], done["error"]) == (202, refused["key"], "")
    queued = requests.get(f"{running.api}/retrains/{done['attempt']}", timeout=30).json()
    assert (queued["state"], queued["attempt"]) == ("queued", 2)
    closed = requests.post(f"{running.api}/retrains/{done['attempt']}/close", json={"reason": "no"}, timeout=30)
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")
    odd = requests.post(f"{running.api}/redrive", json={**wish, "state": "odd"}, timeout=30)
    assert (odd.status_code, "there are: refused" in odd.json()["detail"]) == (400, True)


def test_poison_message_is_tried_once_more(running: Running) -> None:
    """The platform's message, as the blob trigger leaves it; one that makes no sense is logged and gone."""
    path = "scratch/poisoned.csv"
    running.container.upload_blob(path, b"age\n1\n")
    message = {
        "Type": "BlobTrigger",
        "FunctionId": "Host.Functions.arrive_training",
        "BlobType": "BlockBlob",
        "ContainerName": "training-data",
        "BlobName": path,
        "ETag": '"0x1"',
    }
    with QueueClient.from_connection_string(
        running.stack.storage, "webjobs-blobtrigger-poison", message_encode_policy=TextBase64EncodePolicy()
    ) as queue:
        with contextlib.suppress(ResourceExistsError):  # the host may have made it
            queue.create_queue()
        queue.send_message("nonsense")
        queue.send_message(json.dumps(message))
        log = running.stack.children["app"].log
        until(lambda: "poison_unreadable" in log.read_text() and f"path={path}" in log.read_text(), timeout_s=90)
        until(lambda: queue.get_queue_properties().approximate_message_count == 0)


def test_faulty_configuration_is_reported_and_starts_nothing(running: Running) -> None:
    """The app comes up, answers 503 with every fault, and has no trigger that could start a run."""
    port = Ports.free().app
    child = running.stack.children
    with pytest.raises(AppFaultsError, match="TRAINING_CONTAINER"):
        running.stack.start_app(port, TRAINING_CONTAINER="", INCOME_ENDPOINT_URL="")
    answer = requests.get(f"http://127.0.0.1:{port}/api/status", timeout=30)
    assert answer.status_code == 503
    assert len(answer.json()["faults"]) == 2
    call = requests.post(f"http://127.0.0.1:{port}/api/retrain", data=b"{}", timeout=30)
    assert call.status_code == 503
    child[f"app-{port}"].stop()


@pytest.fixture(scope="module", autouse=True)
def no_app_died(running: Running) -> Iterator[Callable[[], None]]:
    """At the end every part still runs."""
    yield running.stack.check
    running.stack.children = {name: child for name, child in running.stack.children.items() if "app-" not in name}
    running.stack.check()
