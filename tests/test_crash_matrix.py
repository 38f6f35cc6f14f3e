"""The core promise, step by step: whatever strikes at whichever step of an arrival's way, it has exactly one run.

Every cell is a step and a fault. A worker process of its own (crash_worker.py) is killed, fails, meets faults of
storage or of the endpoint, or stands still while another delivery or a newer version of the data overtakes it. Then
comes what the platform would do: the delivery once more, and ticks of the timer, until nothing is open. The judge is
what the workspace has accepted. `./retrain matrix` prints the table.
"""

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from azure.core.exceptions import ResourceExistsError

from shared import identity
from shared.app import App, build
from shared.errors import ConflictError
from shared.flow import enter
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger import learned
from shared.ledger.entries import Entry, Row, State, Work
from shared.ledger.table import Ledger
from shared.operate.redrive import redrive
from shared.rules.arrival import Source
from shared.rules.decision import RetrainRequest
from shared.rules.match import match
from shared.storage.accounts import table_client
from tests.crash_worker import Action, Ended, Job, Site
from tests.fixtures_workspace import ROOT, LocalWorkspace

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked, and killed with SIGKILL")

RULE = "income-files"
STEP = timedelta(minutes=11)  # of the clock, from tick to tick: longer than the grace period


class Worker:
    """The process that forks workers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, job: Job, meanwhile: Callable[[], None] | None = None) -> Ended:
        """Have a job done; `meanwhile` happens while the worker stands still at its point."""
        self._write(msgspec.json.encode(job).decode())
        answer = self._read()
        if "reached" in answer:
            assert meanwhile is not None
            try:
                meanwhile()
            finally:
                self._write("go on")
                answer = self._read()
        return msgspec.convert(answer["ended"], Ended)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks workers has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


class Parts(NamedTuple):
    """What all cells share: connections that are warm."""

    app: App
    worker: Worker
    storage: str


@pytest.fixture(scope="module")
def parts(storage: str, workspace_process: LocalWorkspace) -> Iterator[Parts]:
    """The application of this process, and the process that forks workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TrainingStorage", storage)
        patch.setenv("AzureWebJobsStorage", storage)
        patch.setenv("IDENTITY_ENDPOINT", workspace_process.info["identity_endpoint"])
        patch.setenv("IDENTITY_HEADER", workspace_process.info["identity_header"])
        identity.credential.cache_clear()
        app = build(Site(url=workspace_process.endpoint["url"], table="unused", folder="unused").settings())
        with contextlib.suppress(ResourceExistsError):  # made by other tests
            app.datastores["training"].container.create_container()
        command = [sys.executable, "-m", "tests.crash_worker"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
            yield Parts(app, Worker(process), storage)
        app.close()
    identity.credential.cache_clear()


class Scene:
    """One arrival with a ledger and a folder of its own, the clock, and what is done to it."""

    def __init__(
        self, parts: Parts, workspace: LocalWorkspace, on_uncertain: Any = "auto", url: str | None = None
    ) -> None:
        name = f"c{uuid.uuid4().hex}"
        self.worker, self.workspace, self.path = parts.worker, workspace, f"{name}/a.csv"
        self.site = Site(url=url or workspace.endpoint["url"], table=name, folder=name, on_uncertain=on_uncertain)
        self.ahead, self.versions = timedelta(), 0
        ledger = Ledger(table_client("S", name, {"S": parts.storage}), lambda: datetime.now(UTC) + self.ahead)
        self.app = App(self.site.settings(), ledger, parts.app.datastores, parts.app.endpoints)
        ledger.table.create_table()
        self.app.prepare()
        workspace.control("POST", "settings", {"engine": "instant"})

    def learn(self, given_back: bool = True) -> None:
        """This pipeline was seen to give keys back, or to refuse a second job of a name: what makes absence certain."""
        target = self.app.settings.pipelines["income"].target
        learned.learn(self.app.ledger, self.app.endpoint(target).evidence, target.place, given_back, "an earlier run")

    def upload(self) -> None:
        """Write the file, or overwrite it."""
        self.versions += 1
        self.app.datastores["training"].container.upload_blob(self.path, f"version {self.versions}\n", overwrite=True)

    def order(self, kind: str, **more: Any) -> None:
        """Have the workspace misbehave at the next submission."""
        self.workspace.control("POST", "faults", [{"on": "submit", "kind": kind, **more}])

    def arrive(self) -> Entry | None:
        """Deliver the event of the file, as it is now."""
        [outcome] = deliver(self.app, "training", self.path, Source.BLOB_SCAN)
        return outcome.entry

    def request(self) -> RetrainRequest:
        """Return what the arrival is decided to start."""
        arrival = self.app.datastores["training"].look(self.path, Source.WEBHOOK)
        [decision] = match(self.app.settings.rules, arrival, {})
        assert isinstance(decision, RetrainRequest)
        return decision

    def claim(self) -> RetrainRequest:
        """Claim the arrival, as a worker that died right afterwards."""
        request = self.request()
        assert isinstance(enter.to_send(self.app, request), Row)
        return request

    def act(self, action: Action) -> None:
        """Do what a worker does, in this process; where the application raises, the platform comes again."""
        try:
            action.do(self.app)
        except ConflictError:
            assert action.name == "redrive"  # an operator is told that somebody was first

    def entries(self) -> list[Entry]:
        """Return all requests."""
        return self.app.ledger.history(RULE, 100)

    def runs(self) -> list[dict[str, Any]]:
        """Return what the workspace accepted."""
        accepted: list[dict[str, Any]] = self.workspace.control("GET", "runs")
        return accepted

    def await_run(self) -> None:
        """Wait until the workspace has accepted what a worker sent before its end."""
        self.workspace.child.wait_until(lambda: bool(self.runs()))

    def settle(self) -> None:
        """Let the timer tick until nothing is open."""
        for _ in range(6):
            self.ahead += STEP
            tick(self.app)
            if not self.open():
                break

    def open(self) -> list[Work]:
        """Return what is the app's turn: not what is held for a person."""
        work = self.app.ledger.open(RULE)
        return [*work.active, *work.queued]

    def judge(self, expected: int = 1, beside: Sequence[State] = ()) -> None:
        """Compare the ledger with what the workspace accepted: `expected` runs, one a key, each at its end.

        `beside` are the other ends that entries may have come to.
        """
        keys, runs, entries = list[str](), dict[str, str](), self.entries()
        for run in self.runs():
            body = run["body"]
            keys.append((body.get("Properties") or body["properties"]["properties"])["retrain.key"])
            runs[keys[-1]] = run["run_id"]
        finished = {entry.key: entry.run_id for entry in entries if entry.state == State.FINISHED}
        others = {entry.state for entry in entries} - {State.FINISHED}
        assert sorted(keys) == sorted(runs), "a key was submitted twice"
        assert finished == runs
        assert others <= set(beside)
        assert len(runs) == expected
        assert self.open() == []


@pytest.fixture
def scene(parts: Parts, workspace: LocalWorkspace) -> Scene:
    """A scene whose pipeline gives keys back, as was seen."""
    made = Scene(parts, workspace)
    made.learn()
    return made


# The ways of an arrival: how each begins, and its steps.


def _arrival(scene: Scene) -> Action:
    scene.upload()
    return Action(name="arrive", path=scene.path)


def _event(scene: Scene) -> Action:
    scene.upload()
    return Action(name="event", path=scene.path)


def _deferred(scene: Scene) -> Action:
    scene.upload()
    scene.order("status", status=429, retry_after=300)
    return _left_as(scene, State.DEFERRED)


def _sending_absent(scene: Scene) -> Action:
    scene.upload()
    scene.claim()
    return Action(name="tick")


def _sending_found(scene: Scene) -> Action:
    scene.upload()
    target = scene.app.settings.pipelines["income"].target
    scene.app.endpoint(target).submit(scene.claim(), target)
    return Action(name="tick")


def _uncertain_absent(scene: Scene) -> Action:
    scene.upload()
    scene.order("drop")
    return _left_as(scene, State.UNCERTAIN)


def _uncertain_found(scene: Scene) -> Action:
    scene.upload()
    scene.order("accept_then_drop")
    return _left_as(scene, State.UNCERTAIN)


def _run(scene: Scene) -> Action:
    scene.upload()
    return _left_as(scene, State.SUBMITTED)


def _missed(scene: Scene) -> Action:
    scene.upload()
    return Action(name="tick")


def _poison(scene: Scene) -> Action:
    scene.upload()
    return Action(name="bury", path=scene.path, etag=scene.request().arrival.etag)


def _event_poison(scene: Scene) -> Action:
    scene.upload()
    return Action(name="bury_event", path=scene.path, etag=scene.request().arrival.etag)


def _redrive(scene: Scene) -> Action:
    scene.upload()
    scene.order("status", status=400)
    entry = scene.arrive()
    assert entry is not None
    assert entry.state == State.REFUSED
    return Action(name="redrive", key=entry.key)


def _left_as(scene: Scene, state: State) -> Action:
    entry = scene.arrive()
    assert entry is not None
    assert entry.state == state
    return Action(name="tick")


class Way(NamedTuple):
    """A part of an arrival's way: how it begins, and its steps in order."""

    begin: Callable[[Scene], Action]
    points: tuple[str, ...]


WAYS = {
    "arrival": Way(_arrival, ("received", "properties", "claimed", "sent", "answered", "recorded")),
    "event by queue": Way(_event, ("received", "properties", "claimed", "sent", "answered", "recorded")),
    "deferred": Way(_deferred, ("picked", "marked", "sent", "answered", "recorded")),
    # From here on the submission goes as in the two above, in the same code: once it is sent, that is enough.
    "sending, not found": Way(_sending_absent, ("looked", "marked", "sent")),
    "sending, found": Way(_sending_found, ("looked", "recorded")),
    "uncertain, not found": Way(_uncertain_absent, ("looked", "marked", "sent")),
    "uncertain, found": Way(_uncertain_found, ("looked", "recorded")),
    "run": Way(_run, ("read", "recorded")),
    "missed": Way(_missed, ("listed", "claimed", "searched", "picked", "marked", "sent", "answered", "recorded")),
    "poison": Way(_poison, ("received", "properties", "claimed", "sent", "buried")),
    "poison of events": Way(_event_poison, ("received", "buried")),  # the rest is the same code
    "redrive": Way(_redrive, ("received", "properties", "claimed", "sent", "noted")),
}

FAULTS = ("kill", "exception", "5xx", "5xx-done", "cut-done", "timeout-done", "timeout-not", "duplicate", "disorder")
"""What strikes when a step has been done (`received`: when it is about to begin):

kill, exception            the worker is ended by SIGKILL; an exception that nobody expects
5xx, 5xx-done, cut-done    the service that the step asks (storage; the endpoint when sending or looking) does nothing
                           and answers 503; does as asked and answers 503, once; does so and cuts the connection
timeout-done, timeout-not  the endpoint does not answer in time; it has accepted the submission, or not
duplicate                  the same delivery, tick or operator overtakes the worker at this step
disorder                   the data is overwritten and its new event overtakes; then the old event comes again
"""
READING = {"properties": "", "listed": "", "picked": "", "looked": "list", "read": "list"}
READING["read of a batch endpoint"] = READING["read of a component"] = "list"
"""The steps that only read: at storage, or at the endpoint with this kind of call."""


def left_out(point: str, fault: str) -> str:
    """Return why a fault makes no sense at a step; empty when it does."""
    if fault.startswith("timeout") and point != "sent":
        return "no submission is under way"
    if fault in ("5xx", "5xx-done", "cut-done") and point in ("received", "answered"):
        return "no service is asked in this step"
    if fault in ("5xx-done", "cut-done") and point in READING:
        return "reading changes nothing: an answer that is lost is like one that was not given"
    return ""


ALL = [(way, point, fault) for way, (_, points) in WAYS.items() for point in points for fault in FAULTS]
CELLS = [
    pytest.param(way, point, fault, id=f"{way}: {point} | {fault}")
    for way, point, fault in ALL
    if not left_out(point, fault)
]


def test_every_step_meets_every_fault(record_testsuite_property: Callable[[str, object], None]) -> None:
    """Each combination is a cell of its own, or is left out for a reason that is written down."""
    reasons = {f"{way}: {point} | {fault}": left_out(point, fault) for way, point, fault in ALL}
    for cell, reason in reasons.items():
        record_testsuite_property(f"crash | {cell}", reason)
    assert [cell.id for cell in CELLS] == [cell for cell, reason in reasons.items() if not reason]


@pytest.mark.parametrize(("way", "point", "fault"), CELLS)
def test_one_run_in_each_cell(scene: Scene, way: str, point: str, fault: str) -> None:
    """Exactly one accepted submission for each arrival, its row at its end with that run, and nothing open."""
    action = WAYS[way].begin(scene)
    scene.ahead = STEP if action.name == "tick" else timedelta()
    job = Job(
        action=action,
        point=point,
        fault=order(scene, point, fault),
        site=scene.site,
        ahead_s=scene.ahead.total_seconds(),
        read_s=0.3 if fault.startswith("timeout") else 0,
        no_claims=point == "buried",
    )

    def meanwhile() -> None:
        if fault == "disorder":
            scene.upload()
            scene.arrive()
        else:
            scene.act(action)

    ended = scene.worker.run(job, meanwhile)
    assert ended.how == "killed" if fault == "kill" else ended.how != "killed", ended
    assert ended.struck or fault == "kill" or job.fault == "none", "the fault did not strike"
    assert scene.workspace.control("GET", "faults") == [], "the endpoint's fault did not strike"
    if point == "sent" and fault in ("kill", "exception"):
        scene.await_run()
    if ended.how != "done" or fault == "disorder":
        scene.act(action)
    scene.settle()
    # Overwritten before it was read, or where it could not be, the first version is seen by nobody.
    never_read = point in ("received", "buried")
    expected = 2 if fault == "disorder" and not never_read else 1
    dead = [State.DEAD]  # what could not be done at once
    beside = {"redrive": [State.REFUSED], "poison": dead, "poison of events": dead}
    scene.judge(expected, beside.get(way, []))


def order(scene: Scene, point: str, fault: str) -> Any:
    """Order the fault where it comes from; return what is left for the worker."""
    if fault in ("duplicate", "disorder"):
        return "pause"
    if fault == "timeout-done":
        scene.order("accept_then_drop", delay_s=2)
    elif fault == "timeout-not":
        scene.order("drop", delay_s=2)
    elif point == "sent" and fault == "cut-done":
        scene.order("accept_then_drop")
    elif point == "sent" and fault.startswith("5xx"):
        scene.order("status", status=503, accept=fault == "5xx-done")
    elif fault == "5xx" and READING.get(point):
        scene.workspace.control("POST", "faults", [{"on": READING[point], "kind": "status", "status": 503}])
    else:
        return fault
    return "none"


ASKING = ("arrival", "deferred", "sending, not found", "sending, found", "uncertain, found", "run")
OTHER_KINDS = {  # where the endpoint is asked; the other steps do not know its kind
    "batch, own names": ("a batch endpoint", {"honour_job_names": True}),
    "batch, new names": ("a batch endpoint", {"honour_job_names": False}),
    "component": ("a component", {}),
}
OTHER_CELLS = [
    pytest.param(kind, way, point, fault, id=f"{kind}: {way}: {point} | {fault}")
    for kind in OTHER_KINDS
    for way, point, fault in ALL
    if way in ASKING and point in ("sent", "answered", "looked", "read") and not left_out(point, fault)
]


@pytest.mark.parametrize(("kind", "way", "point", "fault"), OTHER_CELLS)
def test_one_run_in_each_cell_over_the_other_kinds(
    parts: Parts, workspace: LocalWorkspace, kind: str, way: str, point: str, fault: str
) -> None:
    """Batch endpoints, whether they take our names or not, and components, which refuse a second job of a name."""
    what, switches = OTHER_KINDS[kind]
    [endpoint] = workspace.control("GET", "info")["batch_endpoints"]
    scene = Scene(parts, workspace, url=workspace.base_url if kind == "component" else endpoint["url"])
    workspace.control("POST", "settings", switches)
    scene.learn()
    test_one_run_in_each_cell(scene, way, f"{point} of {what}" if point == "read" else point, fault)


UNCERTAIN = [
    # policy, what was seen of the pipeline, whether it does give keys back, where the worker is killed: end, runs
    ("auto", None, True, "claimed", State.HELD, 0),
    ("auto", None, True, "sent", State.FINISHED, 1),
    ("auto", None, False, "sent", State.HELD, 1),
    ("auto", False, True, "claimed", State.HELD, 0),
    ("auto", False, False, "sent", State.HELD, 1),
    ("auto", True, True, "claimed", State.FINISHED, 1),
    ("auto", True, True, "sent", State.FINISHED, 1),
    ("hold", True, True, "claimed", State.HELD, 0),
    ("hold", True, True, "sent", State.FINISHED, 1),
    ("resubmit", None, False, "claimed", State.FINISHED, 1),
    ("resubmit", None, True, "sent", State.FINISHED, 1),
]


@pytest.mark.parametrize(("policy", "seen", "given_back", "point", "end", "runs"), UNCERTAIN)
def test_worker_killed_while_submitting_by_policy(
    parts: Parts,
    workspace: LocalWorkspace,
    policy: str,
    seen: bool | None,
    given_back: bool,
    point: str,
    end: State,
    runs: int,
) -> None:
    """Never two runs: what cannot be learned is held, unless `resubmit` says that twice is better than not at all."""
    scene = Scene(parts, workspace, policy)
    workspace.control("POST", "settings", {"give_back_keys": given_back})
    if seen is not None:
        scene.learn(seen)
    action = _arrival(scene)
    assert scene.worker.run(Job(action=action, point=point, fault="kill", site=scene.site)).how == "killed"
    if point == "sent":
        scene.await_run()
    scene.act(action)
    scene.settle()
    [entry] = scene.entries()
    assert (entry.state, len(scene.runs())) == (end, runs)
    if end == State.HELD and not runs:
        redrive(scene.app, entry.key)
        scene.settle()
        scene.judge(beside=[State.CLOSED])


def test_evidence_comes_from_a_run_that_was_followed(parts: Parts, workspace: LocalWorkspace) -> None:
    """A pipeline that has given a key back once is trusted with the next arrival: sent again, since not found."""
    scene = Scene(parts, workspace)
    scene.upload()
    scene.arrive()
    scene.settle()
    scene.upload()
    scene.order("drop")
    scene.arrive()
    scene.settle()
    scene.judge(2)


def test_submission_accepted_after_the_worker_had_given_up(scene: Scene) -> None:
    """The endpoint takes longer than anybody waits, and accepts within the grace period: the run is found."""
    action = _arrival(scene)
    scene.order("delay", delay_s=1)
    job = Job(action=action, point="sent", fault="none", site=scene.site, read_s=0.3)
    assert scene.worker.run(job).how == "done"
    [entry] = scene.entries()
    assert (entry.state, scene.runs()) == (State.UNCERTAIN, [])
    tick(scene.app)
    scene.await_run()
    scene.settle()
    scene.judge()
    assert [entry.tries for entry in scene.entries()] == [1]  # nor is a second one still on its way


def test_storage_that_fails_all_deliveries_and_the_poison_message(scene: Scene) -> None:
    """Five deliveries and the message that is left of them fail; once storage is back, the message brings the run."""
    action = _arrival(scene)
    for _ in range(5):
        ended = scene.worker.run(Job(action=action, point="claimed", fault="5xx", site=scene.site))
        assert ended.how == "raised", ended
    bury = Action(name="bury", path=scene.path, etag=scene.request().arrival.etag)
    ended = scene.worker.run(Job(action=bury, point="buried", fault="5xx", site=scene.site, no_claims=True))
    assert ended.how == "raised", ended
    assert scene.entries() == []
    scene.act(bury)
    scene.settle()
    scene.judge()
