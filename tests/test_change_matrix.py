"""The core promise while things change: every open state against every edit of retrain.toml, on real parts.

A request is left in a state by an app with one configuration; then the app is built anew with another one, and its
timer ticks until nothing moves any more. What was sent must be followed to its end where it was sent, whatever is
configured by then. What was not sent goes to what is pinned now, as a whole; or it is held and told of, where its rule
or datastore is gone, and goes on when that is back. The judge is what the workspace has accepted, and what an operator
is told. `./retrain matrix` prints the table.
"""

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from local.workspace.state import PATH as WORKSPACE
from shared.app import App, build
from shared.flow import enter
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.ledger import learned
from shared.ledger.entries import OPEN, Entry, Row, State
from shared.operate import status
from shared.rules.arrival import Source
from shared.rules.decision import RetrainRequest
from shared.rules.match import match
from shared.rules.rule import Rule, Settle
from shared.settings.model import BatchEndpoint, ComponentJob, Datastore, Pipeline, PipelineEndpoint, Settings
from tests import queued, samples
from tests.fixtures_workspace import LocalWorkspace

STEP = timedelta(minutes=11)  # of the clock, from tick to tick: longer than the grace period
KINDS = {"pipeline": "batch", "batch": "component", "component": "pipeline"}  # each with the one it is moved to
RULE = samples.RULE.name
PATH = "income/us/a.csv"

pytestmark = pytest.mark.usefixtures("empty_container")


class Sent(NamedTuple):
    """Where a run went: the endpoint's id, the version, the experiment."""

    endpoint: str
    version: str
    experiment: str


class Scene:
    """One arrival, the app with the configuration of the moment, and the clock."""

    def __init__(self, app: App, workspace: LocalWorkspace, kind: str) -> None:
        self.app, self.workspace, self.kind, self.ahead = app, workspace, kind, timedelta()
        urls = {"pipeline": workspace.endpoint["url"], "batch": workspace.info["batch_endpoints"][0]["url"]}
        pipeline = pipeline_of(kind, urls.get(kind, workspace.base_url), "1")
        self.before = msgspec.structs.replace(app.settings, pipelines={"income": pipeline})
        app.ledger.now = self.now
        self.with_settings(self.before)
        self.app.prepare()

    def now(self) -> datetime:
        """Return the app's time."""
        return datetime.now(UTC) + self.ahead

    def goes_to(self, settings: Settings) -> Sent:
        """Return where these settings send."""
        target = next(iter(settings.pipelines.values())).target
        return Sent(target.address.id, target.version, target.experiment)

    def with_settings(self, settings: Settings) -> None:
        """Deploy the app with other settings: another process, which remembers nothing."""
        table = self.app.ledger.table
        made = build(msgspec.structs.replace(settings, ledger=self.before.ledger))
        made.ledger.table.close()
        made.ledger.table, made.ledger.now = table, self.now
        self.app = made

    def with_rule(self, **changes: Any) -> None:
        """Deploy the app with another rule from the beginning on."""
        self.before = msgspec.structs.replace(self.before, rules=(samples.changed(**changes),))
        self.with_settings(self.before)
        self.app.prepare()

    def order(self, **fault: Any) -> None:
        """Have the endpoint misbehave at the next submission."""
        self.workspace.control("POST", "faults", [{"on": "submit", **fault}])

    def upload(self, path: str = PATH) -> None:
        """Write a file."""
        self.workspace.upload(path, f"a\n{uuid.uuid4()}\n")

    def deliver(self, path: str = PATH) -> None:
        """Deliver the event of the file."""
        deliver(self.app, "training", path, Source.BLOB_EVENT)

    def request(self) -> RetrainRequest:
        """Return what the arrival is decided to start."""
        arrival = self.app.datastores["training"].look(PATH, Source.BLOB_EVENT)
        [decision] = match(self.app.settings.rules, arrival, {})
        assert isinstance(decision, RetrainRequest)
        return decision

    def trust(self, pipeline: Pipeline, seen: bool = True) -> None:
        """What makes absence certain was seen of an endpoint, or was not so."""
        evidence = self.app.endpoint(pipeline.target).evidence
        learned.learn(self.app.ledger, evidence, pipeline.target.place, seen, "an earlier run")

    def tick(self, times: int = 5) -> None:
        """Let the timer tick, with the clock moved on."""
        for _ in range(times):
            self.ahead += STEP
            tick(self.app)

    def entry(self) -> Entry | None:
        """Return the request, if there is one."""
        entries = [entry for rule in self.app.rule_names() for entry in self.app.ledger.history(rule, 9)]
        assert len(entries) <= 1, entries
        return entries[0] if entries else None

    def runs(self) -> list[Sent]:
        """Return where the workspace has accepted something."""
        accepted = self.workspace.control("GET", "runs")
        return [Sent(run["endpoint_id"], run["version"], run["experiment"]) for run in accepted]

    def told(self) -> str:
        """Return what an operator is told in the status."""
        return msgspec.json.encode(status.status(self.app)).decode()


