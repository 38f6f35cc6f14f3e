"""Misbehaviour on order, and the other controls of the local workspace."""

import time
from typing import Any

import pytest
import requests

from tests.fixtures_workspace import TIMEOUT_S, LocalWorkspace
from tests.test_workspace_submit import BODY, BY_ID


@pytest.fixture(autouse=True)
def _no_training(workspace: LocalWorkspace) -> None:
    workspace.control("POST", "settings", {"engine": "instant"})


def accepted(workspace: LocalWorkspace) -> int:
    """Return how many submissions were accepted."""
    return len(workspace.control("GET", "runs"))


def test_throttled_submission(workspace: LocalWorkspace) -> None:
    """It is refused with 429 and Retry-After as often as ordered, then all is well."""
    workspace.control(
        "POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "retry_after": 2, "times": 2}]
    )
    for _ in range(2):
        answer = workspace.call("POST", BY_ID, BODY)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
        assert answer.json()["Error"]["Code"] == "TooManyRequests"
    assert accepted(workspace) == 0
    assert workspace.call("POST", BY_ID, BODY).status_code == 200
    assert accepted(workspace) == 1


def test_retry_after_as_a_date(workspace: LocalWorkspace) -> None:
    """The date is sent as it was ordered."""
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "retry_after": date}])
    answer = workspace.call("POST", BY_ID, BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, date)


@pytest.mark.parametrize(("kind", "runs"), [("drop", 0), ("accept_then_drop", 1)])
def test_connection_closed_without_an_answer(workspace: LocalWorkspace, kind: str, runs: int) -> None:
    """The client sees a broken connection and no status; only `accept_then_drop` has accepted the run."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": kind}])
    with pytest.raises(requests.ConnectionError):
        workspace.call("POST", BY_ID, BODY)
    assert accepted(workspace) == runs
    assert workspace.call("POST", BY_ID, BODY).status_code == 200


def test_refusal_that_accepted_after_all(workspace: LocalWorkspace) -> None:
    """`accept` answers 502 although the run is accepted."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 502, "accept": True}])
    assert workspace.call("POST", BY_ID, BODY).status_code == 502
    assert accepted(workspace) == 1


@pytest.mark.parametrize(
    ("order", "text"), [({}, "{}"), ({"body": {"Status": None}}, '{"Status": null}'), ({"body": "<html>"}, "<html>")]
)
def test_broken_answer(workspace: LocalWorkspace, order: dict[str, Any], text: str) -> None:
    """A 200 comes with the body that was ordered, or with one that lacks the run's id."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 200, **order}])
    answer = workspace.call("POST", BY_ID, BODY)
    assert (answer.status_code, answer.text) == (200, text)


def test_slow_answer_that_the_client_does_not_wait_for(workspace: LocalWorkspace) -> None:
    """The client's time-out does not stop the run from being accepted."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "delay", "delay_s": 0.3}])
    headers = {"Authorization": f"Bearer {workspace.token()}"}
    with pytest.raises(requests.ReadTimeout):
        requests.post(workspace.pipelines + BY_ID, json=BODY, headers=headers, timeout=0.1)
    deadline = time.monotonic() + TIMEOUT_S
    while accepted(workspace) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert accepted(workspace) == 1


def test_faults_on_different_calls(workspace: LocalWorkspace) -> None:
    """Each kind of call has faults of its own; in run history they have run history's form."""
    run = workspace.call("POST", BY_ID, BODY).json()
    order = [{"on": on, "kind": "status", "status": 500} for on in ("status", "list", "token", "status", "list")]
    assert len(workspace.control("POST", "faults", order)) == 5
    assert workspace.call("POST", BY_ID, BODY).status_code == 200
    assert workspace.call("GET", f"/PipelineRuns/{run['Id']}").status_code == 500
    assert workspace.call("GET", f"/PipelineRuns/Pipeline/{run['PipelineId']}").status_code == 500
    assert (
        workspace.call("GET", f"{workspace.history}/runs/{run['Id']}").json()["error"]["code"] == "InternalServerError"
    )
    query = f"{workspace.history}/experiments/income-retrain/runs:query"
    assert workspace.call("POST", query, {}).status_code == 500
    assert workspace.session.get(workspace.info["identity_endpoint"], timeout=9).json()["statusCode"] == 500
    assert workspace.control("GET", "faults") == []


