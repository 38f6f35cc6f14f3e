"""Run history of the local workspace: reading runs, filters, pages, and keys that are late or missing."""

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.workspace.errors import WireError
from local.workspace.run_filter import compile_filter
from local.workspace.seed import PIPELINE_IDS
from tests.fixtures_workspace import LocalWorkspace
from tests.test_workspace_submit import BODY, BY_ID

RUN: dict[str, Any] = {
    "runId": "r1",
    "runNumber": 12,
    "rootRunId": "r1",
    "parentRunId": None,
    "status": "Completed",
    "runType": "azureml.PipelineRun",
    "target": None,
    "createdUtc": "2026-11-23T12:00:00.0000000Z",
    "startTimeUtc": "2026-11-23T12:00:01.0000000Z",
    "endTimeUtc": None,
    "tags": {"key": "a b", "empty": ""},
    "properties": {"p.q": "z", "azureml.runsource": "azureml.PipelineRun"},
}


@pytest.mark.parametrize(
    "text",
    [
        'Tags/key eq "a b"',
        'Tags/empty eq ""',
        'Properties/p.q eq "z"',
        "Properties/p.q eq z",
        '((Tags/key eq "a b") and (Properties/p.q eq "z") and (ParentRunId eq null))',
        "(Tags/key ne null or Tags/key eq null)",
        "(RunType eq azureml.PipelineRun or Properties/azureml.runsource eq azureml.PipelineRun)",
        "(Status eq Completed)",
        "RunId eq r0 or RunId eq r1",
        "RunId eq r1 or RunId eq r2 and RunId eq r3",
        "Target eq null",
        "Status ne Failed and RunNumber ge 12 and RunNumber lt 100",
        "(CreatedUtc ge 2026-11-23 11:59:59.999999)",
        "CreatedUtc ge 2026-11-23T12:00:00Z and CreatedUtc le 2026-11-23T13:00:00+01:00",
        "EndTimeUtc eq null",
    ],
)
def test_filter_that_matches(text: str) -> None:
    """The run is found."""
    assert compile_filter(text)(RUN)


@pytest.mark.parametrize(
    "text",
    [
        'Tags/key eq "a"',
        'Tags/other eq "a b"',
        "Tags/other eq null",
        "Tags/other ne null",
        "(Tags/other ne null or Tags/other eq null)",
        "(RunId eq r1 or RunId eq r2) and RunId eq r3",
        "RunNumber gt 12",
        "CreatedUtc gt 2026-11-23T12:00:00Z",
        "EndTimeUtc ge 2026-11-23T12:00:00Z",
        "ParentRunId ne null",
    ],
)
def test_filter_that_does_not_match(text: str) -> None:
    """The run is not found; a key that is not there compares with nothing."""
    assert not compile_filter(text)(RUN)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Status", 400),
        ("Status eq", 400),
        ("Status like Completed", 400),
        ("(Status eq Completed", 400),
        ("Status eq Completed Failed", 400),
        ("Status eq 'Completed'", 400),
        ('Tags/key eq "a"b"', 400),
        ("", 400),
        ("RunNumber eq many", 400),
        ("CreatedUtc ge yesterday", 400),
        ("(" * 1000 + "Status eq x" + ")" * 1000, 400),
        ("RunTypeV2/Orchestrator eq x", 501),
        ("tags/key eq x", 501),
        ("name eq x", 501),
    ],
)
def test_filter_that_is_refused(text: str, status: int) -> None:
    """Bad grammar is a 400, a field that is not there a 501, and nothing is guessed."""
    with pytest.raises(WireError) as refused:
        compile_filter(text)
    assert refused.value.status == status


@given(st.text(st.characters(codec="utf-8", exclude_characters='"'), max_size=40))
def test_any_quoted_value(value: str) -> None:
    """A value in quotes is taken as it is."""
    assert compile_filter(f'Tags/key eq "{value}"')({**RUN, "tags": {"key": value}})


