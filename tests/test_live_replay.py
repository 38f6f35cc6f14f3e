"""The live check checked: its report, its recording and the replay of that, and that reading starts nothing.

The recording is made here, against the stand-in; those that somebody made at a real workspace and put into
tests/live/recordings are replayed, too. What the live tests ask is in tests/live.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from local.workspace.seed import BATCH_ENDPOINT, ENDPOINT_ID, PIPELINE_IDS
from local.workspace.state import SUBSCRIPTION
from shared.pipelines.address import Address
from tests.fixtures_workspace import ROOT, LocalWorkspace
from tests.live.place import Place, new_keys
from tests.live.recording import NOWHERE, Exchange, Recording, Words
from tests.live.report import QUESTIONS, Report

KEPT = ROOT / "tests" / "live" / "recordings"
DOCS = (ROOT / "docs" / "live-check.md").read_text(encoding="utf-8")


def asked(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the live tests as somebody would, into a folder."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LIVE_AZUREML", "PYTEST"))}
    line = [sys.executable, "-m", "pytest", "tests/live", "-q", "-p", "no:cacheprovider", "--color=no"]
    env = {**plain, "LIVE_AZUREML_FOLDER": str(folder), **environ}
    return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)


def report(folder: Path) -> dict[str, Any]:
    """Return what a run of the live tests has learned."""
    told: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return told


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run against the stand-in has left its report and its recording."""
    folder = tmp_path_factory.mktemp("recorded")
    done = asked(folder)
    assert done.returncode == 0, done.stdout
    return folder


def test_everything_that_can_be_asked_is_told(recorded: Path) -> None:
    """Of the stand-in: what is left open is what nothing here asks."""
    told = report(recorded)
    assert [one["number"] for one in told["questions"]] == list(QUESTIONS)
    left = {needs for one in told["questions"] for needs in one["open"].values()}
    assert all(needs.startswith("nothing here asks that") for needs in left)
    assert told["notes"] == []
    lines = (recorded / "report.md").read_text(encoding="utf-8")
    assert "12. **established**: What does a second PUT of a job's name come to?" in lines


def test_recording_is_replayed_without_a_workspace(recorded: Path, tmp_path: Path) -> None:
    """The same tests pass, and tell the same; each request is the recorded one, body included."""
    done = asked(tmp_path, LIVE_AZUREML_REPLAY=str(recorded / "recording.json"))
    assert done.returncode == 0, done.stdout
    [now, then] = (
        [(one["state"], sorted(one["told"])) for one in report(at)["questions"]] for at in (tmp_path, recorded)
    )
    assert now == then
    again = Recording.load(tmp_path / "recording.json").exchanges
    kept = Recording.load(recorded / "recording.json").exchanges
    assert [(one.method, one.status) for one in again] == [(one.method, one.status) for one in kept]


def test_recordings_of_real_workspaces_are_replayed(tmp_path: Path) -> None:
    """Those that were kept, if any."""
    for file in sorted(KEPT.glob("*.json")):
        done = asked(tmp_path / file.stem, LIVE_AZUREML_REPLAY=str(file))
        assert done.returncode == 0, f"{file.name}\n{done.stdout}"


def test_recording_has_neither_names_nor_tokens(recorded: Path) -> None:
    """No word of the stand-in's workspace is in it, in whatever case."""
    text = (recorded / "recording.json").read_text(encoding="utf-8").lower()
    names = ["retrain-local", SUBSCRIPTION, ENDPOINT_ID, *PIPELINE_IDS, BATCH_ENDPOINT, "income", "training"]
    names += ["adult", "devstoreaccount1", "test_fraction", "input_data"]
    assert [name for name in names if name.lower() in text] == []
    assert re.search(r"bearer|authorization|eyj[\w-]{10}", text) is None


