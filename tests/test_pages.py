"""The pages for browsers: what they show, how they are protected, and that programs still get data."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
import pytest

from functions import operate, pages
from shared.app import App
from shared.errors import ConfigurationError
from shared.flow.arrive import arrive
from shared.ledger.entries import State
from shared.operate import overview as overviews
from shared.operate.overview import DAYS, Day, overview
from shared.operate.views import view
from shared.rules.arrival import Source
from tests.fixtures_workspace import LocalWorkspace

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
KEY = "s3cr3t/+=="
NAME = "income/us/<script>alert(1)</script>.csv"

pytestmark = pytest.mark.usefixtures("empty_container")
Ask = Callable[..., func.HttpResponse]


@pytest.fixture(autouse=True)
def made(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    """The application behind the functions."""
    monkeypatch.setattr(operate, "app", lambda: app)
    return app


def ask(name: str, path: str = "status", body: bytes = b"", accept: str = BROWSER, **headers: Any) -> func.HttpResponse:
    """Send a request as a browser does; `path` below /api/."""
    handler: Any = getattr(operate, name)
    method = "POST" if body or name in ("redrive", "close", "cancel", "pause", "resume") else "GET"
    sent = {"accept": accept, "host": "app", **{key.replace("_", "-"): value for key, value in headers.items()}}
    if method == "POST":
        sent.setdefault("content-type", "application/x-www-form-urlencoded")
    key = re.search(r"retrains/([^/?]+)", path)
    route = {"key": key[1]} if key else {}
    answer = handler(func.HttpRequest(method, f"https://app/api/{path}", headers=sent, route_params=route, body=body))
    assert isinstance(answer, func.HttpResponse)
    return answer


def text(answer: func.HttpResponse) -> str:
    """Return the page."""
    assert answer.mimetype == "text/html"
    return answer.get_body().decode()


def refused(app: App, workspace: LocalWorkspace, message: str = "no", path: str = NAME) -> str:
    """Let a file arrive that the endpoint refuses; return its key."""
    workspace.upload(path, "a\n1\n")
    body = {"error": {"code": "BadRequest", "message": message}}
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 400, "body": body}])
    [outcome] = arrive(app, "training", path, Source.BLOB_EVENT)
    assert outcome.entry is not None
    assert outcome.entry.state == State.REFUSED
    return outcome.key


def test_browser_gets_a_page_and_a_program_data() -> None:
    """By the Accept header; caches must not mix them up."""
    page = ask("status")
    assert page.headers["Vary"] == "Accept"
    assert text(page).startswith("<!doctype html>")
    assert ask("status", accept="*/*").mimetype == "application/json"
    assert ask("status", accept="application/json").mimetype == "application/json"


def test_names_and_words_of_others_are_text(app: App, workspace: LocalWorkspace) -> None:
    """A blob's name and an endpoint's message, on both pages."""
    key = refused(app, workspace, "<img src=x onerror=alert(2)>")
    for page in (text(ask("status")), text(ask("retrain_by_key", f"retrains/{key}"))):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;.csv" in page
        assert "&lt;img src=x onerror=alert(2)&gt;" in page
        assert "<script" not in page
        assert "<img" not in page


def test_page_may_load_and_run_nothing() -> None:
    """A strict policy, which allows the one style by its digest."""
    policy = ask("status").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_key_goes_on_to_links_and_forms_and_nowhere_else(app: App, workspace: LocalWorkspace) -> None:
    """Who opened the page with a function key can go on with it; it is not shown, nor sent to the studio."""
    refused(app, workspace)
    page = ask("status", "status?code=s3cr3t%2F%2B%3D%3D")
    links = re.findall(r'(?:href|action)="([^"]*)"', text(page))
    ours = [link for link in links if link.startswith("/api/")]
    assert len(ours) > 3
    assert all(link.endswith("?code=s3cr3t%2F%2B%3D%3D") for link in ours)
    assert "s3cr3t" not in re.sub(r'(?:href|action)="/api/[^"]*"', "", text(page))
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert "code=" not in text(ask("status"))


def test_what_gives_access_is_masked(app: App, workspace: LocalWorkspace) -> None:
    """As everywhere else."""
    refused(app, workspace, "AccountKey=abcdefghijklmnop", "income/us/a.csv")
    page = text(ask("status"))
    assert "abcdefghijklmnop" not in page
    assert "AccountKey=***" in page


def test_redrive_from_the_page(app: App, workspace: LocalWorkspace) -> None:
    """The form acts, and leads back to the status, where the new attempt is."""
    key = refused(app, workspace)
    assert f"retrains/{key}/redrive" in text(ask("status"))
    answer = ask("redrive", f"retrains/{key}/redrive?code=x", sec_fetch_site="same-origin", origin="https://app")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/api/status?code=x")
    assert {entry.attempt for entry in app.history(5)} == {1, 2}
    page = text(ask("status"))
    assert f"retrains/{key}/redrive" not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "https://app"},
        {"origin": "https://evil.example"},
        {"origin": "https://app.evil.example"},
        {"origin": "https://app:444"},
        {"origin": "null"},
        {"origin": ""},
    ],
)
@pytest.mark.parametrize("accept", [BROWSER, "*/*"])
def test_page_of_another_site_cannot_act(
    app: App, workspace: LocalWorkspace, headers: dict[str, Any], accept: str
) -> None:
    """Not for somebody who is signed in here; whether it asks for a page or for data."""
    key = refused(app, workspace)
    answer = ask("redrive", f"retrains/{key}/redrive", accept=accept, **headers)
    assert answer.status_code == 403
    assert len(app.history(5)) == 1


@pytest.mark.parametrize(
    "headers", [{}, {"sec_fetch_site": "none"}, {"sec_fetch_site": "same-origin"}, {"origin": "https://app"}]
)
def test_programs_and_our_own_page_can(app: App, workspace: LocalWorkspace, headers: dict[str, Any]) -> None:
    """A program sends neither header."""
    key = refused(app, workspace)
    assert ask("redrive", f"retrains/{key}/redrive", **headers).status_code == 303


def test_pause_and_resume_from_the_page(app: App) -> None:
    """With a reason, in a form's encoding."""
    answer = ask("pause", "pause", b"rule=income-files&reason=caf%C3%A9+%26+co")
    assert answer.status_code == 303
    page = text(ask("status"))
    assert "café &amp; co" in page
    assert ">Resume<" in page
    assert ask("resume", "resume", b"rule=income-files").status_code == 303
    assert app.paused("income-files") == ""