@given(st.text(max_size=30))
def test_any_text_as_a_filter(text: str) -> None:
    """It compiles, or is refused; it never breaks the service."""
    with contextlib.suppress(WireError):
        compile_filter(text)


def submit(workspace: LocalWorkspace, key: str, experiment: str = "income-retrain") -> dict[str, Any]:
    """Submit a run that carries a key."""
    body = {**BODY, "ExperimentName": experiment, "tags": {"key": key}, "Properties": {"retrain.key": key}}
    entity: dict[str, Any] = workspace.call("POST", f"{BY_ID}/1", body).json()
    return entity


def find(workspace: LocalWorkspace, experiment: str = "experiments/income-retrain", **query: Any) -> list[str]:
    """Return the keys of the runs that a query finds."""
    answer = workspace.call("POST", f"{workspace.history}/{experiment}/runs:query", query)
    assert answer.status_code == 200, answer.text
    return [run["tags"]["key"] for run in answer.json()["value"]]


@pytest.fixture(autouse=True)
def _no_training(workspace_process: LocalWorkspace, request: pytest.FixtureRequest) -> None:
    if "workspace" in request.fixturenames:
        request.getfixturevalue("workspace").control("POST", "settings", {"engine": "instant"})


def test_run_in_history(workspace: LocalWorkspace) -> None:
    """All addresses give the same camelCase run, with the pipeline's id in its properties and in its tags."""
    entity = submit(workspace, "k1")
    experiment = workspace.call("GET", f"{workspace.history}/experiments/income-retrain").json()
    addresses = ("", "/experiments/income-retrain", f"/experimentids/{experiment['experimentId']}")
    runs = [workspace.call("GET", f"{workspace.history}{a}/runs/{entity['Id']}").json() for a in addresses]
    assert runs[0] == runs[1] == runs[2]
    run = runs[0]
    assert (run["runId"], run["rootRunId"], run["runNumber"]) == (entity["Id"], entity["Id"], 1)
    assert (run["status"], run["runType"]) == ("Completed", "azureml.PipelineRun")
    assert run["properties"]["azureml.pipelineid"] == run["tags"]["azureml.pipelineid"] == PIPELINE_IDS[1]
    assert (run["tags"]["key"], run["properties"]["retrain.key"]) == ("k1", "k1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", run["createdUtc"])


def test_search_by_key(workspace: LocalWorkspace) -> None:
    """The key is found in tags or properties, by experiment name or id, and only in its experiment."""
    for key, experiment in (("a", "income-retrain"), ("b", "income-retrain"), ("b", "other")):
        submit(workspace, key, experiment)
    text = '(Tags/key eq "b" or Properties/retrain.key eq "b")'
    assert find(workspace, filter=text) == ["b"]
    experiment = workspace.call("GET", f"{workspace.history}/experiments/other").json()["experimentId"]
    assert find(workspace, f"experimentids/{experiment}", filter=text) == ["b"]
    assert find(workspace, filter=f"Properties/azureml.pipelineid eq {PIPELINE_IDS[1]}") == ["b", "a"]


def test_pages_and_order(workspace: LocalWorkspace) -> None:
    """Pages follow each other without gap or overlap, though runs are added in between."""
    for key in "abcde":
        submit(workspace, key)
    url = f"{workspace.history}/experiments/income-retrain/runs:query"
    query: dict[str, Any] = {"orderby": "CreatedUtc desc", "top": 2}
    seen, token = [], None
    while True:
        page = workspace.call("POST", url, {**query, "continuationToken": token}).json()
        seen += [run["tags"]["key"] for run in page["value"]]
        submit(workspace, "new")
        if not (token := page["continuationToken"]):
            break
    assert seen == list("edcba")
    assert find(workspace, orderby="RunNumber asc", top=1) == ["a"]