def pipeline_of(kind: str, url: str, pin: str, experiment: str = "income-retrain", name: str = "income") -> Pipeline:
    """Return what retrain.toml says of a pipeline; `pin` is the number of the version or deployment."""
    if kind == "component":
        component = f"azureml:{name}_train:{pin}"
        return ComponentJob(url=url, workspace=WORKSPACE, component=component, experiment=experiment)
    if kind == "batch":
        return BatchEndpoint(url=url, workspace=WORKSPACE, deployment=f"income-{pin}", experiment=experiment)
    return PipelineEndpoint(url=url, version=pin, experiment=experiment)


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, app: App, workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
) -> Scene:
    """A scene with a kind of endpoint that gives keys back, as was seen."""
    caplog.set_level(logging.INFO, "retrain")
    made = Scene(app, workspace, request.param)
    made.trust(made.before.pipelines["income"])
    workspace.control("POST", "settings", {"engine": "instant"})
    return made


# The open states: how a request comes to be left in each.


def _queued(scene: Scene) -> None:
    scene.upload()
    enter.queued(scene.app, scene.request())


def _behind_a_limit(scene: Scene) -> None:
    scene.with_rule(max_active=1)
    scene.upload()
    enter.queued(scene.app, scene.request())


def _deferred(scene: Scene) -> None:
    scene.upload()
    scene.order(kind="status", status=403)
    scene.deliver()


def _sending_absent(scene: Scene) -> None:
    scene.upload()
    assert isinstance(enter.to_send(scene.app, scene.request()), Row)


def _sending_accepted(scene: Scene) -> None:
    scene.upload()
    row = enter.to_send(scene.app, scene.request())
    assert isinstance(row, Row)
    assert row.entry.target is not None
    scene.app.endpoint(row.entry.target).submit(scene.request(), row.entry.target)


def _uncertain_absent(scene: Scene) -> None:
    scene.upload()
    scene.order(kind="drop")
    scene.deliver()


def _uncertain_accepted(scene: Scene) -> None:
    scene.upload()
    scene.order(kind="accept_then_drop")
    scene.deliver()


def _submitted(scene: Scene) -> None:
    scene.workspace.control("POST", "settings", {"engine": "hold"})
    scene.upload()
    scene.deliver()


def _running(scene: Scene) -> None:
    _submitted(scene)
    entry = scene.entry()
    assert entry is not None
    scene.workspace.control("POST", f"runs/{entry.run_id}/status", {"status": "Running"})
    tick(scene.app)


def _held(scene: Scene) -> None:
    """Uncertain, on an endpoint that was not seen to give keys back: accepted, and not in the list in time."""
    scene.trust(scene.app.settings.pipelines["income"], False)
    scene.workspace.control("POST", "settings", {"list_lag_s": 3600, "honour_job_names": False})
    _uncertain_accepted(scene)
    scene.tick(1)
    scene.workspace.control("POST", "settings", {"list_lag_s": 0})


def _gathering(scene: Scene) -> None:
    data_path = msgspec.structs.replace(samples.RULE.data_path, grain="folder")
    scene.with_rule(data_path=data_path, settle=Settle(quiet="1m"))
    scene.upload()
    scene.deliver()


def _file_that_settles(scene: Scene) -> None:
    scene.with_rule(settle=Settle(quiet="1m"))
    scene.upload()
    scene.deliver()


class Kind(NamedTuple):
    """A state to begin with, and what of it is at an endpoint then."""

    begin: Callable[[Scene], None]
    sent: bool
    """It was accepted where it was sent: nothing may be sent again."""
    state: State | None
    """The state it is left in; None: it gathers, and has no row yet."""


