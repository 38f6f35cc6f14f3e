"""Why nothing happened: skips are counted and the last ones kept, at no cost to an arrival, one log line a blob."""

import json
import logging
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner

from cli.commands import skips as skips_command
from shared.app import App
from shared.errors import StorageError
from shared.flow.arrive import arrive
from shared.ledger import skips
from shared.ledger.skips import LAST, OTHERS, REASONS, Reason, Skipped, Skips, Told, told_of
from shared.operate.status import status
from shared.rules.arrival import Source
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

pytestmark = pytest.mark.usefixtures("empty_container")
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The application's own log."""
    caplog.set_level(logging.INFO, "retrain")
    return caplog


def skipped(reason: str, path: str = "a.txt", minute: int = 0, rule: str = "r") -> Skipped:
    """Return one that was skipped."""
    return Skipped(at=NOON + timedelta(minutes=minute), datastore="training", path=path, rule=rule, reason=reason)


def told(*reasons: str, rule: str = "r") -> Told:
    """Return what one process has counted."""
    found = Told()
    for minute, reason in enumerate(reasons):
        one = Reason(rule=rule, reason=reason, count=1, last_at=NOON + timedelta(minutes=minute))
        found = found.joined(Told(reasons=[one]))
    return found


def counts(app: App) -> list[tuple[str, int]]:
    """Return how often each reason was told."""
    return [(one.reason, one.count) for one in told_of(app.ledger).reasons]


def test_blobs_that_start_nothing_are_counted_by_reason_and_the_last_are_kept(
    app: App, workspace: LocalWorkspace
) -> None:
    """The status says how often, and which."""
    for name in ("scratch/a.txt", "scratch/b.txt"):
        workspace.upload(name, "x")
        arrive(app, "training", name, Source.BLOB_EVENT)
    found = status(app).skips
    [reason] = found.reasons
    assert (reason.count, reason.rule) == (2, samples.RULE.name)
    assert "does not match" in reason.reason
    assert [one.path for one in found.last] == ["scratch/b.txt", "scratch/a.txt"]


