"""Timer functions on the local host: schedules, the lock between hosts, starts by hand and at the start."""

from pathlib import Path

import pytest

from tests.apps.running import Place, eventually, running


@pytest.fixture
def place(storage: str, tmp_path: Path) -> Place:
    """Names of its own for each test."""
    return Place(storage, tmp_path)


def test_two_hosts_and_a_tick_each_second(place: Place) -> None:
    """Each tick fires once, in one of them."""
    with running("ticks", place), running("ticks", place):
        eventually(lambda: len(place.seen("each_second")) >= 3)
    ticks = [one["tick"] for one in place.seen("each_second")]
    assert len(ticks) == len(set(ticks))


def test_a_timer_fired_by_hand(place: Place) -> None:
    """202 at once; the function runs although its schedule is months away, and its failure is logged, not repeated."""
    with running("ticks", place) as host:
        assert host.post("/admin/functions/asked", json={}).status_code == 202
        eventually(lambda: "asked failed" in host.log)
        assert len(place.seen("asked")) == 1


def test_run_on_startup(place: Place) -> None:
    """The function runs at the start; what the app logs and prints goes to the log, not to stdout's one line."""
    with running("ticks", place) as host:
        eventually(lambda: place.seen("at_start"))
        eventually(lambda: "INFO    ticks: hello from the app\n" in host.log)
        assert "printed by the app\n" in host.log


def test_a_disabled_function(place: Place) -> None:
    """The setting AzureWebJobs.<name>.Disabled keeps it from running."""
    with running("ticks", place, **{"AzureWebJobs.at_start.Disabled": "true"}) as host:
        eventually(lambda: place.seen("each_second"))
        assert host.get("/admin/host/status").json()["functions"] == ["asked", "each_second"]
    assert not place.seen("at_start")