STATES = {
    "queued": Kind(_queued, False, State.QUEUED),
    "queued behind a limit": Kind(_behind_a_limit, False, State.QUEUED),
    "deferred": Kind(_deferred, False, State.DEFERRED),
    "sending, not accepted": Kind(_sending_absent, False, State.SENDING),
    "sending, accepted": Kind(_sending_accepted, True, State.SENDING),
    "uncertain, not accepted": Kind(_uncertain_absent, False, State.UNCERTAIN),
    "uncertain, accepted": Kind(_uncertain_accepted, True, State.UNCERTAIN),
    "submitted": Kind(_submitted, True, State.SUBMITTED),
    "running": Kind(_running, True, State.RUNNING),
    "held, accepted": Kind(_held, True, State.HELD),
    "folder gathers": Kind(_gathering, False, None),
    "file settles": Kind(_file_that_settles, False, None),
}


# The changes: from the settings before to those after.


def _pipeline(settings: Settings, **changes: Any) -> Settings:
    [(name, pipeline)] = settings.pipelines.items()
    return msgspec.structs.replace(settings, pipelines={name: msgspec.structs.replace(pipeline, **changes)})


def _rule(settings: Settings, **changes: Any) -> Settings:
    return msgspec.structs.replace(settings, rules=(msgspec.structs.replace(settings.rules[0], **changes),))


def _other_rule(settings: Settings) -> tuple[Rule, ...]:
    return (msgspec.structs.replace(settings.rules[0], name="another", path="elsewhere/**/*.csv"),)


def _moved(settings: Settings, scene: Scene, kind: str | None = None) -> Settings:
    kind = kind or scene.kind
    made = "pipeline" if kind == "pipeline" else "batch"  # with a batch endpoint come its components
    other = scene.workspace.control("POST", "endpoints", {"name": "other", "versions": 2, "kind": made})
    url = scene.workspace.base_url if kind == "component" else other["url"]
    pipeline = pipeline_of(kind, url, "0", "elsewhere", "other")
    scene.trust(pipeline)
    [name] = settings.pipelines
    return msgspec.structs.replace(settings, pipelines={name: pipeline})


def _other_kind(settings: Settings, scene: Scene) -> Settings:
    return _moved(settings, scene, KINDS[scene.kind])


def _pinned_back(settings: Settings, scene: Scene) -> Settings:
    [(name, pipeline)] = settings.pipelines.items()
    back = pipeline_of(scene.kind, pipeline.url, "0")
    return msgspec.structs.replace(settings, pipelines={name: back})


def _experiment_renamed(settings: Settings, _: Scene) -> Settings:
    return _pipeline(settings, experiment="renamed")


def _table_renamed(settings: Settings, _: Scene) -> Settings:
    [pipeline] = settings.pipelines.values()
    return msgspec.structs.replace(_rule(settings, pipeline="renamed"), pipelines={"renamed": pipeline})


def _pattern_narrowed(settings: Settings, _: Scene) -> Settings:
    return _rule(settings, path="income/us/*.csv")


def _limit_lifted(settings: Settings, _: Scene) -> Settings:
    return _rule(settings, max_active=None, parameters={"test_fraction": "0.5"})


def _rule_renamed(settings: Settings, _: Scene) -> Settings:
    return _rule(settings, name="renamed", path="elsewhere/*.csv")


def _rule_removed(settings: Settings, _: Scene) -> Settings:
    return msgspec.structs.replace(settings, rules=_other_rule(settings))


def _all_but_the_container_replaced(settings: Settings, scene: Scene) -> Settings:
    moved = _moved(settings, scene)
    [pipeline] = moved.pipelines.values()
    rules = tuple(msgspec.structs.replace(rule, pipeline="new") for rule in _other_rule(settings))
    return msgspec.structs.replace(moved, rules=rules, pipelines={"new": pipeline})


def _datastore_renamed(settings: Settings, _: Scene) -> Settings:
    stores = {"renamed": Datastore(container="training-data", connection="TrainingStorage")}
    return msgspec.structs.replace(_rule(settings, datastore="renamed"), datastores=stores)


class Change(NamedTuple):
    """An edit of retrain.toml."""

    make: Callable[[Settings, Scene], Settings]
    holds: bool = False
    """What was not sent cannot be sent any more, and is held."""