def test_skip_asks_nothing_of_storage_until_some_seconds_later(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that no rule takes costs its properties, and no write."""
    monkeypatch.setattr(app.ledger, "find", None)
    monkeypatch.setattr(app.ledger, "insert", None)
    for number in range(100):
        app.memory.skips.note(app.ledger, skipped("empty blob", f"{number}.csv"))
    monkeypatch.undo()
    app.memory.skips.save(app.ledger)
    assert counts(app) == [("empty blob", 100)]


def test_what_was_noted_is_written_by_itself(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to ask: the last skips of a process that goes idle are kept, too."""
    monkeypatch.setattr(skips, "DELAY_S", 0.01)
    app.memory.skips.note(app.ledger, skipped("empty blob"))
    timer = app.memory.skips._timer
    assert timer is not None
    timer.join()
    assert counts(app) == [("empty blob", 1)]


def test_two_processes_add_up(app: App) -> None:
    """Each adds to the row of the day, also where the other one has written meanwhile."""
    first, second = Skips(), Skips()
    for process in (first, second, first):
        process.note(app.ledger, skipped("empty blob"))
        process.save(app.ledger)
    assert counts(app) == [("empty blob", 3)]


def test_write_that_fails_is_made_up_for_by_the_next(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost while the table does not answer."""

    def fail(*_: object) -> None:
        raise StorageError("Ledger table 'retrains', read: 503")

    app.memory.skips.note(app.ledger, skipped("empty blob"))
    with monkeypatch.context() as patch:
        patch.setattr(app.ledger, "find", fail)
        app.memory.skips.save(app.ledger)
    app.memory.skips.note(app.ledger, skipped("empty blob"))
    app.memory.skips.save(app.ledger)
    assert counts(app) == [("empty blob", 2)]


def test_another_day_has_a_row_of_its_own_and_a_week_is_kept(app: App) -> None:
    """What is older than a week goes away when a new day begins."""
    now = app.ledger.now()
    for days in (9, 8, 3, 0):
        app.ledger.now = lambda days=days: now - timedelta(days=days)  # type: ignore[misc]
        app.memory.skips.note(app.ledger, skipped("empty blob"))
        app.memory.skips.save(app.ledger)
    assert counts(app) == [("empty blob", 2)]
    assert len(list(app.ledger.rows(skips.PARTITION, "", "~", "test"))) == 2


def test_blob_that_a_thousand_rules_do_not_take_is_one_line(
    app: App, workspace: LocalWorkspace, log: pytest.LogCaptureFixture
) -> None:
    """It names some of the reasons, and how many rules there are."""
    rules = tuple(msgspec.structs.replace(samples.RULE, name=f"r{number}") for number in range(1000))
    many = App(msgspec.structs.replace(app.settings, rules=rules), app.ledger, app.datastores, app.endpoints)
    many.memory.since.update({rule.name: NOON for rule in rules})
    workspace.upload("scratch/a.txt", "x")
    outcomes = arrive(many, "training", "scratch/a.txt", Source.BLOB_EVENT)
    [line] = [record.message for record in log.records if record.message.startswith("skipped")]
    assert len(outcomes) == 1000
    assert "1,000 rules: r0: path does not match" in line
    assert "and 997 more" in line
    many.memory.skips.save(many.ledger)
    assert sum(one.count for one in told_of(many.ledger).reasons) == 1


def test_same_reason_with_other_names_and_numbers_is_counted_as_one() -> None:
    """The last one stands for all of them."""
    found = told(
        "has 5 bytes, less than the rule's min_bytes 1,000", "has 7 bytes, less than the rule's min_bytes 1,000"
    )
    assert [(one.reason, one.count) for one in found.reasons] == [
        ("has 7 bytes, less than the rule's min_bytes 1,000", 2)
    ]


def test_reasons_of_two_rules_are_counted_apart() -> None:
    """Which rule it was is what somebody asks first."""
    both = told("empty blob", rule="a").joined(told("empty blob", rule="b"))
    assert sorted((one.rule, one.count) for one in both.reasons) == [("a", 1), ("b", 1)]


def test_row_has_a_bound_whatever_is_skipped() -> None:
    """The rarest reasons are summed up, and the oldest ones of the last go; all of it fits a column."""
    found = Told()
    for number in range(500):
        name = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        one = skipped("\U0001f600" * 1000 + name, "\U0001f600" * 2000, number, rule=f"{name:\U0001f600<100}")
        process = Skips()
        process.note(_Nowhere(), one)  # type: ignore[arg-type]
        found = found.joined(process._told)
        assert process._timer is not None
        process._timer.cancel()
    assert len(found.reasons) == REASONS
    assert found.reasons[-1].reason == OTHERS
    assert sum(one.count for one in found.reasons) == 500
    assert len(found.last) == LAST
    assert found.last[0].at == NOON + timedelta(minutes=499)
    for part in (found.reasons, found.last):
        assert len(json.dumps(msgspec.to_builtins(part), ensure_ascii=False).encode("utf-16-le")) / 2 < 32_000


class _Nowhere:
    """No ledger: nothing is written."""

    closed = True


def test_command_shows_them(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """For people and for programs."""
    workspace.upload("scratch/a.txt", "x")
    monkeypatch.setattr("cli.commands.app", lambda: app)
    assert "Nothing was skipped" in CliRunner().invoke(skips_command, []).output
    arrive(app, "training", "scratch/a.txt", Source.BLOB_EVENT)
    app.memory.skips.save(app.ledger)
    shown = CliRunner().invoke(skips_command, []).output
    assert "      1  income-files: path does not match" in shown
    assert "training/scratch/a.txt" in shown
    done = CliRunner().invoke(skips_command, ["--json"])
    assert done.exception is None, done.exception
    told = json.loads(done.stdout)
    assert [one["path"] for one in told["last"]] == ["scratch/a.txt"]