@pytest.mark.parametrize(
    "body", [b"rule=a&rule=b", b"rule", b"rule=%ff", b"x=1", b"rule=income-files&reason=" + b"x" * 1001]
)
def test_form_that_is_none(body: bytes) -> None:
    """A page says what is wrong; nothing is done."""
    answer = ask("pause", "pause", body)
    assert answer.status_code == 400
    assert "Bad Request" in text(answer)


def test_problem_is_a_page(app: App) -> None:
    """With the same status as for programs."""
    answer = ask("retrain_by_key", "retrains/20260101T000000Z-abc")
    assert (answer.status_code, "There is no retrain request" in text(answer)) == (404, True)


def test_faults_of_the_configuration_are_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, escaped."""

    def faulty() -> App:
        raise ConfigurationError(["retrain.toml:1: <b>", "retrain.toml:2: x"])

    monkeypatch.setattr(operate, "app", faulty)
    answer = ask("status")
    assert answer.status_code == 503
    assert "retrain.toml:1: &lt;b&gt;" in text(answer)
    assert "retrain.toml:2: x" in text(answer)


def test_address_that_is_no_web_address_is_no_link(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint could name anything as its run's page."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    [outcome] = arrive(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
    row = app.ledger.get(outcome.key, [outcome.rule])
    assert row is not None
    app.ledger.move(row, State.RUNNING, run_url="javascript:alert(1)")
    page = text(ask("status"))
    assert "javascript:" not in page
    assert row.entry.run_id in page


def test_days_of_the_picture(app: App, workspace: LocalWorkspace) -> None:
    """The last fortnight, empty days among them, by the day that data was written."""
    refused(app, workspace)
    days = overview(app).days
    assert len(days) == DAYS
    assert [day.day for day in days] == [days[0].day + timedelta(days=number) for number in range(DAYS)]
    assert [day.counts for day in days] == [*[{}] * (DAYS - 1), {"bad": 1}]


@pytest.mark.parametrize("most", [1, 3, 100_000])
def test_bars_stay_within_the_picture(most: int) -> None:
    """However many there are; the groups of a day stand upon each other."""
    today = datetime.now(UTC).date()
    days = [Day(day=today, counts={"good": most, "bad": most, "open": 1}), Day(day=today, counts={})]
    chart = pages._chart(days)
    assert [bar["group"] for bar in chart["bars"]] == ["good", "bad", "open"]
    tops = [bar["y"] for bar in chart["bars"]]
    assert tops == sorted(tops, reverse=True)
    assert all(bar["y"] > 0 and bar["y"] + bar["height"] <= pages.FLOOR + 0.2 for bar in chart["bars"])


@pytest.mark.parametrize(
    ("started", "ended", "told"),
    [
        (59, None, "59 s so far"),
        (60, 0, "1 min 0 s"),
        (3 * 3600 + 65, 0, "3 h 1 min"),
        (-5, None, "0 s so far"),
        (None, None, ""),
    ],
)
def test_how_long_a_run_took(
    app: App, workspace: LocalWorkspace, started: float | None, ended: float | None, told: str
) -> None:
    """In the largest two units; a clock that differs does not make it negative."""
    now = datetime.now(UTC)
    began, over = (None if seconds is None else now - timedelta(seconds=seconds) for seconds in (started, ended))
    workspace.upload("income/us/a.csv", "a\n1\n")
    arrive(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
    [entry] = app.history(1)
    row = app.ledger.get(entry.key, [entry.rule])
    assert row is not None
    row = app.ledger.move(row, State.RUNNING, started_at=began, ended_at=over)
    assert pages._duration(view(row.entry), now) == told


def test_picture_says_when_it_is_not_whole(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a rule with very many requests only the newest are counted."""
    refused(app, workspace)
    assert "the newest of each rule only" not in text(ask("status"))
    monkeypatch.setattr(overviews, "COUNTED", 1)
    monkeypatch.setattr(overviews, "OF_EACH", 1)
    assert "the newest of each rule only" in text(ask("status"))
