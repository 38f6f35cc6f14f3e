"""The studio's pages of the stand-in: forms that submit and publish, and those that are wrong."""

from typing import Any

import pytest
import requests

from local.workspace.sample_data import generate
from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from local.workspace.training import POINTS
from tests.fixtures_workspace import LocalWorkspace
from tests.waiting import until

VERSION = f"endpoints/{ENDPOINT_ID}/versions/1"
VALUES = {
    "experiment": "studio",
    "path.input_data": "income/non-us/adult.csv",
    "datastore.input_data": "training",
    "parameter.test_fraction": "0.4",
    "parameter.seed": "7",
    "parameter.country": "",
}
pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def fresh(workspace: LocalWorkspace) -> None:
    """Runs are held."""
    workspace.control("POST", "settings", {"engine": "hold"})


def post(workspace: LocalWorkspace, path: str, form: dict[str, str], **headers: str) -> requests.Response:
    """Send a form, as a browser does, and do not go where it leads."""
    url = f"{workspace.base_url}/{path}"
    return requests.post(url, data=form, headers=headers, allow_redirects=False, timeout=30)


def get(workspace: LocalWorkspace, path: str) -> requests.Response:
    """Open a page."""
    return requests.get(f"{workspace.base_url}{path}", timeout=30)


def test_form_submits_at_the_version_of_its_page(workspace: LocalWorkspace) -> None:
    """As a submission of the REST API would, by the portal; what was left empty is left to the default."""
    answer = post(workspace, f"{VERSION}/submit", VALUES)
    [run] = workspace.control("GET", "runs")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run['run_id']}")
    assert (run["version"], run["endpoint_id"]) == ("1", ENDPOINT_ID)
    assert run["url"].endswith(f"/PipelineRuns/PipelineEndpointSubmit/Id/{ENDPOINT_ID}/1")
    assert run["body"]["DataPathAssignments"] == {
        "input_data": {"DataStoreName": "training", "RelativePath": "income/non-us/adult.csv"}
    }
    assert run["body"]["ParameterAssignments"] == {"test_fraction": "0.4", "seed": "7"}
    page = get(workspace, answer.headers["location"]).text
    assert "income/non-us/adult.csv" in page


@pytest.mark.parametrize(
    ("form", "changes", "says"),
    [
        ("submit", {"experiment": ""}, "Experiment name must be"),
        ("submit", {"experiment": "a b"}, "Experiment name must be"),
        ("publish", {"path.input_data": ""}, "expected a path on one of training"),
        ("publish", {"datastore.input_data": "nowhere"}, "expected a path on one of training"),
        ("publish", {"parameter.seed": "many"}, "expected a number (Int), got &#39;many&#39;"),
        ("publish", {"parameter.test_fraction": "<b>"}, "got &#39;&lt;b&gt;&#39;"),
    ],
)
def test_form_that_is_wrong_is_shown_again(
    workspace: LocalWorkspace, form: str, changes: dict[str, str], says: str
) -> None:
    """With what is wrong beside what was typed; nothing is done."""
    before = workspace.control("GET", "info")["endpoints"]
    answer = post(workspace, f"{VERSION}/{form}", {**VALUES, **changes})
    assert answer.status_code == 400
    assert says in answer.text
    assert 'value="7"' in answer.text or "parameter.seed" in changes
    assert workspace.control("GET", "runs") == []
    assert workspace.control("GET", "info")["endpoints"] == before


def test_new_version_has_the_changed_defaults(workspace: LocalWorkspace) -> None:
    """It is the next one, and the default one only where that is asked for; what was published before stays."""
    answer = post(workspace, f"{VERSION}/publish", VALUES)
    assert answer.headers["location"] == f"/endpoints/{ENDPOINT_ID}/versions/2"
    page = get(workspace, answer.headers["location"]).text
    assert 'value="income/non-us/adult.csv"' in page
    assert 'value="0.4"' in page
    [endpoint] = workspace.control("GET", "info")["endpoints"]
    assert (endpoint["versions"], endpoint["default_version"]) == (["0", "1", "2"], "0")
    assert 'value="income/us/adult.csv"' in get(workspace, f"/{VERSION}").text
    post(workspace, f"{VERSION}/publish", {**VALUES, "default": "yes"})
    [endpoint] = workspace.control("GET", "info")["endpoints"]
    assert (endpoint["versions"], endpoint["default_version"]) == (["0", "1", "2", "3"], "3")
    assert post(workspace, f"endpoints/{ENDPOINT_ID}/versions/3/submit", VALUES).status_code == 303


@pytest.mark.parametrize(
    "path", ["/endpoints/none", f"/endpoints/{ENDPOINT_ID}/versions/9", "/endpoints/none/versions/1", "/runs/none"]
)
def test_page_that_is_not_there(workspace: LocalWorkspace, path: str) -> None:
    """404, in words, on a page."""
    answer = get(workspace, path)
    assert (answer.status_code, "There is no" in answer.text) == (404, True)


@pytest.mark.parametrize("form", ["submit", "publish"])
def test_form_of_a_version_that_is_not_there(workspace: LocalWorkspace, form: str) -> None:
    """The same."""
    assert post(workspace, f"endpoints/{ENDPOINT_ID}/versions/9/{form}", VALUES).status_code == 404


@pytest.mark.parametrize("form", ["submit", "publish"])
@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_page_of_another_site_submits_nothing(workspace: LocalWorkspace, form: str, headers: dict[str, str]) -> None:
    """The forms ask for no token: only this machine's own pages may send them."""
    assert post(workspace, f"{VERSION}/{form}", VALUES, **headers).status_code == 403
    assert workspace.control("GET", "runs") == []


def test_hostile_names_are_text(workspace: LocalWorkspace) -> None:
    """On every page that has them."""
    name = "income/us/<script>alert(1)</script>.csv"
    answer = post(workspace, f"{VERSION}/submit", {**VALUES, "path.input_data": name})
    [run] = workspace.control("GET", "runs")
    body: Any = {"status": "Finished", "metrics": {"accuracy": 0.5}}
    workspace.control("POST", f"runs/{run['run_id']}/status", body)
    for path in ("/", answer.headers["location"], f"/endpoints/{ENDPOINT_ID}"):
        page = get(workspace, path)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;.csv" in page.text
        assert "<script" not in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_version_that_is_disabled_is_not_submitted(workspace: LocalWorkspace) -> None:
    """The page says so; its neighbour is not concerned."""
    workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[1]}/status", "Disabled").raise_for_status()
    answer = post(workspace, f"{VERSION}/submit", VALUES)
    assert (answer.status_code, "is Disabled" in answer.text) == (400, True)
    assert post(workspace, f"endpoints/{ENDPOINT_ID}/versions/0/submit", VALUES).status_code == 303


def test_trained_run_has_its_curve(workspace: LocalWorkspace) -> None:
    """From corner to corner, in few points."""
    workspace.control("POST", "settings", {"engine": "train"})
    workspace.upload("income/non-us/adult.csv", generate("non-us", 400, 1))
    location = post(workspace, f"{VERSION}/submit", VALUES).headers["location"]
    page = until(lambda: text if "<polyline" in (text := get(workspace, location).text) else "", timeout_s=120)
    points = page.partition('class="curve" points="')[2].partition('"')[0].split()
    assert (points[0], points[-1]) == ("36.0,284.0", "284.0,36.0")
    assert 2 < len(points) <= POINTS
