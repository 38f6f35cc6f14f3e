"""Is the app fit to do its work? Each part that is not is named with its cure, in time, asking no more than it must."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import azure.functions as func
import msgspec
import pytest

from functions import operate
from shared import identity
from shared.app import App
from shared.errors import ConfigurationError
from shared.flow.tick import tick
from shared.ledger import ticks
from shared.operate import health as healths
from shared.operate.health import Check, Health, health
from tests.fixtures_workspace import LocalWorkspace

pytestmark = pytest.mark.usefixtures("empty_container")


@pytest.fixture(autouse=True)
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has just begun, however long the tests have been going on."""
    monkeypatch.setattr(healths, "uptime", lambda: timedelta(minutes=1))


def found(app: App, what: str) -> Check:
    """Return the one check of a kind."""
    [check] = [one for one in health(app).checks if one.what == what]
    return check


def later(app: App, **by: float) -> None:
    """Move the app's clock on."""
    now = app.ledger.now
    app.ledger.now = lambda: now() + timedelta(**by)


def test_app_that_is_fit(app: App) -> None:
    """Everything is there, and was looked at just now."""
    tick(app)
    told = health(app)
    assert told.status == "healthy"
    assert [(one.what, one.about) for one in told.checks] == [
        ("configuration", "retrain.toml"),
        ("storage", "ledger"),
        ("storage", "datastores.training"),
        ("identity", "https://management.azure.com"),
        ("endpoint", "pipelines.income"),
        ("timer", "tick"),
    ]
    assert all(one.told and not one.cure and 0 <= one.age_s < 30 for one in told.checks)


def test_probes_ask_the_services_once_in_a_while(app: App, workspace: LocalWorkspace) -> None:
    """A probe each second is answered from what is known; what is older than half a minute is looked at again."""
    health(app)
    asked = workspace.control("GET", "requests")["endpoint"]
    later(app, seconds=20)
    told = health(app)
    assert workspace.control("GET", "requests")["endpoint"] == asked
    assert all(20 <= one.age_s < 30 for one in told.checks if one.what in ("storage", "identity", "endpoint"))
    later(app, seconds=11)
    assert found(app, "endpoint").age_s < 10
    assert workspace.control("GET", "requests")["endpoint"] > asked


@pytest.mark.parametrize(
    ("fault", "what", "cure"),
    [
        ({"on": "endpoint", "kind": "status", "status": 403}, "endpoint", "AzureML Data Scientist"),
        ({"on": "endpoint", "kind": "status", "status": 404}, "endpoint", "Copy `url`"),
        ({"on": "endpoint", "kind": "drop"}, "endpoint", "reached from here"),
    ],
)
def test_endpoint_that_cannot_be_read(
    app: App, workspace: LocalWorkspace, fault: dict[str, Any], what: str, cure: str
) -> None:
    """The others are told all the same."""
    workspace.control("POST", "faults", [{**fault, "times": 9}])
    told = health(app)
    assert told.status == "unhealthy"
    assert [one.what for one in told.checks if not one.ok] == [what]
    assert cure in found(app, what).cure


def test_pinned_version_that_is_not_there(app: App) -> None:
    """Nothing could be submitted."""
    pipeline = msgspec.structs.replace(app.settings.pipelines["income"], version="7")
    other = replace(app, settings=msgspec.structs.replace(app.settings, pipelines={"income": pipeline}))
    check = found(other, "endpoint")
    assert (check.ok, "no version '7'" in check.told) == (False, True)


def test_identity_that_gets_no_token(app: App, workspace: LocalWorkspace) -> None:
    """It is told as such; that the endpoint cannot be read follows from it."""
    identity.credential.cache_clear()
    workspace.control("POST", "faults", [{"on": "token", "kind": "status", "status": 403, "times": 9}])
    assert not found(app, "identity").ok
    assert "az login" in found(app, "identity").cure


def test_container_that_is_not_there(app: App) -> None:
    """By the datastore's name."""
    container = app.datastores["training"].container
    container.delete_container()
    try:
        told = health(app)
    finally:
        container.create_container()
    [check] = [one for one in told.checks if not one.ok]
    assert (check.what, check.about) == ("storage", "datastores.training")


@pytest.fixture
def never(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An endpoint that does not answer, and no patience."""
    over = threading.Event()

    def wait(*_: object) -> None:
        over.wait()
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr(healths, "PATIENCE_S", 0.3)
    monkeypatch.setattr(healths, "_endpoint", wait)
    yield
    over.set()


@pytest.mark.usefixtures("never")
def test_endpoint_that_does_not_answer_is_not_waited_for(app: App) -> None:
    """A probe has its answer in time, and the other parts are told."""
    [check] = [one for one in health(app).checks if one.what == "endpoint"]
    assert (check.ok, check.told) == (False, "no answer within 0 s")
    assert found(app, "identity").ok


def test_timer_that_does_not_run(app: App) -> None:
    """Late is what has missed three turns, and a quarter of an hour."""
    tick(app)
    later(app, minutes=14)
    assert found(app, "timer").ok
    later(app, minutes=2)
    check = found(app, "timer")
    assert (check.ok, "tick" in check.cure) == (False, True)
    assert check.age_s > 15 * 60


def test_timer_of_a_slow_schedule_is_not_late(app: App) -> None:
    """How often it runs is seen from its ticks."""
    tick(app)
    later(app, hours=1)
    tick(app)
    later(app, hours=2)
    assert found(app, "timer").ok
    later(app, hours=2)
    assert not found(app, "timer").ok


def test_timer_before_its_first_tick(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new app has some time for it."""
    assert found(app, "timer").ok
    monkeypatch.setattr(healths, "uptime", lambda: timedelta(minutes=16))
    assert not found(app, "timer").ok


def test_tick_of_another_process_keeps_how_often_it_runs(app: App) -> None:
    """A process that has just begun does not know."""
    now = app.ledger.now()
    ticks.note(app.ledger, now, now - timedelta(minutes=1))
    ticks.note(app.ledger, now, None)
    last = ticks.last(app.ledger)
    assert last is not None
    assert last.every == timedelta(minutes=1)


def test_probe_is_answered_also_while_the_configuration_is_faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """503, with all faults in the form of a health document."""

    def faulty() -> App:
        raise ConfigurationError(["retrain.toml:3: rules[0].path: is required"])

    monkeypatch.setattr(operate, "app", faulty)
    answer = ask()
    told = msgspec.json.decode(answer.get_body(), type=Health)
    assert (answer.status_code, told.status) == (503, "unhealthy")
    assert "rules[0].path" in told.checks[0].told


def test_probe_gets_200_and_503(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe looks at the code alone."""
    monkeypatch.setattr(operate, "app", lambda: app)
    assert ask().status_code == 200
    app.memory.health.clear()
    workspace.control("POST", "faults", [{"on": "endpoint", "kind": "status", "status": 403, "times": 9}])
    assert ask().status_code == 503


def ask() -> func.HttpResponse:
    """Send a probe."""
    handler: Any = operate.health
    answer = handler(func.HttpRequest("GET", "http://127.0.0.1/api/health", body=b""))
    assert isinstance(answer, func.HttpResponse)
    return answer
