"""`./retrain history`, `redrive`, `close`, `plan`, `backfill`: reads the words, calls one thing in `shared/`, prints.

Never decides anything; exit code 1 means that the command could not do what was asked, and the text says why.
"""

import itertools
import sys
import time
from collections import Counter
from datetime import timedelta

import click

from cli import environment
from cli.check import check
from cli.doctor import doctor
from cli.operator import HELP, Operators, Unaided
from cli.output import (
    print_detail,
    print_history,
    print_json,
    print_line,
    print_migration,
    print_plan,
    print_skips,
    print_story,
    say,
)
from shared.app import app
from shared.flow import enter, folders
from shared.ledger.entries import State
from shared.ledger.skips import told_of
from shared.ledger.table import Only
from shared.operate import migrate as moves
from shared.operate import pausing
from shared.operate import plan as plans
from shared.operate import redrive as operators
from shared.operate import why as stories
from shared.operate.calls import Call
from shared.operate.views import detail, view
from shared.rules.check import example_faults
from shared.rules.decision import RetrainRequest
from shared.rules.durations import duration


def _since(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    try:
        return duration(value) if value else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


WAIT_S = 2.0  # between two looks at a request that goes on


@click.group(cls=Operators, context_settings=HELP)
def commands() -> None:
    """Operate Retrain Trigger: look at what was started, and act on it again."""


commands.add_command(check)
commands.add_command(doctor)


@commands.command()
@click.option("--rule", help="Only this rule.")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only what is in this state.")
@click.option("--since", callback=_since, help="Only of data written within this time, such as 2d.")
@click.option("--prefix", default="", help="Only of files and folders whose path begins so.")
@click.option("--after", default="", metavar="KEY", help="What comes behind this one, in the same order.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="So many.")
@click.option("--follow", is_flag=True, help="Go on, and print each change of an entry until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --follow, one a line for each change.")
def history(
    rule: str | None,
    state: str | None,
    since: timedelta | None,
    prefix: str,
    after: str,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what was started, newest data first."""
    written_since = app().ledger.now() - since if since else None
    only = Only(state=State(state) if state else None, written_since=written_since, prefix=prefix, after=after)
    entries = app().history(limit, rule, only)
    if follow:
        _follow(limit, rule, only, as_json)
    if as_json:
        print_json({"retrains": [view(entry) for entry in entries]})
    else:
        print_history(entries)
        say(f"{len(entries):,} shown." if entries else "Nothing to show.")


def _follow(limit: int, rule: str | None, only: Only, as_json: bool) -> None:
    """Print each entry when it is new or has changed, oldest data first, until Ctrl-C."""
    seen = dict[str, str]()
    while True:
        entries = app().history(limit, rule, only)
        changed = [entry for entry in reversed(entries) if seen.get(entry.key) != entry.change]
        if as_json:
            for entry in changed:
                print_line(view(entry))
        else:
            print_history(changed, header=not seen)
        seen |= {entry.key: entry.change for entry in changed}
        time.sleep(WAIT_S)


@commands.command(cls=Unaided)  # what is asked for is read first
@click.argument("key", required=False)
@click.option("--force", is_flag=True, help="Also what could double a live run (with KEY).")
@click.option("--rule", help="Without KEY: what this rule has ...")
@click.option("--state", help="... in this state, such as refused, held or deferred.")
@click.option("--since", callback=_since, help="Only what came to that state within this time, such as 2d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="So many at most.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def redrive(
    key: str | None,
    force: bool,
    rule: str | None,
    state: str | None,
    since: timedelta | None,
    limit: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Act again on the request KEY that came to a bad end, at the version that is pinned now; or on many of a rule.

    KEY is sent at once; many are queued, and the app's timer sends them.
    """
    if (rule or state) if key else not (rule and state):
        raise click.UsageError("Give KEY, or --rule and --state.")
    environment.require_storage()
    if key:
        _redrive_one(key, force, as_json)
    else:
        assert rule
        assert state
        _redrive_many(operators.Wish(rule=rule, state=state, since=since, limit=limit), yes, as_json)


def _redrive_one(key: str, force: bool, as_json: bool) -> None:
    outcome = operators.redrive(app(), key, force)
    assert outcome.entry is not None  # a redrive always has a row
    entry = outcome.entry
    if as_json:
        print_json(view(entry))
    else:
        told = entry.run_id or entry.reason
        say(f"{entry.key}: attempt {entry.attempt} at version {entry.version or '-'} is {entry.state}: {told}")


def _redrive_many(wish: operators.Wish, yes: bool, as_json: bool) -> None:
    entries = operators.wished(app(), wish)
    if not yes and entries:
        for entry in entries[:10]:
            say(f"  {entry.changed_at:%Y-%m-%d %H:%M}  {entry.data_path}  {entry.reason[:80]}", err=True)
        more = f" (and {len(entries) - 10:,} more)" if len(entries) > 10 else ""
        question = f"This would redrive {len(entries):,} {wish.state} requests of rule {wish.rule!r}{more}. Go on?"
        click.confirm(question, abort=True, err=True)
    done = list[operators.Redriven]()
    with click.progressbar(operators.redrive_many(app(), entries), len(entries), "redrive", file=sys.stderr) as bar:
        done.extend(bar)
    failed = [one for one in done if one.error]
    if as_json:
        print_json({"rule": wish.rule, "state": wish.state, "redriven": done})
    else:
        for one in failed:
            say(f"{one.key}: {one.error}", err=True)
        say(f"{len(done) - len(failed):,} queued, {len(failed):,} not; the app's timer sends them.")
    sys.exit(1 if failed else 0)


@commands.command()
@click.argument("key")
@click.option("--reason", default="", help="Why, for the history.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def close(key: str, reason: str, as_json: bool) -> None:
    """End the open request KEY without acting: what nobody can bring to an end."""
    entry = operators.close(app(), key, reason)
    print_json(view(entry)) if as_json else say(f"{entry.key}: {entry.state}. {entry.reason}")


@commands.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def cancel(key: str, as_json: bool) -> None:
    """Ask the endpoint to end the run of the request KEY; the timer writes down when it has."""
    entry = operators.cancel(app(), key)
    print_json(view(entry)) if as_json else say(f"{entry.key}: asked to end run {entry.run_id}.")


@commands.command()
@click.argument("rule", required=False)
@click.option("--reason", default="", help="Why, for those who look.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def pause(rule: str | None, reason: str, as_json: bool) -> None:
    """Send nothing of RULE, or of any rule, until it is resumed; what arrives waits, what runs is followed.

    Within seconds: an app that has looked a moment ago may still send.
    """
    made = pausing.pause(app(), rule, reason)
    print_json(made) if as_json else say(made.told())


@commands.command()
@click.argument("rule", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def resume(rule: str | None, as_json: bool) -> None:
    """Let RULE, or what was paused as a whole, go on: the app's timer sends what waits."""
    pausing.resume(app(), rule)
    print_json({"rule": rule or "*", "paused": False}) if as_json else say("Resumed; the app's timer sends what waits.")


@commands.command(cls=Unaided)
@click.argument("paths", nargs=-1)
@click.option("--offline", is_flag=True, help="With PATHS: ask neither storage nor the ledger.")
@click.option("--datastore", help="The datastore of the paths; may be left out when there is one only.")
@click.option("--since", callback=_since, help="With no paths: count what was written since, such as 7d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def plan(paths: tuple[str, ...], offline: bool, datastore: str | None, since: timedelta | None, as_json: bool) -> None:
    """Show what each rule would do about PATHS, or how many runs it would start of all that is there.

    Nothing is claimed or sent. A path that is not there, or where storage does not answer, is taken as if it came now.
    """
    if not paths:
        if offline:
            raise click.UsageError("Give PATHS: what is there cannot be counted without asking storage.")
        environment.require_storage()
    for text in (f"rules.{rule.name}: {text}" for rule in app().settings.rules for text in example_faults(rule)):
        say(f"an example does not hold: {text}", color="yellow", err=True)
    name = datastore or app().only_datastore()
    if paths:
        alone = offline or bool(environment.silent(environment.STORAGE))
        calls = [Call(path=path, datastore=name) for path in paths]
        planned = [item for call in calls for item in plans.plan_call(app(), call, alone)]
        print_json({"planned": planned}) if as_json else print_plan(planned)
        return
    counts = plans.counts(app(), name, app().ledger.now() - since if since else None)
    if as_json:
        print_json({"datastore": name, "would_start": counts})
    for rule, count in counts.items() if not as_json else ():
        say(f"{rule}: would start {count:,} runs of what is in {name} and has none")


@commands.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(key: str, as_json: bool) -> None:
    """Show all that is known of the request KEY: the times of its way, and what was sent."""
    told = detail(app(), operators.found(app(), key).entry)
    print_json(told) if as_json else print_detail(told)


@commands.command()
@click.argument("key")
@click.option("--timeout", callback=_since, default="1h", show_default=True, help="So long at most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def wait(key: str, timeout: timedelta, as_json: bool) -> None:
    """Wait until the request KEY has come to its end; exit code 0 when its run finished, 1 when not, 3 when it goes on.

    The app's timer follows the run: without it nothing changes here.
    """
    deadline = app().ledger.now() + timeout
    entry = operators.found(app(), key).entry
    while entry.is_open and app().ledger.now() < deadline:
        time.sleep(WAIT_S)
        entry = operators.found(app(), key).entry
    print_json(view(entry)) if as_json else print_history([entry])
    sys.exit(3 if entry.is_open else 0 if entry.state == State.FINISHED else 1)


@commands.command()
@click.argument("path")
@click.option("--datastore", help="The datastore of the path; may be left out when there is one only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def why(path: str, datastore: str | None, as_json: bool) -> None:
    """Tell the whole story of the blob PATH: is it there, which rules take it, what has become of it."""
    story = stories.why(app(), datastore or app().only_datastore(), path)
    print_json(story) if as_json else print_story(story)


@commands.command()
@click.argument("pipeline", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def migrate(pipeline: str | None, as_json: bool) -> None:
    """Print how PIPELINE, a published one, moves to a batch endpoint: table, inputs, rules, steps. Changes nothing."""
    told = moves.migrate(app(), pipeline)
    print_json(told) if as_json else print_migration(told)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def skips(as_json: bool) -> None:
    """Show what started nothing within the last week: how often for which reason, and the last ones."""
    told = told_of(app().ledger)
    print_json(told) if as_json else print_skips(told)


@commands.command()
@click.option("--rule", required=True, help="The rule whose data is already there.")
@click.option("--since", callback=_since, help="Only what was written since, such as 7d. Left out: all of it.")
@click.option("--limit", type=click.IntRange(1), help="So many at most; the same command goes on after them.")
@click.option("--dry-run", is_flag=True, help="Only list what it would queue.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def backfill(rule: str, since: timedelta | None, limit: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Queue what the rule would have started of blobs that are already there; what has a row is left alone.

    The app's timer sends what is queued.
    """
    [name] = app().settings.rule_names(rule)
    oldest = app().ledger.now() - since if since else None
    found = list(itertools.islice(plans.candidates(app(), app().settings.rule(name), oldest), limit))
    if dry_run:
        paths = [_meant(candidate) for candidate in found]
        print_json({"rule": name, "would_start": paths}) if as_json else say(
            "\n".join([*paths, f"{len(paths):,} runs"])
        )
        return
    if not yes and found:
        click.confirm(f"This would start {len(found):,} runs of rule {name!r}. Go on?", abort=True, err=True)
    states = Counter[str]()
    with click.progressbar(found, file=sys.stderr, label="backfill") as bar:
        for candidate in bar:
            states[_filled(candidate)] += 1
    if as_json:
        print_json({"rule": name, "candidates": len(found), "states": states})
    else:
        counted = ", ".join(f"{count:,} {state}" for state, count in states.items())
        say(f"{counted}; the app's timer sends what is queued." if found else "Nothing to start.")


def _meant(candidate: plans.Candidate) -> str:
    """Return the path of the file or folder that a candidate would start a run on."""
    decision = candidate.decision
    return decision.data_path.path if isinstance(decision, RetrainRequest) else decision.folder


def _filled(candidate: plans.Candidate) -> str:
    """Enter a candidate; return what became of it."""
    if isinstance(candidate.decision, RetrainRequest):
        outcome = enter.queued(app(), candidate.decision, "Backfilled by an operator.")
    else:
        outcome = folders.gather(app(), candidate.decision, enter.queued)
    if outcome.skip:
        return "skipped"
    return str(outcome.entry.state) if outcome.entry else "settling" if outcome.settling else "duplicate"
