"""What changes while work is open, beside retrain.toml: roles that come late, sick neighbours, runs that are gone, odd
and large things, long queues, old rows. Requests are counted at the servers, or where they leave for storage.
"""

import contextlib
import itertools
import logging
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.data.tables import UpdateMode

from local import azurite
from shared.app import App, build
from shared.errors import StorageError
from shared.flow import enter, search
from shared.flow.arrive import act
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger import watch
from shared.ledger.entries import NEVER, Entry, State, entry_of, history_columns, history_key, open_columns
from shared.operate import status
from shared.pipelines import calls
from shared.rules.arrival import Source
from shared.rules.match import match
from shared.rules.rule import Rule
from shared.settings.model import Pipeline
from shared.storage.accounts import _Transport
from shared.storage.datastores import Datastore, Page
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.waiting import until

RULE = samples.RULE.name
GRACE = timedelta(minutes=10)

pytestmark = pytest.mark.usefixtures("empty_container")


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The application's own log."""
    caplog.set_level(logging.INFO, "retrain")
    return caplog


class Clock:
    """The real time, moved on."""

    def __init__(self, app: App) -> None:
        self.ahead = timedelta()
        app.prepare()
        app.ledger.now = self

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def on(self, **by: float) -> None:
        """Move it on."""
        self.ahead += timedelta(**by)


@pytest.fixture
def clock(app: App) -> Clock:
    """The app's clock."""
    return Clock(app)


def with_rules(app: App, *rules: Rule, **pipelines: Pipeline) -> App:
    """Return the app with other rules, and further pipelines."""
    settings = msgspec.structs.replace(app.settings, rules=rules, pipelines={**app.settings.pipelines, **pipelines})
    made = App(settings, app.ledger, app.datastores, app.endpoints)
    made.prepare()
    return made


def arrive(app: App, workspace: LocalWorkspace, path: str, *faults: dict[str, Any]) -> Entry:
    """Let a new file arrive while the endpoint answers with `faults`."""
    workspace.upload(path, f"a\n{uuid.uuid4()}\n")
    if faults:
        workspace.control("POST", "faults", [{"on": "submit", **fault} for fault in faults])
    [entry] = [outcome.entry for outcome in deliver(app, "training", path, Source.BLOB_EVENT) if outcome.entry]
    return entry


def now_at(app: App, entry: Entry) -> Entry:
    """Return the entry as the ledger has it now."""
    row = app.ledger.get(entry.key, [entry.rule])
    assert row is not None
    return row.entry


def states(app: App, rule: str = RULE) -> Counter[str]:
    """Return how many entries are in each state."""
    return Counter(str(entry.state) for entry in app.ledger.history(rule, 5000))


def keys(workspace: LocalWorkspace) -> list[str]:
    """Return the keys of the runs that were accepted."""
    return [run["body"]["Properties"]["retrain.key"] for run in workspace.control("GET", "runs")]