def test_request_without_a_token_while_a_fault_waits(workspace: LocalWorkspace) -> None:
    """It is refused, and the fault waits for the next one."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status"}])
    assert requests.post(workspace.pipelines + BY_ID, json=BODY, timeout=9).status_code == 401
    assert len(workspace.control("GET", "faults")) == 1


def test_faults_by_chance(workspace: LocalWorkspace) -> None:
    """As many as the rate says, the same ones for the same seed, and none any more when it is set to 0."""

    def statuses() -> list[int]:
        faults = [
            {"on": "submit", "kind": "status", "status": 500, "times": 3},
            {"on": "submit", "kind": "status", "status": 429, "accept": True},
        ]
        workspace.control("POST", "odds", {"rate": 0.5, "faults": faults, "seed": 7})
        return [workspace.call("POST", BY_ID, BODY).status_code for _ in range(40)]

    first = statuses()
    assert statuses() == first
    assert {*first} == {200, 429, 500}
    assert first.count(500) > first.count(429)
    assert accepted(workspace) == 2 * (40 - first.count(500))
    counted = workspace.control("POST", "odds", {"rate": 0})
    assert (counted["calls"], counted["hits"]) == (80, 2 * (40 - first.count(200)))
    assert workspace.call("POST", BY_ID, BODY).status_code == 200
    assert workspace.control("GET", "odds")["calls"] == 80


def test_faults_by_chance_are_outdone_by_those_on_order(workspace: LocalWorkspace) -> None:
    """A fault on order comes first, and other kinds of calls meet none."""
    workspace.control("POST", "odds", {"rate": 1, "faults": [{"on": "submit", "kind": "status", "status": 500}]})
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429}])
    assert [workspace.call("POST", BY_ID, BODY).status_code for _ in range(3)] == [429, 500, 500]
    assert workspace.call("GET", "/PipelineRuns/nobody").status_code == 404


@pytest.mark.parametrize(
    ("order", "field"),
    [({"rate": 1.5}, "rate"), ({"rate": 1, "faults": [{"on": "x", "kind": "drop"}]}, "on"), ({}, "rate")],
)
def test_malformed_odds(workspace: LocalWorkspace, order: dict[str, Any], field: str) -> None:
    """They are refused with 400 and the name of the field."""
    answer = workspace.session.post(f"{workspace.base_url}/_control/odds", json=order, timeout=9)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"on": "nothing"}, "on"),
        ({"kind": "explode"}, "kind"),
        ({"status": 99}, "status"),
        ({"retry_after": "soon"}, "retry_after"),
        ({"retry_after": -1}, "retry_after"),
        ({"delay_s": "1"}, "delay_s"),
        ({"times": 0}, "times"),
        ({"colour": "red"}, "colour"),
        ({"kind": "drop", "accept": True}, "accept"),
        ({"kind": "drop", "body": {}}, "body"),
        ({"on": "list", "kind": "accept_then_drop"}, "kind"),
    ],
)
def test_malformed_fault(workspace: LocalWorkspace, order: dict[str, Any], field: str) -> None:
    """It is refused with 400 and the name of the field, and no fault of the list is ordered."""
    orders = [{"on": "submit", "kind": "status"}, {"on": "submit", "kind": "status", **order}]
    answer = workspace.session.post(f"{workspace.base_url}/_control/faults", json=orders, timeout=9)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert workspace.control("GET", "faults") == []


@pytest.mark.parametrize("change", [{"engine": "magic"}, {"list_lag_s": -1}, {"colour": 1}, {"token_lifetime_s": 0}])
def test_malformed_setting(workspace: LocalWorkspace, change: dict[str, Any]) -> None:
    """It is refused with 400 and the name of the setting, and nothing is changed."""
    before = workspace.control("GET", "settings")
    answer = workspace.session.post(f"{workspace.base_url}/_control/settings", json=change, timeout=9)
    assert answer.status_code == 400
    assert next(iter(change)) in answer.json()["error"]["message"]
    assert workspace.control("GET", "settings") == before


def test_reset(workspace: LocalWorkspace) -> None:
    """Runs, faults, settings and datastores are as at the start; tokens stay valid."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "drop"}])
    workspace.control("POST", "datastores", {"name": "more", "container": "more"})
    workspace.control("POST", "reset")
    assert workspace.control("GET", "faults") == []
    assert workspace.control("GET", "settings")["engine"] == "train"
    assert workspace.control("GET", "info")["datastores"] == {"training": "training-data"}
    assert workspace.call("GET", "/PipelineEndpoints").status_code == 200


def test_page_of_another_site(workspace: LocalWorkspace) -> None:
    """A foreign host name, as a rebound one would be, reaches nothing."""
    headers = {"Host": "evil.example"}
    assert requests.post(f"{workspace.base_url}/_control/reset", headers=headers, timeout=9).status_code == 403
