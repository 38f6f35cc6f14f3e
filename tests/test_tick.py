"""What the timer does with open work, over Azurite and the local workspace; the clock is moved, nothing waits."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App
from shared.errors import StorageError
from shared.flow import enter, search, send
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger.entries import Entry, Row, State
from shared.pipelines.base import NotAccepted
from shared.rules.arrival import Source
from shared.storage import datastores, listing
from shared.storage.accounts import container_client
from shared.storage.datastores import Datastore
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

GRACE = timedelta(minutes=10)  # of the settings that the tests use

pytestmark = pytest.mark.usefixtures("empty_container")


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The application's own log."""
    with caplog.at_level(logging.INFO, "retrain"):
        yield caplog


def later(app: App, by: timedelta) -> None:
    """Move the app's clock to `by` from now."""
    app.ledger.now = lambda: datetime.now(UTC) + by


def arrive(app: App, workspace: LocalWorkspace, *faults: dict[str, Any], path: str = "income/us/a.csv") -> Entry:
    """Let a new file arrive while the endpoint answers with `faults`."""
    workspace.upload(path, "a,b\n1,2\n")
    workspace.control("POST", "faults", [{"on": "submit", **fault} for fault in faults])
    [outcome] = deliver(app, "training", path, Source.BLOB_SCAN)
    assert outcome.entry is not None
    return outcome.entry


def now_at(app: App, entry: Entry) -> Entry:
    """Return the entry as the ledger has it now."""
    row = app.ledger.get(entry.key, [entry.rule])
    assert row is not None
    return row.entry


def runs(workspace: LocalWorkspace) -> list[dict[str, Any]]:
    """Return what the workspace accepted."""
    accepted: list[dict[str, Any]] = workspace.control("GET", "runs")
    return accepted


def with_policy(app: App, on_uncertain: str) -> App:
    """Return the app with another `on_uncertain`."""
    pipeline = msgspec.structs.replace(app.settings.pipelines["income"], on_uncertain=on_uncertain)
    settings = msgspec.structs.replace(app.settings, pipelines={"income": pipeline})
    return App(settings, app.ledger, app.datastores, app.endpoints)


def seen_to_give_keys_back(app: App, workspace: LocalWorkspace) -> None:
    """Let a run be tracked, so that the app learns whether the pipeline gives keys back."""
    arrive(app, workspace, path="income/us/earlier.csv")
    tick(app)


def test_waiting_row_is_sent_when_it_is_due(app: App, workspace: LocalWorkspace) -> None:
    """Not before: the endpoint asked for a pause. Afterwards it is the same request, and one run."""
    entry = arrive(app, workspace, {"kind": "status", "status": 429, "retry_after": 300})
    tick(app)
    assert now_at(app, entry).state == State.DEFERRED
    later(app, timedelta(seconds=301))
    tick(app)
    sent = now_at(app, entry)
    [run] = runs(workspace)
    assert (sent.state, sent.run_id, sent.tries, sent.reason) == (State.SUBMITTED, run["run_id"], 2, "")


