"""The status page, as somebody uses it: see a run finish, redrive a failed one, pause; by keyboard, on a phone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.stack import Ports
from tests.browser.conftest import Open, look_for_faults
from tests.stacks import INCOME, Started, start
from tests.waiting import until

HOSTILE = "income/us/<script>alert(1)</script>.csv"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The whole stack, with a run that finished, one that failed, and what no rule takes."""
    with start(Ports.free(), tmp_path_factory.mktemp("stack") / "log") as made:
        retrain(made, "income/us/good.csv")
        retrain(made, HOSTILE, b"no census\n1\n")
        retrain(made, "scratch/readme.txt")
        until(lambda: ticked_to(made, "income/us/good.csv") == "finished", timeout_s=120)
        until(lambda: ticked_to(made, HOSTILE) == "failed", timeout_s=120)
        yield made


def retrain(stack: Started, path: str, content: bytes = INCOME) -> None:
    """Upload a file and tell the app."""
    stack.container.upload_blob(path, content, overwrite=True)
    requests.post(f"{stack.url}/api/retrain", json={"datastore": "training", "path": path}, timeout=60)


def state_of(stack: Started, path: str) -> str:
    """Return how the newest request for a file stands."""
    entries = requests.get(f"{stack.url}/api/retrains", params={"prefix": path}, timeout=30).json()["retrains"]
    newest = max(entries, key=lambda entry: int(entry["attempt"]))
    return str(newest["state"])


def ticked_to(stack: Started, path: str) -> str:
    """Let the timer tick; return how the newest request for a file stands then."""
    stack.tick()
    return state_of(stack, path)


@pytest.fixture
def status(stack: Started) -> str:
    """Address of the page."""
    return f"{stack.url}/api/status"


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1000, "light")])
def test_everybody_can_read_the_pages(open_page: Open, status: str, width: int, scheme: str) -> None:
    """On a phone and on a screen, light and dark: axe finds no serious fault, and nothing scrolls sideways."""
    page = open_page(status, width=width, scheme=scheme)
    look_for_faults(page)
    page.get_by_role("link", name="good.csv").first.click()
    page.get_by_role("heading", name="The submission").wait_for()
    look_for_faults(page)


def test_finished_run_is_on_the_page(open_page: Open, status: str) -> None:
    """With rule, version, data path, how long it took, and a link to its run."""
    card = open_page(status).locator("li.card", has_text="income/us/good.csv").first
    text = card.inner_text()
    for told in ("finished", "income-files", "version 1", "training: income/us/good.csv", "took "):
        assert told in text
    assert card.get_by_role("link").nth(1).get_attribute("href").startswith("http")


def test_hostile_name_is_text(open_page: Open, status: str) -> None:
    """A dialog would fail the test."""
    page = open_page(status)
    assert page.get_by_role("link", name=HOSTILE).first.inner_text() == HOSTILE
    page.get_by_role("link", name=HOSTILE).first.click()
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE


def test_why_nothing_happened_is_on_the_page(open_page: Open, status: str) -> None:
    """The reason with its count; the file among the last, once they are unfolded."""
    page = open_page(status)
    assert "does not match 'income/**/*.csv'" in page.inner_text("main")
    page.locator("summary").click()
    assert page.get_by_text("scratch/readme.txt").first.is_visible()


def test_failed_run_is_redriven(open_page: Open, status: str, stack: Started) -> None:
    """The button leads back to the page, and the new attempt is there; the old one cannot be redriven again."""
    page = open_page(status)
    card = page.locator("li.card", has_text=HOSTILE).first
    assert "is not a CSV file with census columns" in card.inner_text()
    card.get_by_role("button", name="Redrive").click()
    page.wait_for_url("**/api/status")
    assert page.get_by_role("button", name="Redrive").count() == 0
    assert state_of(stack, HOSTILE) in ("submitted", "running", "failed")
    assert page.locator("li.card", has_text=HOSTILE).count() == 2


def test_rule_is_paused_and_resumed_by_keyboard_alone(open_page: Open, status: str) -> None:
    """The first tab goes past what is at the top; each step has a visible focus."""
    page = open_page(status)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    for _ in range(100):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        if page.evaluate("document.activeElement.name") == "reason":
            break
    page.keyboard.type("new cluster <on> Monday")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=new cluster <on> Monday")
    page.get_by_role("button", name="Resume").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pause").wait_for()
    assert "paused" not in page.inner_text("main").lower()


def test_key_of_the_address_goes_on(open_page: Open, status: str) -> None:
    """To the pages of requests, and back."""
    page = open_page(f"{status}?code=abc")
    page.get_by_role("link", name="good.csv").first.click()
    assert page.url.endswith("?code=abc")
    page.get_by_role("link", name="Back to the status").click()
    assert page.url == f"{status}?code=abc"


def test_page_of_another_site_cannot_press_a_button(open_page: Open, browser: Any, stack: Started, status: str) -> None:
    """A form of another origin is refused, and nothing is paused."""
    context = browser.new_context()
    page = context.new_page()
    form = f'<form method="post" action="{stack.url}/api/pause"><button>Win</button></form>'
    page.route("http://evil.example/", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto("http://evil.example/")
    with page.expect_response(lambda answer: answer.url.endswith("/api/pause")) as answered:
        page.get_by_role("button").click()
    assert answered.value.status == 403
    told = requests.get(status, timeout=30).json()
    assert told["paused"] == {}
    context.close()


def test_problem_is_a_page_with_a_way_back(open_page: Open, stack: Started, browser: Any) -> None:
    """Somebody who follows an old link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{stack.url}/api/retrains/20260101T000000Z-abc")
    assert "There is no retrain request" in page.inner_text("main")
    look_for_faults(page)
    page.get_by_role("link", name="To the status").click()
    page.get_by_role("heading", name="What retrains").wait_for()
    context.close()


def test_page_loads_nothing_from_anywhere(open_page: Open, browser: Any, status: str) -> None:
    """One request, and the style within it."""
    context = browser.new_context()
    page = context.new_page()
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(status)
    assert [url for url in asked if not url.startswith("data:")] == [status]
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "8px"
    assert json.loads(page.evaluate("JSON.stringify([...document.scripts].length)")) == 0
    context.close()
