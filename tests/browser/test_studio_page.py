"""The studio's pages, as the retraining article walks through them: endpoint, version, other data, Submit, result."""

from typing import Any

import pytest

from local.workspace.sample_data import generate
from local.workspace.seed import ENDPOINT_ID
from tests.browser.conftest import Open, look_for_faults
from tests.fixtures_workspace import LocalWorkspace

NON_US = "income/non-us/adult.csv"


@pytest.fixture
def studio(workspace: LocalWorkspace) -> str:
    """Address of the studio, with data of two countries in storage."""
    for country in ("us", "non-us"):
        workspace.upload(f"income/{country}/adult.csv", generate(country, 400, 1))
    return workspace.base_url


def submit(page: Any, path: str) -> None:
    """Fill in another path and submit; wait until the run has ended."""
    form = page.locator("form").first
    form.get_by_label("input_data: path").fill(path)
    form.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")
    page.get_by_text("Finished").or_(page.get_by_text("Failed")).first.wait_for(timeout=120_000)


def test_older_version_is_submitted_with_other_data(open_page: Open, studio: str, workspace: LocalWorkspace) -> None:
    """From the list of endpoints to a finished run with its metrics and its curve, at the version that was chosen."""
    page = open_page(studio)
    page.get_by_role("link", name="income", exact=True).click()
    page.get_by_role("link", name="Version 0").click()
    assert page.locator("form").first.get_by_label("input_data: path").input_value() == "income/us/adult.csv"
    submit(page, NON_US)
    assert page.get_by_role("img", name="ROC curve").is_visible()
    assert page.get_by_text("accuracy", exact=True).is_visible()
    [run] = workspace.control("GET", "runs")
    assert (run["version"], run["status"]) == ("0", "Finished")
    assert run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == NON_US
    page.get_by_role("link", name="income", exact=True).click()
    assert page.get_by_role("link", name=f"{NON_US}, version 0").is_visible()


def test_run_that_fails_says_why(open_page: Open, studio: str) -> None:
    """On its page."""
    page = open_page(f"{studio}/endpoints/{ENDPOINT_ID}/versions/1")
    submit(page, "income/nowhere.csv")
    assert "There is no blob and no folder 'income/nowhere.csv'" in page.inner_text("main")


def test_new_version_is_published_with_other_defaults(open_page: Open, studio: str) -> None:
    """It is the next one, with these defaults, and the endpoint's page lists it."""
    page = open_page(f"{studio}/endpoints/{ENDPOINT_ID}/versions/1")
    form = page.locator("form").nth(1)
    form.get_by_label("input_data: path").fill(NON_US)
    form.get_by_label("Make it the default version").check()
    form.get_by_role("button", name="Publish").click()
    page.get_by_role("heading", name="income, version 2").wait_for()
    assert page.locator("form").first.get_by_label("input_data: path").input_value() == NON_US
    page.get_by_role("link", name="income", exact=True).click()
    assert "default" in page.get_by_role("row", name="Version 2").inner_text()


def test_form_that_is_wrong_says_so_beside_what_was_typed(open_page: Open, studio: str) -> None:
    """A screen reader is told, too. The browser's own word about the 400 is no fault of the page."""
    page = open_page(f"{studio}/endpoints/{ENDPOINT_ID}/versions/1", expected="400 (Bad Request)")
    form = page.locator("form").nth(1)
    form.get_by_label("seed").fill("many")
    with page.expect_response(lambda answer: answer.url.endswith("/publish")) as answered:
        form.get_by_role("button", name="Publish").click()
    assert answered.value.status == 400
    assert "expected a number (Int), got 'many'" in page.get_by_role("alert").inner_text()
    assert page.locator("form").nth(1).get_by_label("seed").input_value() == "many"


def test_submitted_by_keyboard_alone(open_page: Open, studio: str, workspace: LocalWorkspace) -> None:
    """Enter in the last field; each step has a visible focus."""
    workspace.control("POST", "settings", {"engine": "instant"})
    page = open_page(f"{studio}/endpoints/{ENDPOINT_ID}/versions/1")
    for _ in range(50):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if page.evaluate("document.activeElement.name") == "parameter.country":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    assert len(workspace.control("GET", "runs")) == 1


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1000, "light")])
def test_everybody_can_read_the_pages(
    open_page: Open, studio: str, workspace: LocalWorkspace, width: int, scheme: str
) -> None:
    """On a phone and on a screen, light and dark: axe finds no serious fault, and nothing scrolls sideways."""
    page = open_page(f"{studio}/endpoints/{ENDPOINT_ID}/versions/0", width=width, scheme=scheme)
    look_for_faults(page)
    submit(page, "income/us/adult.csv")
    look_for_faults(page)
    for path in (f"/endpoints/{ENDPOINT_ID}", "/"):
        page.goto(studio + path)
        look_for_faults(page)