def test_pauses_of_a_deferred_row_grow(app: App, workspace: LocalWorkspace) -> None:
    """A minute, then as long as the endpoint has taken nothing already; at most a quarter of an hour."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 403, "times": 99}])
    entry, pauses, ahead = arrive(app, workspace), list[int](), timedelta()
    for _ in range(7):
        entry = now_at(app, entry)
        assert entry.due_at is not None
        pause = entry.due_at - entry.changed_at
        pauses.append(round(pause / timedelta(minutes=1)))
        ahead += pause + timedelta(seconds=1)
        later(app, ahead)
        tick(app)
    assert pauses == [1, 1, 2, 4, 8, 15, 15]


def test_lost_answer_is_found_at_the_endpoint(app: App, workspace: LocalWorkspace) -> None:
    """The run carries our key: it is taken up, at the next tick, and nothing is sent."""
    entry = arrive(app, workspace, {"kind": "accept_then_drop"})
    assert entry.state == State.UNCERTAIN
    tick(app)
    [run] = runs(workspace)
    found = now_at(app, entry)
    assert (found.state, found.run_id, found.tries) == (State.SUBMITTED, run["run_id"], 1)


def test_run_that_the_list_shows_late_is_found_late(app: App, workspace: LocalWorkspace) -> None:
    """Not found within the grace period means nothing yet."""
    workspace.control("POST", "settings", {"list_lag_s": 3600})
    entry = arrive(app, workspace, {"kind": "accept_then_drop"})
    later(app, GRACE - timedelta(seconds=5))
    tick(app)
    assert now_at(app, entry).state == State.UNCERTAIN
    workspace.control("POST", "settings", {"list_lag_s": 0})
    tick(app)
    assert now_at(app, entry).state == State.SUBMITTED
    assert len(runs(workspace)) == 1


@pytest.mark.parametrize("after_restart", [False, True])
def test_lost_submission_is_sent_again_once_that_is_safe(
    app: App, workspace: LocalWorkspace, after_restart: bool
) -> None:
    """Its pipeline gives keys back, and after the grace period no run has this one: it was not accepted."""
    seen_to_give_keys_back(app, workspace)
    entry = arrive(app, workspace, {"kind": "drop"})
    if after_restart:  # what was learned is in the ledger, not in a process
        app = App(app.settings, app.ledger, app.datastores, app.endpoints)
    tick(app)
    assert now_at(app, entry).state == State.UNCERTAIN
    later(app, GRACE + timedelta(seconds=1))
    tick(app)
    sent = now_at(app, entry)
    assert (sent.state, sent.tries) == (State.SUBMITTED, 2)
    assert sum(run["body"]["tags"]["retrain.key"] == entry.key for run in runs(workspace)) == 1


@pytest.mark.parametrize("kind", ["drop", "accept_then_drop"])
def test_outcome_that_cannot_be_learned_is_held(
    app: App, workspace: LocalWorkspace, kind: str, log: pytest.LogCaptureFixture
) -> None:
    """Keys do not come back, so absence proves nothing: never a second run, an operator decides."""
    workspace.control("POST", "settings", {"give_back_keys": False})
    seen_to_give_keys_back(app, workspace)
    entry = arrive(app, workspace, {"kind": kind})
    later(app, GRACE + timedelta(seconds=1))
    tick(app)
    held = now_at(app, entry)
    assert held.state == State.HELD
    assert "gives keys back: it does not" in held.reason
    assert f"then redrive {entry.key}, or close it" in log.text
    assert sum(run["body"]["tags"]["retrain.key"] == entry.key for run in runs(workspace)) <= 1


def test_without_any_evidence_it_is_held(app: App, workspace: LocalWorkspace) -> None:
    """Not even one run was seen: that is no reason to send twice."""
    entry = arrive(app, workspace, {"kind": "drop"})
    later(app, GRACE + timedelta(seconds=1))
    tick(app)
    assert now_at(app, entry).state == State.HELD


@pytest.mark.parametrize(("policy", "state"), [("hold", State.HELD), ("resubmit", State.SUBMITTED)])
def test_on_uncertain_overrules_the_evidence(app: App, workspace: LocalWorkspace, policy: str, state: State) -> None:
    """`hold` never sends again; `resubmit` does, without evidence."""
    if policy == "hold":
        seen_to_give_keys_back(app, workspace)
    entry = arrive(app, workspace, {"kind": "drop"})
    later(app, GRACE + timedelta(seconds=1))
    tick(with_policy(app, policy))
    assert now_at(app, entry).state == state


def test_endpoint_that_cannot_be_read_leaves_the_row_as_it_is(
    app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture
) -> None:
    """An unreadable list is no empty list."""
    seen_to_give_keys_back(app, workspace)
    entry = arrive(app, workspace, {"kind": "drop"})
    later(app, GRACE + timedelta(seconds=1))
    workspace.control("POST", "faults", [{"on": "list", "kind": "status", "status": 503}])
    tick(app)
    target = app.settings.pipelines["income"].target
    assert now_at(app, entry).state == State.UNCERTAIN
    assert f"unreadable endpoint={target.place}" in log.text


@pytest.mark.parametrize("sent", [False, True])
def test_worker_that_died_while_sending(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    """The row says `sending`. Nobody touches it within the grace period; then the endpoint is asked."""

    def dies(app: App, entry: Entry, **_: bool) -> Any:
        if sent:
            assert entry.target is not None
            app.endpoint(entry.target).submit(entry.retrain_request(), entry.target)
        raise KeyboardInterrupt

    seen_to_give_keys_back(app, workspace)
    workspace.upload("income/us/a.csv", "a\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr(send, "submit", dies)
        with pytest.raises(KeyboardInterrupt):
            deliver(app, "training", "income/us/a.csv", Source.BLOB_SCAN)
    [key] = [key for key, state in samples.open_states(app.ledger).items() if state == State.SENDING]
    tick(app)
    assert samples.open_states(app.ledger)[key] == State.SENDING
    later(app, GRACE + timedelta(seconds=1))
    tick(app)
    assert samples.open_states(app.ledger)[key] == State.SUBMITTED
    assert sum(run["body"]["tags"]["retrain.key"] == key for run in runs(workspace)) == 1


def test_worker_that_stood_still_does_not_send(app: App, workspace: LocalWorkspace) -> None:
    """It may be taken for dead by now, and somebody else may be sending."""
    row = enter.to_send(app, samples.retrain_request())
    assert isinstance(row, Row)
    later(app, GRACE / 2)
    answer = send.submit(app, row.entry)
    assert isinstance(answer, NotAccepted)
    assert "stood still" in answer.reason
    assert runs(workspace) == []


def test_two_timers_at_once_send_once(app: App, workspace: LocalWorkspace) -> None:
    """Whoever writes `sending` first sends; the other one leaves the row alone."""
    seen_to_give_keys_back(app, workspace)
    entries = [arrive(app, workspace, {"kind": "drop"}, path=f"income/us/{number}.csv") for number in range(5)]
    later(app, GRACE + timedelta(seconds=1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tick, [app] * 4))
    keys = [run["body"]["tags"]["retrain.key"] for run in runs(workspace)]
    assert sorted(keys[1:]) == sorted(entry.key for entry in entries)


def test_run_is_followed_to_its_end(app: App, workspace: LocalWorkspace) -> None:
    """Submitted, running, finished, with the service's word and times; then nothing is open."""
    entry = arrive(app, workspace)
    tick(app)
    assert now_at(app, entry).run_status == "NotStarted"
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Running"})
    tick(app)
    assert now_at(app, entry).state == State.RUNNING
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Finished"})
    tick(app)
    ended = now_at(app, entry)
    assert (ended.state, ended.run_status) == (State.FINISHED, "Finished")
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert samples.open_states(app.ledger) == {}