def test_without_submit_nothing_is_started(workspace: LocalWorkspace, tmp_path: Path) -> None:
    """As at a real workspace: settings from the environment, the app's own identity; what was not asked says why."""
    done = asked(
        tmp_path,
        LIVE_AZUREML="1",
        LIVE_AZUREML_ENDPOINT_URL=workspace.endpoint["url"],
        LIVE_AZUREML_VERSION="1",
        LIVE_AZUREML_DATASTORE="training",
        LIVE_AZUREML_PATH="income/us/adult.csv",
        LIVE_AZUREML_COMPONENT="income_train:1",
        IDENTITY_ENDPOINT=workspace.info["identity_endpoint"],
        IDENTITY_HEADER=workspace.info["identity_header"],
    )
    assert done.returncode == 0, done.stdout
    assert workspace.control("GET", "runs") == []
    assert "not asked: LIVE_AZUREML_SUBMIT not set" in done.stdout
    assert "not asked: LIVE_AZUREML_BATCH_URL, LIVE_AZUREML_DEPLOYMENT not set" in done.stdout
    states = {one["number"]: one["state"] for one in report(tmp_path)["questions"]}
    assert states == {1: "established", 3: "partly", 4: "partly", 5: "established", 6: "established"} | {
        2: "open",
        7: "open",
        8: "partly",
        9: "open",
        10: "partly",
        11: "open",
        12: "open",
    }
    assert "the workspace" in report(tmp_path)["of"]


def test_settings_that_are_not_as_expected(tmp_path: Path) -> None:
    """Each is named, all at once, and nothing is asked."""
    done = asked(tmp_path, LIVE_AZUREML="1", LIVE_AZUREML_SUBMIT="yes", LIVE_AZUREML_URL="x")
    assert done.returncode == 1
    for word in ("LIVE_AZUREML_SUBMIT", "LIVE_AZUREML_URL", "LIVE_AZUREML_ENDPOINT_URL", "docs/live-check.md"):
        assert word in done.stdout
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["LIVE_AZUREML_ENDPOINT_URL and LIVE_AZUREML_BATCH_URL"]),
        ({"LIVE_AZUREML_ENDPOINT_URL": "https://example.com"}, ["LIVE_AZUREML_ENDPOINT_URL: expected"]),
        ({"LIVE_AZUREML_BATCH_URL": "https://e.r.inference.ml.azure.com/jobs"}, ["BATCH_URL: expected the workspace"]),
    ],
)
def test_place_that_cannot_be_asked(settings: dict[str, str], names: list[str]) -> None:
    """An address that is none is told as retrain.toml's are."""
    with pytest.raises(ValueError, match="LIVE_AZUREML") as error:
        Place.of(settings)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    ("host", "arm"),
    [
        ("westeurope.api.azureml.ms", "https://management.azure.com"),
        ("chinaeast2.api.ml.azure.cn", "https://management.chinacloudapi.cn"),
        ("usgovvirginia.api.ml.azure.us", "https://management.usgovcloudapi.net"),
    ],
)
def test_cloud_of_a_place(host: str, arm: str) -> None:
    """By the endpoint's host, as for the app."""
    where = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    url = f"https://{host}/pipelines/v1.0{where}/PipelineRuns/PipelineEndpointSubmit/Id/e"
    place = Place(endpoint_url=url)
    assert place.arm == f"{arm}{where}"
    assert place.cloud.audience == arm


# What is replaced


REAL = Exchange(
    method="GET",
    url="https://contosohub.northeurope.inference.ml.azure.com/jobs/a%20b?%24skip=100&api-version=2023-10-01",
    status=200,
    sent={
        "properties": {"inputData": {"census": {"jobInputType": "UriFile", "uri": "azureml://datastores/raw/paths/x"}}}
    },
    answer={
        "id": "/subscriptions/7c0fffa2-1111-4222-8333-944444444444/RESOURCEGROUPS/rg-contoso/providers/x",
        "name": "rg-contoso",
        "properties": {
            "status": "Completed",
            "description": "the secret project of Contoso",
            "tags": {"owner": "jane@contoso.com", "retrain.key": "20261125T120000Z-" + "a" * 32},
            "properties": {"azureml.deploymentName": "blue", "cost centre": "4711000"},
            "accountKey": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0cw==",
            "created": "2026-11-25T12:00:00.1234567Z",
            "count": 3,
        },
        "nextLink": "https://management.azure.com/subscriptions/7c0fffa2-1111-4222-8333-944444444444/jobs?%24skip=abc",
        "error": {
            "code": "AuthorizationFailed",
            "message": "The client 'jane@contoso.com' with object id 8aaaaaaa-0000-4000-8000-000000000000 doesn't have "
            "authorization to read 'hr' over scope /subscriptions/7c0fffa2-1111-4222-8333-944444444444/green (red) "
            "of rg-contoso: Bearer eyJhbGciOiJub25lIn0.e30",
        },
    },
)


