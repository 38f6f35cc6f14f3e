"""Why has this blob started nothing, or what: the whole story, for every way that it can go."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.app import App
from shared.errors import NotFoundError
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.operate.why import ByRule, why
from shared.rules.arrival import Source
from shared.rules.rule import DataPathParameter, Rule, Settle
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

PATH = "income/us/a.csv"

pytestmark = pytest.mark.usefixtures("empty_container")


def with_rules(app: App, *rules: Rule) -> App:
    """Return the application with other rules."""
    return replace(app, settings=msgspec.structs.replace(app.settings, rules=rules))


def only(app: App, path: str = PATH) -> ByRule:
    """Return what the one rule makes of a blob."""
    [told] = why(app, "training", path).rules
    return told


def test_blob_that_is_not_there(app: App) -> None:
    """What storage says, and what may be meant."""
    story = why(app, "training", "training-data/income/us/a.csv")
    assert (story.there, story.rules) == (False, [])
    assert "did you mean 'income/us/a.csv'" in story.told
    with pytest.raises(NotFoundError, match="known are: training"):
        why(app, "nowhere", PATH)


@pytest.mark.parametrize("path", ["a" * 1025, "a" * 20_000, "\U0001f600" * 1024, "\ud800", "/a", ""])
def test_path_that_no_blob_can_have(app: App, path: str) -> None:
    """It is a story, too: what is wrong with it."""
    story = why(app, "training", path)
    assert (story.there, story.rules, story.earlier) == (False, [], [])
    assert story.told


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"path": "income/*.parquet"}, "does not match"),
        ({"ignore": ["**/a.csv"]}, "is ignored by"),
        ({"min_bytes": 100}, "less than the rule's min_bytes"),
        ({"metadata": {"stage": "final"}}, "no metadata 'stage'"),
    ],
)
def test_blob_that_the_rule_does_not_take(
    app: App, workspace: LocalWorkspace, changes: dict[str, Any], reason: str
) -> None:
    """The same reason as in the log."""
    made = with_rules(app, samples.changed(**changes))
    workspace.upload(PATH, "a\n1\n")
    told = only(made)
    assert (told.verdict, reason in told.reason) == ("skipped", True)


def test_blob_from_before_the_rule_was_seen(app: App, workspace: LocalWorkspace) -> None:
    """Since when the rule counts is named."""
    workspace.upload(PATH, "a\n1\n")
    made = with_rules(app, samples.changed(since=app.ledger.now() + timedelta(hours=1)))
    assert "before the rule's since" in only(made).reason


def test_blob_that_has_its_run_and_an_earlier_version(app: App, workspace: LocalWorkspace) -> None:
    """The row of what is there now; that of the version before stands beside it."""
    workspace.upload(PATH, "a\n1\n")
    [before] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    workspace.upload(PATH, "a\n2\n")
    [now] = deliver(app, "training", PATH, Source.BLOB_EVENT)
    story = why(app, "training", PATH)
    [told] = story.rules
    assert told.verdict == "started"
    assert told.request is not None
    assert told.request.key == now.key
    assert [entry.key for entry in story.earlier] == [before.key]


@pytest.mark.parametrize("status", [403, 429])
def test_blob_that_waits_for_its_endpoint(app: App, workspace: LocalWorkspace, status: int) -> None:
    """The endpoint's own words."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": status, "times": 50}])
    workspace.upload(PATH, "a\n1\n")
    deliver(app, "training", PATH, Source.BLOB_EVENT)
    told = only(app)
    assert told.verdict == "waiting"
    assert f"deferred: {status}" in told.reason


def test_blob_that_nobody_told_of(app: App, workspace: LocalWorkspace) -> None:
    """It has no request, and the search will find it: said with when it looked, and then it has one."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    assert "does the timer run?" in only(app).reason
    tick(app)
    told = only(app)
    assert told.verdict == "missed"
    assert "The search looked last at" in told.reason
    now = app.ledger.now
    app.ledger.now = lambda: now() + timedelta(hours=2)
    tick(app)
    assert only(app).verdict == "started"


def test_blob_of_a_folder(app: App, workspace: LocalWorkspace) -> None:
    """What its folder waits for; then the folder's request."""
    rule = samples.changed(
        path="income/{country}/*.csv",
        data_path=DataPathParameter(parameter="input_data", grain="folder"),
        settle=Settle(marker="_SUCCESS"),
    )
    made = with_rules(app, rule)
    workspace.upload(PATH, "a\n1\n")
    deliver(made, "training", PATH, Source.BLOB_EVENT)
    told = only(made)
    assert (told.verdict, "It gathers since" in told.reason) == ("waiting", True)
    made.datastores["training"].container.upload_blob("income/us/_SUCCESS", b"", overwrite=True)
    deliver(made, "training", "income/us/_SUCCESS", Source.BLOB_EVENT)
    told = only(made)
    assert told.verdict == "started"
    assert "'income/us' has a request" in told.reason


def test_blob_that_several_rules_look_at(app: App, workspace: LocalWorkspace) -> None:
    """Each says what it makes of it."""
    made = with_rules(app, samples.RULE, samples.changed(name="other", path="other/**"))
    workspace.upload(PATH, "a\n1\n")
    deliver(made, "training", PATH, Source.BLOB_EVENT)
    story = why(made, "training", PATH)
    assert {one.rule: one.verdict for one in story.rules} == {"income-files": "started", "other": "skipped"}