def test_failed_run_tells_its_reason(app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture) -> None:
    """In the row and in the log."""
    entry = arrive(app, workspace)
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Failed", "error": "no column income"})
    tick(app)
    failed = now_at(app, entry)
    assert failed.state == State.FAILED
    assert "no column income" in failed.reason
    assert "no column income" in log.text


def test_canceled_run_is_canceled(app: App, workspace: LocalWorkspace) -> None:
    """Somebody canceled it in the studio: that is an end."""
    entry = arrive(app, workspace)
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Canceled"})
    tick(app)
    assert now_at(app, entry).state == State.CANCELED


def test_run_of_another_version_than_the_pinned_one_is_an_alarm(
    app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture
) -> None:
    """The service ignored the pin, as a release of its SDK once did: the run is read back and compared."""
    workspace.control("POST", "settings", {"ignore_pin": True})
    entry = arrive(app, workspace)
    tick(app)
    alarmed = now_at(app, entry)
    assert alarmed.state == State.MISPINNED
    target = app.settings.pipelines["income"].target
    assert alarmed.pipeline_id == app.endpoint(target).pinned("0")
    assert "mispinned" in log.text


def test_old_runs_are_read_less_often(app: App, workspace: LocalWorkspace) -> None:
    """After ten minutes every five, and so on: a job may last for days."""
    entry = arrive(app, workspace)
    later(app, timedelta(minutes=30))
    tick(app)
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Finished"})
    tick(app)
    assert now_at(app, entry).state == State.SUBMITTED
    later(app, timedelta(minutes=36))
    tick(app)
    assert now_at(app, entry).state == State.FINISHED


