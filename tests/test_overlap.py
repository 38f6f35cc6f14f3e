"""Rules with limits: how many runs may be active, what happens to the rest, and how many begin in a day."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App
from shared.flow.arrive import act
from shared.flow.tick import tick
from shared.ledger.entries import Entry, State
from shared.rules.arrival import Source
from shared.rules.match import match
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

pytestmark = pytest.mark.usefixtures("empty_container")


def limited(app: App, **limits: Any) -> App:
    """Return the app with limits on its rule."""
    rule = msgspec.structs.replace(samples.RULE, **limits)
    return App(msgspec.structs.replace(app.settings, rules=(rule,)), app.ledger, app.datastores, app.endpoints)


def arrive(app: App, workspace: LocalWorkspace, number: int) -> Entry:
    """Let file `number` arrive, written that many seconds after the others' beginning."""
    path = f"income/us/{number}.csv"
    workspace.upload(path, f"a\n{number}\n")
    arrival = samples.arrival(path, last_modified=samples.WRITTEN + timedelta(seconds=number))
    [outcome] = act(app, match(app.settings.rules, arrival, {}), arrival)
    assert outcome.entry is not None
    return outcome.entry


def states(app: App) -> dict[str, State]:
    """Return the states of all requests, by the file's number."""
    entries = app.ledger.history("income-files", 100)
    return {entry.path.removeprefix("income/us/").removesuffix(".csv"): entry.state for entry in entries}


def finish(workspace: LocalWorkspace, path: str) -> None:
    """Let the run of a file end."""
    for run in workspace.control("GET", "runs"):
        if run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == path:
            workspace.control("POST", f"runs/{run['run_id']}/status", {"status": "Finished"})


def test_request_with_room_is_let_in_at_once(app: App, workspace: LocalWorkspace) -> None:
    """Nobody waits for the timer when nothing is active."""
    assert arrive(limited(app, max_active=1), workspace, 1).state == State.SUBMITTED


def test_requests_without_room_wait_and_follow_in_order(app: App, workspace: LocalWorkspace) -> None:
    """`queue`: oldest data first, one as soon as another has ended."""
    app = limited(app, max_active=1)
    for number in (2, 1, 3):
        arrive(app, workspace, number)
    assert states(app) == {"2": State.SUBMITTED, "1": State.QUEUED, "3": State.QUEUED}
    tick(app)
    assert len(workspace.control("GET", "runs")) == 1
    finish(workspace, "income/us/2.csv")
    tick(app)
    assert states(app) == {"2": State.FINISHED, "1": State.SUBMITTED, "3": State.QUEUED}


def test_latest_supersedes_those_that_wait(app: App, workspace: LocalWorkspace) -> None:
    """`latest`: of what came while a run was active only the newest data is trained on; the others say so."""
    app = limited(app, max_active=1, when_busy="latest")
    for number in (1, 2, 4, 3):
        arrive(app, workspace, number)
    tick(app)
    assert states(app) == {"1": State.SUBMITTED, "2": State.SUPERSEDED, "3": State.SUPERSEDED, "4": State.QUEUED}
    finish(workspace, "income/us/1.csv")
    tick(app)
    assert states(app)["4"] == State.SUBMITTED


def test_skip_records_what_came_while_busy(app: App, workspace: LocalWorkspace) -> None:
    """`skip`: it is not trained on, and its row says why."""
    app = limited(app, max_active=1, when_busy="skip")
    first = arrive(app, workspace, 1)
    skipped = arrive(app, workspace, 2)
    assert (skipped.state, skipped.reason) == (State.SKIPPED, "1 runs are active; the rule's max_active is 1.")
    assert samples.open_states(app.ledger) == {first.key: State.SUBMITTED}


def test_many_workers_at_once_let_no_more_in_than_there_is_room(app: App, workspace: LocalWorkspace) -> None:
    """The gate is part of each admission: eight arrivals at once, two runs."""
    app = limited(app, max_active=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: arrive(app, workspace, number), range(8)))
    for _ in range(3):
        tick(app)
    assert len(workspace.control("GET", "runs")) == 2
    assert sum(state == State.QUEUED for state in states(app).values()) == 6


def test_daily_cap_holds_the_rest_back_until_tomorrow(app: App, workspace: LocalWorkspace) -> None:
    """A guard for the bill: nothing is lost, it begins the next day (UTC)."""
    app = limited(app, daily_cap=2)
    noon = datetime.now(UTC).replace(hour=12)
    app.ledger.now = lambda: noon
    for number in (1, 2, 3):
        arrive(app, workspace, number)
    assert states(app) == {"1": State.SUBMITTED, "2": State.SUBMITTED, "3": State.QUEUED}
    tick(app)
    assert states(app)["3"] == State.QUEUED
    app.ledger.now = lambda: noon + timedelta(days=1)
    tick(app)
    assert states(app)["3"] == State.SUBMITTED


@pytest.mark.parametrize("source", [Source.BLOB_SCAN, Source.WEBHOOK])
def test_throttled_request_keeps_its_place(app: App, workspace: LocalWorkspace, source: Source) -> None:
    """It was let in: what waits for another try counts as active."""
    app = limited(app, max_active=1)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "retry_after": 300}])
    assert arrive(app, workspace, 1).state == State.DEFERRED
    waits = arrive(app, workspace, 2)
    assert (waits.state, waits.reason) == (State.QUEUED, "1 runs are active; the rule's max_active is 1.")
    assert workspace.control("GET", "runs") == []