ASKING = ("sending, not accepted", "sending, accepted", "uncertain, not accepted", "uncertain, accepted", "submitted")
CHANGES = {
    "moved": Change(_moved),
    "to the other kind": Change(_other_kind),
    "pinned back": Change(_pinned_back),
    "experiment renamed": Change(_experiment_renamed),
    "table renamed": Change(_table_renamed),
    "pattern narrowed": Change(_pattern_narrowed),
    "limit lifted": Change(_limit_lifted),
    "rule renamed": Change(_rule_renamed, holds=True),
    "rule removed": Change(_rule_removed, holds=True),
    "all replaced": Change(_all_but_the_container_replaced, holds=True),
    "datastore renamed": Change(_datastore_renamed, holds=True),
}
CELLS = [
    pytest.param(kind, state, change, id=f"{'' if kind == 'pipeline' else f'{kind}: '}{state} | {change}")
    for kind in KINDS
    for state in STATES
    for change in CHANGES
    if kind != "component" or state in ASKING  # the others do not know the kind
]


def test_every_state_meets_every_change(record_testsuite_property: Callable[[str, object], None]) -> None:
    """Each combination is a cell of its own, and every open state of the ledger is among those left behind."""
    for cell in CELLS:
        record_testsuite_property(f"change | {cell.id}", "")
    assert {kind.state for kind in STATES.values()} - {None} == OPEN


@pytest.mark.parametrize(("scene", "state", "change"), CELLS, indirect=["scene"])
def test_promise_in_each_cell(scene: Scene, state: str, change: str, caplog: pytest.LogCaptureFixture) -> None:
    """One run, where it belongs; or none, held and told of, until the edit is taken back: then one run."""
    kind, edit = STATES[state], CHANGES[change]
    kind.begin(scene)
    left = scene.entry()
    assert (left.state if left else None) == kind.state
    home, before = scene.goes_to(scene.before), scene.runs()
    assert before == ([home] if kind.sent else [])

    after = edit.make(scene.before, scene)
    scene.with_settings(after)
    scene.tick()
    if left and left.run_id:
        scene.workspace.control("POST", f"runs/{left.run_id}/status", {"status": "Finished"})
        scene.tick(2)
    if kind.sent:
        assert scene.runs() == [home], "what was sent was sent again"
        assert_finished(scene)
    elif not edit.holds:
        assert scene.runs() == [scene.goes_to(after)], "it did not go to what is pinned now, as a whole"
        assert_finished(scene)
    else:
        assert scene.runs() == [], "what cannot be sent was sent"
        assert_told(scene, caplog)
        scene.with_settings(scene.before)
        scene.tick()
        assert scene.runs() == [home]
        assert_finished(scene)
    assert "this is a fault of the application" not in caplog.text


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("scene", ["pipeline"], indirect=True)
def test_event_that_waits_in_its_queue_meanwhile(scene: Scene, change: str) -> None:
    """One run at what is pinned when it is taken; or, where no rule takes it, a skip, and one run by the search."""
    scene.upload()
    home, after = scene.goes_to(scene.before), CHANGES[change].make(scene.before, scene)
    scene.with_settings(after)
    queued.take(scene.app, queued.encoded(queued.grid(queued.url_of(scene.app, PATH))))
    scene.tick()
    if any(rule.path.startswith("income") for rule in after.rules):
        assert scene.runs() == [scene.goes_to(after)]
    else:
        assert scene.runs() == []
        assert PATH in scene.told()
        scene.with_settings(scene.before)
        scene.tick()
        assert scene.runs() == [home]
    assert_finished(scene)


def assert_finished(scene: Scene) -> None:
    """The request has its end, with its run, and nothing is open."""
    entry = scene.entry()
    assert entry is not None
    assert entry.state == State.FINISHED, entry.reason
    assert entry.run_id == scene.workspace.control("GET", "runs")[0]["run_id"]
    assert all(not samples.open_states(scene.app.ledger, rule) for rule in scene.app.rule_names())


def assert_told(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Status says what waits and why; a request is held in the history with the same words."""
    entry, told = scene.entry(), scene.told()
    assert "any more" in told
    if entry is None:
        assert PATH.rpartition("/")[0] in told
        return
    assert entry.state == State.HELD
    assert "any more" in entry.reason
    assert entry.key in told
    assert f"held key={entry.key}" in caplog.text