def test_arrival_that_nobody_told_of_is_found(app: App, workspace: LocalWorkspace) -> None:
    """Its blob has no row: the search starts it, once."""
    workspace.upload("income/us/missed.csv", "a\n1\n")
    workspace.upload("income/us/notes.txt", "x")
    tick(app)
    assert runs(workspace) == []  # so new that it is being delivered just now
    later(app, timedelta(minutes=2))
    for _ in range(3):
        tick(app)
    [run] = runs(workspace)
    assert run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] == "income/us/missed.csv"
    [entry] = app.ledger.history("income-files", 10)
    assert entry.source == Source.SEARCH


def test_arrival_that_has_its_row_is_not_missed(
    app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture
) -> None:
    """The search compares keys, and starts nothing again."""
    arrive(app, workspace)
    later(app, timedelta(minutes=2))
    tick(app)
    assert len(runs(workspace)) == 1
    assert "missed" not in log.text


def test_search_in_a_long_listing_goes_on_in_the_next_tick(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bounded number of pages a tick; the place is kept in the ledger."""
    for number in range(7):
        workspace.upload(f"income/us/{number}.csv", "a\n1\n")
    feed, ahead = search.Finder.feed, [timedelta(minutes=2)]

    def slow(finder: search.Finder, page: datastores.Page) -> None:
        feed(finder, page)
        ahead[0] += timedelta(seconds=33)  # longer than the search has in one tick
        later(app, ahead[0])

    monkeypatch.setattr(search.Finder, "feed", slow)
    monkeypatch.setattr(listing, "PAGE", 2)
    later(app, ahead[0])
    counts = []
    for _ in range(4):
        tick(app)
        counts.append(len(runs(workspace)))
    assert counts == [2, 4, 6, 7]


def test_search_finds_nothing_that_is_older_than_the_rule(app: App, workspace: LocalWorkspace) -> None:
    """A full container and a new rule: nothing starts, tick after tick."""
    workspace.upload("income/us/old.csv", "a\n1\n")
    app.memory.since["income-files"] = datetime.now(UTC) + timedelta(hours=1)
    later(app, timedelta(hours=2))
    tick(app)
    tick(app)
    assert runs(workspace) == []


def test_container_that_is_not_there_yet(app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture) -> None:
    """Nothing to find, and nothing to complain about."""
    with container_client("TrainingStorage", "not-there-yet") as container:
        tick(App(app.settings, app.ledger, {"training": Datastore("training", container)}, app.endpoints))
    assert "failed" not in log.text


def test_storage_that_fails_in_one_step_does_not_stop_the_tick(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """The step is logged and tried again; the others are done."""

    def fails(*_: object, **__: object) -> Any:
        raise StorageError("Ledger table 't', open work: 503")

    workspace.upload("income/us/missed.csv", "a\n1\n")
    later(app, timedelta(minutes=2))
    monkeypatch.setattr(app.ledger, "open", fails)
    tick(app)
    assert "open_work_failed rule=income-files" in log.text
    assert len(runs(workspace)) == 1
