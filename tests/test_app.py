"""The function app as the platform's own worker library indexes it: exactly these functions, with these bindings."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shared.app
from shared.settings import read
from tests.samples import ENVIRON

ROOT = Path(__file__).parent.parent
CHOSEN = {"RETRAIN_BLOB_SOURCE", "RETRAIN_EVENTS"}
INDEX = """
import asyncio, json, sys
from pathlib import Path
from local.host.worker import Worker
functions = asyncio.run(Worker(Path(sys.argv[1])).start())
print(json.dumps({f.name: [dict(b) for b in f.bindings] for f in functions}))
"""


def index(environ: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return the raw bindings by function, as indexed in a process of its own with these app settings."""
    clean = {key: value for key, value in os.environ.items() if key not in {*ENVIRON, *CHOSEN}}
    done = subprocess.run(
        [sys.executable, "-c", INDEX, str(ROOT)], env={**clean, **environ}, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def functions() -> dict[str, list[dict[str, Any]]]:
    """The app indexed with a sound configuration."""
    return index(ENVIRON)


HTTP = {
    "retrain": ("retrain", "POST", "OPTIONS"),
    "why": ("why", "GET"),
    "cancel": ("retrains/{key}/cancel", "POST"),
    "pause": ("pause", "POST"),
    "resume": ("resume", "POST"),
    "status": ("status", "GET"),
    "health": ("health", "GET"),
    "retrains": ("retrains", "GET"),
    "retrain_by_key": ("retrains/{key}", "GET"),
    "redrive": ("retrains/{key}/redrive", "POST"),
    "redrive_many": ("redrive", "POST"),
    "close": ("retrains/{key}/close", "POST"),
    "openapi": ("openapi.json", "GET"),
}


def test_exactly_these_functions(functions: dict[str, list[dict[str, Any]]]) -> None:
    """A function more or less is a decision, not an accident."""
    assert set(functions) == {*HTTP, "arrive_training", "tick", "bury"}


@pytest.mark.parametrize("name", HTTP)
def test_http_functions_need_a_key_and_have_their_routes(functions: dict[str, list[dict[str, Any]]], name: str) -> None:
    """Each takes its methods, and answers."""
    trigger, answer = functions[name]
    assert (trigger["route"], *trigger["methods"]) == HTTP[name]
    assert trigger["authLevel"].upper() == "FUNCTION"
    assert answer["type"] == "http"


def test_blob_trigger_binds_a_client_to_the_container(functions: dict[str, list[dict[str, Any]]]) -> None:
    """Deferred binding: the host passes on a name, and never the content."""
    [trigger] = functions["arrive_training"]
    assert trigger["type"] == "blobTrigger"
    assert trigger["path"] == "training-data/{name}"
    assert trigger["connection"] == "TrainingStorage"
    assert trigger["source"] == "EventGrid"
    assert trigger["properties"]["SupportsDeferredBinding"] is True


def test_timer_follows_the_app_setting(functions: dict[str, list[dict[str, Any]]]) -> None:
    """Each minute where nothing else is set."""
    assert functions["tick"][0]["schedule"] == "0 * * * * *"
    assert index({**ENVIRON, "RETRAIN_TIMER_SCHEDULE": "*/5 * * * * *"})["tick"][0]["schedule"] == "*/5 * * * * *"


def test_poison_is_read_where_the_blob_trigger_leaves_it(functions: dict[str, list[dict[str, Any]]]) -> None:
    """The platform's queue, in the account of the trigger's own connection."""
    [trigger] = functions["bury"]
    assert (trigger["type"], trigger["queueName"]) == ("queueTrigger", "webjobs-blobtrigger-poison")
    assert trigger["connection"] == functions["arrive_training"][0]["connection"]


def test_source_of_the_blob_trigger_is_an_app_setting() -> None:
    """Events in the cloud, a scan on a laptop."""
    [trigger] = index({**ENVIRON, "RETRAIN_BLOB_SOURCE": "LogsAndContainerScan"})["arrive_training"]
    assert trigger["source"] == "LogsAndContainerScan"


def test_events_come_by_a_queue_in_place_of_the_blob_trigger() -> None:
    """One way in by the platform's triggers; both queues are in the app's own storage."""
    found = index({**ENVIRON, "RETRAIN_EVENTS": "queue"})
    assert set(found) == {*HTTP, "tick", "events", "events_poison"}
    for name, queue in (("events", "retrain-events"), ("events_poison", "retrain-events-poison")):
        [trigger] = found[name]
        assert (trigger["type"], trigger["queueName"]) == ("queueTrigger", queue)
        assert trigger["connection"] == "AzureWebJobsStorage"


def test_app_with_a_faulty_configuration_has_its_http_functions() -> None:
    """They report the faults; nothing that could start a run is there."""
    assert set(index({})) == set(HTTP)


def test_first_arrivals_of_a_process_share_one_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come at once, and one of them makes it: two would export metrics twice, and each remember its own."""
    together, second, begun = threading.Barrier(8), threading.Event(), list[object]()

    def make(settings: object) -> object:
        begun.append(settings)
        if len(begun) > 1:
            second.set()
        second.wait(0.2)
        return object()

    def arrive() -> object:
        together.wait()
        return shared.app.app()

    monkeypatch.setattr(read, "load", object)
    monkeypatch.setattr(shared.app, "build", make)
    shared.app.made.cache_clear()
    try:
        with ThreadPoolExecutor(8) as pool:
            found = {future.result() for future in [pool.submit(arrive) for _ in range(8)]}
    finally:
        shared.app.made.cache_clear()
    assert len(begun) == len(found) == 1


LOADED = """
import gc, json, sys
import function_app
names = ("functions.blob", "functions.events")
print(json.dumps([gc.isenabled(), gc.get_freeze_count() > 0, [one for one in names if one in sys.modules]]))
"""


@pytest.mark.parametrize(("events", "loaded"), [("blob", "functions.blob"), ("queue", "functions.events")])
def test_what_a_cold_start_loads(events: str, loaded: str) -> None:
    """The way in that is configured; garbage is collected again afterwards, and not among what was loaded."""
    environ = {**os.environ, **ENVIRON, "RETRAIN_EVENTS": events}
    done = subprocess.run([sys.executable, "-c", LOADED], env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, True, [loaded]]