def test_words_of_a_real_answer() -> None:
    """Names, ids, mail addresses, keys and prose are gone; statuses, times, numbers and the service's sentence stay."""
    [made] = Recording(Place(), [REAL]).scrubbed().exchanges
    text = f"{made}".lower()
    gone = [
        "contoso",
        "jane",
        "7c0fffa2",
        "8aaaaaaa",
        "blue",
        "census",
        "northeurope",
        "raw",
        "4711000",
        "c2vj",
        "eyj",
        "'hr'",
        "green",
        "red)",
    ]
    assert [word for word in [*gone, "secret", "owner", "a" * 32, "centre"] if word in text] == []
    answer = made.answer
    assert answer["properties"]["status"] == "Completed"
    assert answer["properties"]["created"] == "2026-11-25T12:00:00.1234567Z"
    assert answer["properties"]["count"] == 3
    assert answer["id"].partition("/")[2].startswith("subscriptions/00000000-0000-4000-8000-")
    assert answer["id"].split("/")[4] == answer["name"]
    assert answer["nextLink"].startswith("https://management.azure.com/subscriptions/00000000-0000-4000-8000-")
    assert answer["nextLink"].split("/")[4] == answer["id"].split("/")[2]
    assert answer["error"]["code"] == "AuthorizationFailed"
    assert "with object id" in answer["error"]["message"]
    assert "doesn't have authorization to read" in answer["error"]["message"]
    assert "azureml.deploymentName" in answer["properties"]["properties"]
    key = answer["properties"]["tags"]["retrain.key"]
    assert re.fullmatch(r"20000101T000000Z-[0-9a-f]{32}", key)
    where = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    address = Address.of_batch(made.url.partition("?")[0].rpartition("/")[0], where)
    assert address.service == f"https://{made.url.split('.')[1]}.api.azureml.ms"
    assert made.url.endswith("?%24skip=100&api-version=2023-10-01")


def test_word_is_the_same_everywhere() -> None:
    """In any case; and other words are others."""
    words = Words()
    assert words.text("Contoso/contoso") == "w1/w1"
    assert words.text("fabrikam") == "w2"
    assert words.text(NOWHERE) == NOWHERE
    assert len({words.word(key) for key in new_keys()}) == len(new_keys())


def test_other_request_than_the_recorded_one() -> None:
    """Is not answered: another address, another body, or one more."""
    sent = Exchange(method="POST", url="https://h.api.azureml.ms/a?v=1", status=200, sent={"a": 1}, answer={"Id": "x"})
    recording = Recording(Place(), [sent, sent])
    with recording.replayed():
        assert requests.post(sent.url, json={"a": 1}, timeout=5).json() == {"Id": "x"}
        for url, body in ((sent.url, {"a": 2}), ("https://h.api.azureml.ms/b", {"a": 1})):
            with pytest.raises(requests.ConnectionError):
                requests.post(url, json=body, timeout=5)
        assert requests.post(sent.url, json={"a": 1}, timeout=5).ok
        with pytest.raises(requests.ConnectionError):
            requests.post(sent.url, json={"a": 1}, timeout=5)


def test_recording_of_another_format(tmp_path: Path) -> None:
    """Says so."""
    file = tmp_path / "recording.json"
    file.write_text('{"format": 0}')
    with pytest.raises(ValueError, match="expected format 1, got 0"):
        Recording.load(file)


# The questions


def test_docs_have_the_questions() -> None:
    """With the same numbers and words; and every setting."""
    assert re.findall(r"^## (\d+)\. (.*)$", DOCS, re.MULTILINE) == [
        (str(number), question.text) for number, question in QUESTIONS.items()
    ]
    settings = {f"LIVE_AZUREML_{name.upper()}" for name in Place.__struct_fields__ if name != "keys"}
    assert {
        name for name in settings | {"LIVE_AZUREML_REPLAY", "LIVE_AZUREML_FOLDER"} if f"`{name}" not in DOCS
    } == set()


def test_state_of_a_question() -> None:
    """Established when all of its parts are, partly when some are."""
    made = Report("nothing")
    assert made.state(2) == "open"
    made.tell(2, "on the run", "after 1 s")
    assert made.state(2) == "partly"
    made.tell(2, "in run history", "never")
    assert made.state(2) == "established"
    made.notes.append("A run was started.")
    assert "- A run was started." in made.as_markdown()
    with pytest.raises(AssertionError):
        made.tell(2, "elsewhere", "")
