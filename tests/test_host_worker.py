"""The contract between the host and Microsoft's worker library: what `local/host/worker.py` gives and gets."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.apps.running import APPS, ROOT, Place

Answers = Callable[[str], dict[str, Any]]


def driven(app: str, place: Place) -> subprocess.CompletedProcess[str]:
    """Drive an app's worker in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.apps.drive", app],
        env=os.environ | place.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """No storage behind it: the worker itself never needs any."""
    return Place("UseDevelopmentStorage=true", tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="module")
def answers(place: Place) -> Answers:
    """What the drive of an app printed; each app is driven once."""

    @cache
    def ask(app: str) -> dict[str, Any]:
        done = driven(app, place)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ask


def test_http_functions_are_invoked(answers: Answers) -> None:
    """A function gets method, url, headers, route and query, and its answer comes back as typed data."""
    result = answers("web")["results"]["anything"]
    assert (result["ok"], result["status"]) == (True, "200")
    assert json.loads(result["body"]) == {
        "method": "GET",
        "url": "http://h/api/x?a=1",
        "headers": {"x-h": "1"},
        "params": {"a": "1"},
        "route": {"p": "q"},
        "body": "",
    }


def test_a_function_raises(answers: Answers) -> None:
    """The outcome says so, for sync and async functions alike; nothing is raised into the host."""
    results = answers("web")["results"]
    assert results["fails"] == {"ok": False, "error": "RuntimeError: on purpose", "status": None, "body": None}
    assert results["fails_async"]["error"] == "RuntimeError: on purpose, async"


def test_an_sdk_type_is_marked_in_the_raw_binding(answers: Answers) -> None:
    """The worker asks for a reference instead of content by SupportsDeferredBinding, and for content without it."""
    listed = {one["name"]: one["bindings"][0] for one in answers("blobs")["functions"]}
    assert listed["by_reference"]["properties"] == {"SupportsDeferredBinding": True}
    assert "properties" not in listed["with_content"]


def test_a_blob_client_from_a_reference(answers: Answers, place: Place) -> None:
    """A reference becomes a BlobClient for exactly that blob, without any request."""
    assert answers("events")["results"]["announced"]["ok"]
    assert place.seen("announced")[0] == {"function": "announced", "name": "ü/a b.csv"}


def test_an_input_stream_from_bytes(answers: Answers, place: Place) -> None:
    """Name, uri, length, properties and metadata come from the trigger metadata."""
    assert answers("blobs")["results"]["with_content"]["ok"]
    (seen,) = place.seen("with_content")
    assert (seen["name"], seen["length"], seen["content"]) == ("c/content/a", 3, "abc")
    assert (seen["metadata"], seen["kind"], seen["uri"]) == ({"k": "v"}, "text/plain", "http://h/c/content/a")


def test_a_timer_request_from_json(answers: Answers, place: Place) -> None:
    """IsPastDue and the schedule status reach the function."""
    assert answers("ticks")["results"]["asked"]["error"] == "RuntimeError: on purpose"
    assert place.seen("asked")[0]["tick"] == "then"
    assert place.seen("asked")[0]["past_due"] is True


def test_function_ids_are_stable(answers: Answers, place: Place) -> None:
    """The same app has the same ids in every process, so messages outlive a host."""
    assert json.loads(driven("events", place).stdout)["functions"] == answers("events")["functions"]


def test_the_app_folder_comes_last_on_the_path(answers: Answers) -> None:
    """As on the platform an installed package hides an app's module of that name; this project's root is gone."""
    path = answers("events")["path"]
    assert path[-1] == str(APPS / "events")
    assert str(ROOT) not in path


def test_an_app_that_cannot_be_imported(place: Place) -> None:
    """The original traceback is in the error, down to the app's line."""
    done = driven("broken", place)
    assert "IndexingError" in done.stderr
    assert 'raise RuntimeError("broken on purpose")' in done.stderr


def test_a_folder_without_an_app(place: Place) -> None:
    """The error names the missing file."""
    assert f"{APPS}: no function_app.py" in driven(".", place).stderr