@pytest.mark.parametrize(
    "query",
    [{"top": 0}, {"orderby": "Colour desc"}, {"orderby": "RunId up"}, {"continuationToken": "%%%"}, {"filter": 1}],
)
def test_malformed_query(workspace: LocalWorkspace, query: dict[str, Any]) -> None:
    """It is refused with 400 and the name of the member, in run history's form."""
    submit(workspace, "a")
    answer = workspace.call("POST", f"{workspace.history}/experiments/income-retrain/runs:query", query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["error"]["message"]
    assert answer.json()["componentName"] == "run-history"


def test_unknown_run_or_experiment(workspace: LocalWorkspace) -> None:
    """Each is not found; so is a run looked for in another experiment."""
    entity = submit(workspace, "a")
    submit(workspace, "a", "other")
    for address in ("runs/x", "experiments/x/runs/x", "experimentids/x", f"experiments/other/runs/{entity['Id']}"):
        answer = workspace.call("GET", f"{workspace.history}/{address}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NotFound")


def test_list_of_a_pipelines_runs(workspace: LocalWorkspace) -> None:
    """It is a plain array of that pipeline's runs, under both names."""
    entity = submit(workspace, "a")
    workspace.call("POST", f"{BY_ID}/0", BODY)
    for alias in ("PipelineRuns", "Experiments"):
        listed = workspace.call("GET", f"/{alias}/Pipeline/{PIPELINE_IDS[1]}").json()
        assert [run["Id"] for run in listed] == [entity["Id"]]


def test_lists_that_lag_behind(workspace: LocalWorkspace) -> None:
    """List, query and history do not know the run yet; reading it by its id does."""
    workspace.control("POST", "settings", {"list_lag_s": 3600})
    entity = submit(workspace, "a")
    assert find(workspace) == []
    assert workspace.call("GET", f"/PipelineRuns/Pipeline/{PIPELINE_IDS[1]}").json() == []
    assert workspace.call("GET", f"{workspace.history}/runs/{entity['Id']}").status_code == 404
    assert workspace.call("GET", f"/PipelineRuns/{entity['Id']}").status_code == 200
    workspace.control("POST", "settings", {"list_lag_s": 0})
    assert find(workspace) == ["a"]


def test_service_that_does_not_give_keys_back(workspace: LocalWorkspace) -> None:
    """Tags and properties of the submission are nowhere to be seen; the service's own are."""
    workspace.control("POST", "settings", {"give_back_keys": False})
    entity = submit(workspace, "a")
    assert (entity["tags"], entity["Properties"]) == ({}, {})
    run = workspace.call("GET", f"{workspace.history}/runs/{entity['Id']}").json()
    assert "key" not in run["tags"]
    assert "retrain.key" not in run["properties"]
    assert run["properties"]["azureml.pipelineid"] == PIPELINE_IDS[1]


def test_tag_added_later(workspace: LocalWorkspace) -> None:
    """It is found by a query, and shown by the pipelines service."""
    entity = submit(workspace, "a")
    url = f"{workspace.history}/experiments/income-retrain/runs/{entity['Id']}"
    assert workspace.call("PATCH", url, {"tags": {"late": "yes"}}).json()["tags"]["late"] == "yes"
    assert find(workspace, filter='Tags/late eq "yes"') == ["a"]
    assert workspace.call("GET", f"/PipelineRuns/{entity['Id']}").json()["tags"] == {"key": "a", "late": "yes"}
    assert workspace.call("PATCH", url, {"status": "Failed"}).status_code == 501


def test_child_run(workspace: LocalWorkspace) -> None:
    """parentRunId of the same experiment is kept, and its root is the parent's."""
    parent = submit(workspace, "parent")
    workspace.call("POST", f"{BY_ID}?parentRunId={parent['Id']}", {**BODY, "tags": {"key": "child"}})
    assert find(workspace, filter=f"(ParentRunId eq {parent['Id']})") == ["child"]
    assert find(workspace, filter="(ParentRunId eq null)") == ["parent"]