@contextlib.contextmanager
def counted(workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count requests: those that leave for storage, and those that the workspace has received."""
    found, send = Counter[str](), _Transport.send

    def counting(transport: _Transport, request: Any, **options: Any) -> Any:
        found["storage"] += 1
        return send(transport, request, **options)

    before = Counter(workspace.control("GET", "requests"))
    with monkeypatch.context() as patch:
        patch.setattr(_Transport, "send", counting)
        yield found
    received = Counter(workspace.control("GET", "requests")) - before
    found.update({name: count for name, count in received.items() if name != "token"})


def listings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count, from now on, what is listed below which prefix."""
    listed, pages = Counter[str](), Datastore.pages

    def counting(store: Datastore, prefix: str, marker: str) -> Iterator[Page]:
        listed[prefix] += 1
        return pages(store, prefix, marker)

    monkeypatch.setattr(Datastore, "pages", counting)
    return listed


def fill(app: App, state: State, count: int, **columns: Any) -> list[Entry]:
    """Write so many entries straight into the ledger, fifty a transaction."""
    now, made = app.ledger.now(), list[Entry]()
    for number in range(count):
        written = samples.WRITTEN + timedelta(seconds=number)
        request = samples.retrain_request(path=f"income/us/filled-{number}.csv", last_modified=written)
        more = {name: value(number) if callable(value) else value for name, value in columns.items()}
        made.append(entry_of(request, state, uuid.uuid4().hex, now, **more))
    for start in range(0, count, 50):
        rows = [
            row for entry in made[start : start + 50] for row in (history_columns(entry, True), open_columns(entry))
        ]
        app.ledger.table.submit_transaction([("create", row) for row in rows])
    return made


# A role that comes late, an endpoint that takes nothing


def test_role_that_comes_late(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """Thirty arrivals wait and are told of; one is asked at a time; with the role all become runs, one each."""
    workspace.control("POST", "settings", {"role": "reader"})
    with counted(workspace, monkeypatch) as found:
        for number in range(30):
            arrive(app, workspace, f"income/us/{number}.csv")
    assert states(app) == {"deferred": 30}
    assert found["submit"] == 1
    told = status.status(app)
    [blocked] = told.blocked
    assert (blocked.waiting, blocked.version) == (30, "1")
    assert blocked.cause.startswith("403 ")
    assert told.open == {RULE: 30}
    with counted(workspace, monkeypatch) as found:
        for _ in range(10):
            clock.on(minutes=1)
            tick(app)
    assert found["submit"] <= 5
    workspace.control("POST", "settings", {"role": "contributor"})
    clock.on(minutes=16)
    tick(app)
    tick(app)
    assert states(app) == {"submitted": 30}
    assert len(set(keys(workspace))) == len(keys(workspace)) == 30
    assert status.status(app).blocked == []


def test_what_nobody_takes_for_a_week_is_refused(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """With the whole story: since when, how often, the last answer; the probe and all that waited behind it."""
    workspace.control("POST", "settings", {"role": "reader"})
    entries = [arrive(app, workspace, f"income/us/{number}.csv") for number in range(3)]
    clock.on(days=6, hours=23)
    tick(app)
    assert states(app) == {"deferred": 3}
    clock.on(hours=2)
    tick(app)
    assert states(app) == {"refused": 3}
    reason = now_at(app, entries[0]).reason
    assert reason.startswith("Not taken since ")
    assert "403 " in reason


def test_odd_request_does_not_stand_for_the_others(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """One that alone is answered 404 again and again is not the only one that is tried."""
    fault = {"kind": "status", "status": 404}
    odd, other = arrive(app, workspace, "income/us/odd.csv", fault), arrive(app, workspace, "income/us/b.csv")
    assert (odd.state, other.state) == (State.DEFERRED, State.DEFERRED)
    clock.on(minutes=2)
    workspace.control("POST", "faults", [{"on": "submit", **fault}])
    tick(app)
    clock.on(minutes=3)
    tick(app)
    assert states(app)["submitted"] >= 1


def test_throttling_endpoint_is_asked_once_a_tick(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 rows that were throttled are one question."""
    target = app.settings.pipelines["income"].target
    now = app.ledger.now()
    fill(app, State.DEFERRED, 24, target=target, version="1", tries=1, sent_at=now, due_at=now, deferred_since=now)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "times": 99}])
    with counted(workspace, monkeypatch) as found:
        tick(app)
    assert found["submit"] == 1


# A sick neighbour


def test_endpoint_that_hangs_keeps_no_other_waiting(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs at one endpoint that does not answer, and a hundred at another: all of these are looked at in one tick."""
    monkeypatch.setattr(calls, "READ_LIMITS", (1, 1))
    workspace.control("POST", "settings", {"engine": "instant"})
    other = workspace.control("POST", "endpoints", {"name": "sick", "versions": 2})
    sick = msgspec.structs.replace(app.settings.pipelines["income"], url=other["url"])
    rule = samples.changed(name="sick", pipeline="sick", path="sick/*.csv")
    both = with_rules(app, samples.RULE, rule, sick=sick)
    for number in range(12):
        arrive(both, workspace, f"sick/{number}.csv")
    for number in range(100):
        arrive(both, workspace, f"income/us/{number}.csv")
    hangs = [
        {"on": on, "kind": "delay", "delay_s": 5, "times": 50, "endpoint": other["id"]} for on in ("list", "status")
    ]
    workspace.control("POST", "faults", hangs)
    with counted(workspace, monkeypatch) as found:
        tick(both)
    assert states(both) == {"finished": 100}
    assert states(both, "sick") == {"submitted": 12}
    assert found["list"] + found["status"] <= 3


def test_list_that_fails_is_read_once_a_tick(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows ask; runs are then read one by one, since that works."""
    for number in range(8):
        arrive(app, workspace, f"income/us/{number}.csv")
    for number in range(4):
        arrive(app, workspace, f"income/us/lost-{number}.csv", {"kind": "drop"})
    workspace.control("POST", "faults", [{"on": "list", "kind": "status", "status": 500, "times": 99}])
    clock.on(minutes=11)
    with counted(workspace, monkeypatch) as found:
        tick(app)
    assert (found["list"], found["status"], found["history"]) == (1, 8, 0)


def test_submission_that_hangs_holds_up_its_own_lane_only(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for another endpoint is sent in the same tick; and the sick one is asked twice at most."""
    app.endpoints.limits = msgspec.structs.replace(app.endpoints.limits, read_s=0.5)
    other = workspace.control("POST", "endpoints", {"name": "sick", "versions": 2})
    sick = msgspec.structs.replace(app.settings.pipelines["income"], url=other["url"])
    rule = samples.changed(name="sick", pipeline="sick", path="sick/*.csv")
    both = with_rules(app, samples.RULE, rule, sick=sick)
    for number in range(10):
        enter.queued(both, samples.retrain_request(path=f"income/us/{number}.csv"))
        enter.queued(both, samples.retrain_request(rule="sick", path=f"income/sick/{number}.csv"))
    hangs = {"on": "submit", "kind": "drop", "delay_s": 3, "times": 50, "endpoint": other["id"]}
    workspace.control("POST", "faults", [hangs])
    tick(both)
    assert states(both) == {"submitted": 10}
    after = states(both, "sick")
    assert after["queued"] >= 5
    assert after["queued"] + after["uncertain"] == 10


# Runs that are gone, and what is too large


def test_run_that_is_gone_frees_its_place(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Somebody has deleted it: after an hour nobody waits for it any more, and the next one has its turn."""
    limited = with_rules(app, samples.changed(max_active=1))
    gone = arrive(limited, workspace, "income/us/1.csv")
    waits = arrive(limited, workspace, "income/us/2.csv")
    assert waits.state == State.QUEUED
    workspace.control("DELETE", f"runs/{gone.run_id}")
    tick(limited)
    assert now_at(limited, gone).state == State.SUBMITTED
    clock.on(minutes=61)
    tick(limited)
    lost = now_at(limited, gone)
    assert lost.state == State.LOST_SIGHT
    assert "404" in lost.reason
    assert now_at(limited, waits).state == State.SUBMITTED


def test_run_that_could_not_be_read_once(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """A week later, when it cannot be read once more, the first time does not count."""
    entry = arrive(app, workspace, "income/us/1.csv")
    tick(app)
    workspace.control("POST", "settings", {"list_lag_s": 10_000_000})  # it is in no list, and read by itself
    for _ in range(2):
        clock.on(hours=2)
        workspace.control("POST", "faults", [{"on": "status", "kind": "status", "status": 404}])
        tick(app)
        assert now_at(app, entry).unread_since > NEVER
        clock.on(hours=2)
        tick(app)
        assert now_at(app, entry).unread_since == NEVER
        clock.on(days=7)
    tick(app)
    assert now_at(app, entry).state == State.SUBMITTED


def test_endpoint_that_is_unreadable_for_days(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Sight of its runs is lost; what is uncertain there is held; not a day earlier."""
    run, lost = arrive(app, workspace, "income/us/1.csv"), arrive(app, workspace, "income/us/2.csv", {"kind": "drop"})
    workspace.control("POST", "settings", {"role": "none"})
    clock.on(minutes=11)
    tick(app)
    clock.on(days=2, hours=20)
    tick(app)
    assert (now_at(app, run).state, now_at(app, lost).state) == (State.SUBMITTED, State.UNCERTAIN)
    clock.on(hours=5)
    tick(app)
    assert (now_at(app, run).state, now_at(app, lost).state) == (State.LOST_SIGHT, State.HELD)


def test_error_text_that_is_longer_than_a_property(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """The run comes to its end; its reason is clipped."""
    entry = arrive(app, workspace, "income/us/1.csv")
    workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Failed", "error": "no column " * 20_000})
    tick(app)
    failed = now_at(app, entry)
    assert failed.state == State.FAILED
    assert len(failed.reason) == 4000


# Volume: requests are counted


def test_tick_with_a_thousand_open_runs(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is new: one list tells of all of them."""
    now, target = app.ledger.now(), app.settings.pipelines["income"].target
    request = samples.retrain_request()
    ids = []
    for _ in range(3):
        answer = app.endpoint(target).submit(request, target)
        ids.append(answer.run_id)  # type: ignore[union-attr]
    fill(
        app,
        State.SUBMITTED,
        1000,
        target=target,
        version="1",
        tries=1,
        sent_at=now,
        due_at=now,
        run_id=lambda number: ids[number % 3],
        run_status="NotStarted",
        pipeline_id=app.endpoint(target).pinned("1"),
    )
    workspace.control("POST", "settings", {"engine": "hold"})
    tick(app)  # what is learned and watched is found out once
    clock.on(minutes=2)
    with counted(workspace, monkeypatch) as found:
        tick(app)
    assert states(app) == {"submitted": 1000}
    assert (found["list"], found["status"], found["history"]) == (1, 0, 0)
    assert found["storage"] <= 8


def test_tick_with_a_long_queue_of_a_full_rule(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand wait: none of them is read. Nor is any when another arrives."""
    limited = with_rules(app, samples.changed(max_active=1))
    arrive(limited, workspace, "income/us/1.csv")
    fill(limited, State.QUEUED, 2000)
    tick(limited)
    clock.on(minutes=2)
    with counted(workspace, monkeypatch) as found:
        tick(limited)
    assert found["storage"] + found["list"] + found["status"] <= 10
    assert found["submit"] == 0
    workspace.upload("income/us/2.csv", "a\n2\n")
    with counted(workspace, monkeypatch) as found:
        deliver(limited, "training", "income/us/2.csv", Source.BLOB_EVENT)
    assert found == {"storage": 4}  # properties, gate, who is active and the first that waits, claim


def test_round_trips_of_an_arrival_and_of_a_duplicate(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Properties, claim, submit, record; and properties, claim."""
    arrive(app, workspace, "income/us/0.csv")
    workspace.upload("income/us/1.csv", "a\n1\n")
    with counted(workspace, monkeypatch) as found:
        deliver(app, "training", "income/us/1.csv", Source.BLOB_EVENT)
    assert found == {"storage": 3, "submit": 1}
    with counted(workspace, monkeypatch) as found:
        deliver(app, "training", "income/us/1.csv", Source.BLOB_EVENT)
    assert found == {"storage": 2}


def test_what_leaves_is_what_storage_receives(
    workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The counts of this file, taken from the log of the storage emulator itself."""
    log, target = tmp_path / "azurite.log", samples.settings(workspace.endpoint["url"])
    with azurite.start(log, logs_requests=True).child:
        text = azurite.connection_string(int(re.findall(r"Blob service.*:(\d+)", log.read_text())[0]))
        monkeypatch.setenv("TrainingStorage", text)
        monkeypatch.setenv("AzureWebJobsStorage", text)
        app = build(target)
        app.prepare()
        container = app.datastores["training"].container
        container.create_container()
        container.upload_blob("income/us/a.csv", b"a\n1\n")

        def received() -> int:
            return len(re.findall(r'" [1-5]\d\d ', log.read_text()))

        app.paused("income-files")  # read once in some seconds, not by each arrival
        with counted(workspace, monkeypatch) as found:
            before = received()
            deliver(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
            deliver(app, "training", "income/us/a.csv", Source.BLOB_EVENT)
        assert (found["storage"], found["submit"]) == (5, 1)
        until(lambda: received() == before + 5)
        app.close()


def test_turn_of_the_day_lets_a_caller_do_its_own_work_only(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """A queue that may go on is the timer's: a call is not answered late for it."""
    capped = with_rules(app, samples.changed(daily_cap=1))
    arrive(capped, workspace, "income/us/0.csv")
    fill(capped, State.QUEUED, 20)
    clock.on(days=1)
    late = arrive(capped, workspace, "income/us/late.csv")
    assert late.state == State.QUEUED
    assert len(keys(workspace)) == 1
    tick(capped)
    assert len(keys(workspace)) == 2


def test_admissions_at_once_never_exceed_the_limit(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Arrivals and timers together, while runs end: never more than two are active."""
    limited = with_rules(app, samples.changed(max_active=2))
    most = 0
    for round_ in range(4):

        def work(number: int, round_: int = round_) -> None:
            if number % 3 == 0:
                tick(limited)
            else:
                arrive(limited, workspace, f"income/us/{round_}-{number}.csv")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        active = limited.ledger.open(RULE).active
        most = max(most, len(active))
        for work_ in active:
            workspace.control("POST", f"runs/{work_.run_id}/status", {"status": "Finished"})
    assert most == 2


def test_missed_arrivals_are_queued_and_sent_by_the_pool(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Forty that nobody told of become runs, one each, in one tick."""
    for number in range(40):
        workspace.upload(f"income/us/{number}.csv", "a\n1\n")
    clock.on(minutes=2)
    tick(app)
    assert states(app) == {"submitted": 40}
    assert len(set(keys(workspace))) == 40


# The search


@pytest.fixture
def forty(app: App, clock: Clock) -> App:
    """The app with forty rules on one container."""
    return with_rules(app, *(samples.changed(name=f"r{number}", path=f"income/{number}/*.csv") for number in range(40)))


def test_container_is_listed_once_for_all_its_rules(
    forty: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finds what is its own."""
    for number in range(0, 40, 4):
        workspace.upload(f"income/{number}/a.csv", "a\n1\n")
    clock.on(minutes=2)
    listed = listings(monkeypatch)
    tick(forty)
    assert listed == {"income/": 1}
    assert len(keys(workspace)) == 10


def test_empty_pages_do_not_end_a_listing(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure may answer a page without blobs that has a continuation: what is behind it is found."""
    send, given = _Transport.send, []

    def with_empty_pages(transport: _Transport, request: Any, **options: Any) -> Any:
        response = send(transport, request, **options)
        if "comp=list" in request.url and "marker=" not in request.url:
            given.append(request.url)
            body = response.internal_response._content
            start, end = body.index(b"<Blobs>"), body.index(b"</Blobs>")
            name = b"<NextMarker>income/</NextMarker>"
            emptied = body[: start + 7] + body[end:]
            for old in (b"<NextMarker/>", b"<NextMarker />", b"<NextMarker></NextMarker>"):
                emptied = emptied.replace(old, name)
            assert name in emptied
            response.internal_response._content = emptied
            response.internal_response.headers["Content-Length"] = str(len(emptied))
        return response

    workspace.upload("income/us/missed.csv", "a\n1\n")
    clock.on(minutes=2)
    monkeypatch.setattr(_Transport, "send", with_empty_pages)
    tick(app)
    assert given
    assert len(keys(workspace)) == 1


def test_blob_that_cannot_be_entered_stops_no_other(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """The table refuses one row again and again: the older ones are found all the same."""
    for name in ("old", "odd", "new"):
        workspace.upload(f"income/us/{name}.csv", "a\n1\n")
    entered = app.ledger.enter

    def refuses(request: Any, *more: Any, **columns: Any) -> Any:
        if "odd" in request.arrival.path:
            raise StorageError("Ledger table 't', claim: 500 InternalError", 500)
        return entered(request, *more, **columns)

    monkeypatch.setattr(app.ledger, "enter", refuses)
    clock.on(minutes=2)
    tick(app)
    assert states(app) == {"submitted": 2}
    assert "not_entered_failed rule=income-files path=income/us/odd.csv" in log.text
    for _ in range(3):  # it is not left to the day's comparison, however often it is refused
        clock.on(hours=2)
        tick(app)
        assert states(app) == {"submitted": 2}
    monkeypatch.undo()
    clock.on(hours=2)
    tick(app)
    assert states(app) == {"submitted": 3}
    clock.on(hours=2)
    tick(app)
    found = watch.search_of(app.ledger, app.settings.place("training"))
    assert found is not None
    assert found.looked_from > clock() - timedelta(minutes=12)


def test_storage_that_fails_does_not_lose_the_page(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search goes on where it was, in the next tick."""
    workspace.upload("income/us/a.csv", "a\n1\n")
    clock.on(minutes=2)

    def fails(*_: Any, **__: Any) -> Any:
        raise StorageError("Ledger table 't', claim: 503 ServerBusy", 503)

    with monkeypatch.context() as patch:
        patch.setattr(app.ledger, "enter", fails)
        patch.setattr(app.ledger, "probe", fails)
        tick(app)
    assert "503" in str(status.status(app).search[0].fault)
    tick(app)
    assert len(keys(workspace)) == 1


def test_pass_that_is_broken_off_is_no_pass(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was broken off by: the next one looks at the same time once more."""
    tick(app)
    workspace.upload("income/us/a.csv", "a\n1\n")
    clock.on(minutes=12)

    def wrong(*_: Any) -> Any:
        clock.on(seconds=8)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(search.Finder, "feed", wrong)
        for _ in range(3):
            tick(app)
    assert "ZeroDivisionError" in str(status.status(app).search[0].fault)
    found = watch.search_of(app.ledger, app.settings.place("training"))
    assert found is not None
    assert found.quiet == 2  # the one that was done, and the one that is under way
    clock.on(minutes=12)
    tick(app)
    found = watch.search_of(app.ledger, app.settings.place("training"))
    assert found is not None
    assert found.rests_until < clock() + timedelta(minutes=10)  # what storage took to fail is no reason to rest
    assert len(keys(workspace)) == 1
    assert status.status(app).search[0].fault is None


def test_daily_comparison_finds_what_has_an_old_date(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """Renamed into place or undeleted: the dates are before what the search looks at, and no event was delivered."""
    tick(app)
    workspace.upload("income/us/renamed.csv", "a\n1\n")
    place = app.settings.place("training")
    found = watch.search_of(app.ledger, place)
    assert found is not None
    passed = msgspec.structs.replace(found, looked_from=clock() + timedelta(hours=1), rests_until=NEVER)
    watch.save_search(app.ledger, place, passed)
    clock.on(minutes=2)
    tick(app)
    assert keys(workspace) == []
    clock.on(days=1)
    tick(app)
    assert len(keys(workspace)) == 1


@pytest.fixture
def passes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """When each pass of the search began; one costs ten seconds."""
    feed, begun = search.Finder.feed, list[datetime]()

    def slow(finder: search.Finder, page: Page) -> None:
        begun.append(clock())
        feed(finder, page)
        clock.on(seconds=10)

    monkeypatch.setattr(search.Finder, "feed", slow)
    return begun


def minutes(passes: list[datetime]) -> list[int]:
    """Return how far apart they are."""
    return [round((later - earlier) / timedelta(minutes=1)) for earlier, later in itertools.pairwise(passes)]


def test_search_rests_in_proportion_to_its_cost_and_twice_as_long_while_nothing_is_missed(
    app: App, clock: Clock, passes: list[datetime]
) -> None:
    """Twenty minutes for ten seconds; forty after a pass that found nothing, and so on up to four hours.

    But everything is compared once a day.
    """
    while len(passes) < 9:
        tick(app)
        clock.on(minutes=4)
    expected = (40, 80, 160, 240, 240, 240, 240)
    assert minutes(passes)[:7] == [pytest.approx(one, abs=5) for one in expected]
    assert passes[8] - passes[0] == pytest.approx(timedelta(days=1), abs=timedelta(minutes=5))


def test_search_looks_more_often_again_when_something_was_missed(
    app: App, workspace: LocalWorkspace, clock: Clock, passes: list[datetime]
) -> None:
    """Whoever loses one event may lose the next: the rest is the shortest, then grows again."""
    while len(passes) < 3:
        tick(app)
        clock.on(minutes=4)
    place = app.settings.place("training")
    found = watch.search_of(app.ledger, place)
    assert found is not None
    workspace.upload("income/us/1.csv", "a\n1\n")  # it has the storage's time, long ago by the app's clock
    watch.save_search(app.ledger, place, msgspec.structs.replace(found, looked_from=NEVER))
    while len(passes) < 6:
        tick(app)
        clock.on(minutes=4)
    assert len(keys(workspace)) == 1
    assert minutes(passes) == [pytest.approx(expected, abs=5) for expected in (40, 80, 160, 20, 40)]


def test_pattern_that_changes_goes_on_from_where_the_search_had_come(
    app: App, workspace: LocalWorkspace, clock: Clock
) -> None:
    """What came while the rule was being edited is found; what is older than the search had come starts nothing."""
    tick(app)
    clock.on(minutes=30)
    tick(app)  # the search has come far beyond what is uploaded now, by the clock of the storage
    workspace.upload("other/old.csv", "a\n1\n")
    edited = with_rules(app, samples.changed(path="other/*.csv"))
    assert edited.memory.since[RULE] > app.memory.since[RULE]
    tick(edited)
    clock.on(minutes=30)
    tick(edited)
    assert keys(workspace) == []


# Folders


def folder_rule(**settle: Any) -> Rule:
    """Return a rule that takes folders."""
    data_path = msgspec.structs.replace(samples.RULE.data_path, grain="folder")
    return msgspec.convert({**msgspec.to_builtins(samples.changed(data_path=data_path)), "settle": settle}, Rule)


def test_marker_completes_one_content(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """The next job's parts wait for the next marker: two jobs are two runs, on whole contents."""
    marked = with_rules(app, folder_rule(marker="_SUCCESS"))
    for job in range(2):
        for part in range(3):
            workspace.upload(f"income/us/{job}-{part}.csv", "a\n1\n")
            deliver(marked, "training", f"income/us/{job}-{part}.csv", Source.BLOB_EVENT)
            clock.on(minutes=10)
            tick(marked)
        assert len(keys(workspace)) == job
        workspace.upload("income/us/_SUCCESS", "")
        deliver(marked, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
        tick(marked)
        assert len(keys(workspace)) == job + 1
    assert "a newer marker" not in str(status.status(marked).waiting.settling)


def test_folder_that_waits_is_looked_at_less_and_less_and_told_of(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job has failed: not at each tick for ever; and what is missing stands in the status."""
    marked = with_rules(app, folder_rule(marker="_SUCCESS"))
    workspace.upload("income/us/a.csv", "a\n1\n")
    deliver(marked, "training", "income/us/a.csv", Source.BLOB_EVENT)
    listed = listings(monkeypatch)
    for _ in range(120):
        clock.on(minutes=1)
        tick(marked)
    assert listed["income/us/"] <= 8
    [waiting] = status.status(marked).waiting.settling
    assert waiting.missing == "the marker '_SUCCESS'"
    workspace.upload("income/us/_SUCCESS", "")
    [outcome] = deliver(marked, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
    assert outcome.entry is not None


def test_files_of_a_complete_folder_that_are_told_of_again(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They belong to its run: one look for all of them, later, and nothing starts. The marker alone is no news."""
    marked = with_rules(app, folder_rule(marker="_SUCCESS"))
    names = [f"income/us/{number}.csv" for number in range(12)]
    old = [samples.arrival(name, last_modified=samples.WRITTEN, source=Source.BLOB_EVENT) for name in names]
    for name in names:
        workspace.upload(name, "a\n1\n")
        deliver(marked, "training", name, Source.BLOB_EVENT)
    workspace.upload("income/us/_SUCCESS", "")
    deliver(marked, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
    assert len(keys(workspace)) == 1
    listed = listings(monkeypatch)
    [outcome] = deliver(marked, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
    assert outcome.skip is not None
    assert status.status(marked).settling == {}
    for arrival in old:
        act(marked, match(marked.settings.rules, arrival, {}), arrival)
        tick(marked)
    assert "income/us/" not in listed
    clock.on(minutes=11)
    tick(marked)
    assert listed["income/us/"] == 1
    assert status.status(marked).settling == {}
    assert len(keys(workspace)) == 1


def test_file_with_an_old_date_that_is_renamed_into_a_complete_folder(
    app: App, workspace: LocalWorkspace, clock: Clock
) -> None:
    """It looks like one that was started on already, and is not: the folder's content is another one."""
    quiet = with_rules(app, folder_rule(quiet="1m"))
    workspace.upload("income/us/a.csv", "a\n1\n")
    deliver(quiet, "training", "income/us/a.csv", Source.BLOB_EVENT)
    clock.on(minutes=2)
    tick(quiet)
    assert len(keys(workspace)) == 1
    workspace.upload("income/us/b.csv", "a\n1\n")
    renamed = samples.arrival("income/us/b.csv", last_modified=samples.WRITTEN, source=Source.BLOB_EVENT)
    act(quiet, match(quiet.settings.rules, renamed, {}), renamed)
    clock.on(minutes=15)
    tick(quiet)
    assert len(keys(workspace)) == 2


def test_marker_with_thousands_of_folders_reads_its_own(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred other folders gather: the one of the marker is a point read."""
    marked = with_rules(app, folder_rule(marker="_SUCCESS"))
    for number in range(300):
        arrival = samples.arrival(f"income/{number}/a.csv", source=Source.BLOB_EVENT)
        act(marked, match(marked.settings.rules, arrival, {}), arrival)
    workspace.upload("income/us/a.csv", "a\n1\n")
    deliver(marked, "training", "income/us/a.csv", Source.BLOB_EVENT)
    workspace.upload("income/us/_SUCCESS", "")
    marked.memory.pauses = (marked.ledger.now(), {})  # read once in some seconds, not by each arrival
    with counted(workspace, monkeypatch) as found:
        deliver(marked, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
    # Properties, the folder's row changed and read, the listing, what completed it before, claim, record, forgotten.
    assert found == {"storage": 8, "submit": 1}


def test_folder_that_is_written_steadily_starts_once_a_max_wait(
    app: App, workspace: LocalWorkspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each tick after the first max_wait is over."""
    steady = with_rules(app, folder_rule(quiet="5m", max_wait="1h"))
    queued = enter.queued

    def meanwhile(app_: App, request: Any, *reason: str) -> Any:
        workspace.upload("income/us/late.csv", f"a\n{uuid.uuid4()}\n")
        deliver(app_, "training", "income/us/late.csv", Source.BLOB_EVENT)
        return queued(app_, request, *reason)

    monkeypatch.setattr(enter, "queued", meanwhile)
    for number in range(100):
        workspace.upload(f"income/us/{number}.csv", "a\n1\n")
        deliver(steady, "training", f"income/us/{number}.csv", Source.BLOB_EVENT)
        clock.on(minutes=2)
        tick(steady)
    assert 2 <= len(keys(workspace)) <= 4


def test_file_that_is_written_in_steps_is_one_run(app: App, workspace: LocalWorkspace, clock: Clock) -> None:
    """With `settle = { quiet = "30s" }` on a rule of files: the last version counts."""
    quiet = with_rules(
        app, samples.changed(settle=msgspec.convert({"quiet": "30s"}, type(folder_rule(quiet="30s").settle)))
    )
    for step in range(3):
        workspace.upload("income/us/a.csv", "a\n" * (step + 1))
        deliver(quiet, "training", "income/us/a.csv", Source.BLOB_EVENT)
        clock.on(seconds=20)
        tick(quiet)
    assert keys(workspace) == []
    clock.on(seconds=40)
    tick(quiet)
    tick(quiet)
    assert len(keys(workspace)) == 1
    assert status.status(quiet).settling == {}


# Rows of other versions


LAYOUT_1 = {
    "waiting, not let in": {"State": "waiting", "Tries": 0, "SentAt": None},
    "waiting, throttled": {"State": "waiting", "Tries": 1},
    "sending": {"State": "sending", "Tries": 1},
    "uncertain": {"State": "uncertain", "Tries": 1},
    "submitted": {"State": "submitted", "Tries": 1},
}


@pytest.mark.parametrize("state", LAYOUT_1)
def test_row_of_layout_1_comes_to_its_end(app: App, workspace: LocalWorkspace, clock: Clock, state: str) -> None:
    """Written by the version before: it is read, completed with where it was sent, and brought to its end, once."""
    workspace.control("POST", "settings", {"engine": "instant"})
    request, now = samples.retrain_request(), app.ledger.now()
    target = app.settings.pipelines["income"].target
    accepted = app.endpoint(target).submit(request, target) if state in ("sending", "uncertain", "submitted") else None
    text = msgspec.json.encode({**msgspec.to_builtins(request), "version": "1"}).decode()
    history = {
        "PartitionKey": RULE,
        "RowKey": history_key(request.key),
        "Key": request.key,
        "Change": uuid.uuid4().hex,
        "Request": text,
        "Rule": RULE,
        "Datastore": "training",
        "Path": request.arrival.path,
        "DataPath": request.data_path.path,
        "Pipeline": "income",
        "Endpoint": target.place,
        "Version": "1",
        "Attempt": 1,
        "Source": "reconcile",
        "ClaimedAt": now,
        "ChangedAt": now,
        "DueAt": now,
        "SentAt": now,
        "Reason": "",
        "RunId": accepted.run_id if accepted and state == "submitted" else "",  # type: ignore[union-attr]
        "RunUrl": "",
        "RunStatus": "",
        "PipelineId": "",
        "Redriven": "",
        "Layout": 1,
        **LAYOUT_1[state],
    }
    opened = {name: history[name] for name in ("PartitionKey", "State", "Tries", "Layout", "DueAt")}
    app.ledger.table.submit_transaction([("create", history), ("create", {**opened, "RowKey": f"o|{request.key}"})])
    for _ in range(5):
        clock.on(minutes=11)
        tick(app)
    row = app.ledger.get(request.key, [RULE])
    assert row is not None
    assert row.entry.state == State.FINISHED, row.entry
    assert row.entry.layout == 2
    assert len(keys(workspace)) == 1
    assert samples.open_states(app.ledger) == {}


def test_uncertain_row_of_layout_1_that_does_not_say_where_it_went(
    app: App, workspace: LocalWorkspace, clock: Clock
) -> None:
    """It may have been accepted anywhere: it is held, and never let go on by itself."""
    request, now = samples.retrain_request(), app.ledger.now()
    entry = entry_of(request, State.UNCERTAIN, uuid.uuid4().hex, now, sent_at=now, tries=1, version="1")
    rows = [
        {**history_columns(entry, True), "Layout": 1, "Target": ""},
        {"PartitionKey": RULE, "RowKey": f"o|{request.key}", "State": "uncertain", "Tries": 1, "Layout": 1},
    ]
    app.ledger.table.submit_transaction([("create", row) for row in rows])
    for _ in range(5):
        clock.on(minutes=11)
        tick(app)
    row = app.ledger.get(request.key, [RULE])
    assert row is not None
    assert (row.entry.state, keys(workspace)) == (State.HELD, [])


def test_state_of_a_newer_version_is_left_alone(
    app: App, workspace: LocalWorkspace, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    """It is named in the log, and nothing is done to it; the others go on."""
    odd, sound = samples.retrain_request(), arrive(app, workspace, "income/us/a.csv")
    enter.queued(app, odd)
    change = {"PartitionKey": RULE, "RowKey": f"q|{odd.key}", "State": "dreaming", "Layout": 9}
    app.ledger.table.update_entity(change, mode=UpdateMode.MERGE)
    workspace.control("POST", f"runs/{sound.run_id}/status", {"status": "Finished"})
    clock.on(minutes=11)
    tick(app)
    assert now_at(app, sound).state == State.FINISHED
    assert f"q|{odd.key}" in log.text
    assert app.ledger.table.get_entity(RULE, f"q|{odd.key}")["State"] == "dreaming"


@pytest.mark.parametrize("announced", [True, False])
def test_search_tells_folders_that_gather_from_those_that_nobody_told_of(
    app: App, workspace: LocalWorkspace, clock: Clock, announced: bool
) -> None:
    """What is waited for is not missed: it is no reason to look more often."""
    made = with_rules(app, folder_rule(quiet="2h", max_wait="6h"))
    workspace.upload("income/us/a.csv", "a\n1\n")
    if announced:
        deliver(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    clock.on(minutes=2)
    tick(made)
    found = watch.search_of(made.ledger, made.settings.place("training"))
    assert found is not None
    assert found.quiet == (1 if announced else 0)
