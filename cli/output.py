"""How the operator's commands print: tables for people, one JSON object for programs.

Never prints what gives access: all of it goes through one mask.
"""

import shutil
import sys
from collections.abc import Iterable

import click
import msgspec

from shared.errors import masked
from shared.ledger.entries import Entry
from shared.ledger.skips import Told
from shared.operate.findings import Finding
from shared.operate.migrate import Migration
from shared.operate.plan import Planned
from shared.operate.views import Detail
from shared.operate.why import Story
from shared.pipelines.base import Preview

COLORS = {"finished": "green", "failed": "red", "refused": "red", "dead": "red", "mispinned": "red", "held": "yellow"}
LABELS = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}


def print_json(data: object) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(masked(msgspec.json.format(msgspec.json.encode(data)).decode()) + "\n")


def print_line(data: object) -> None:
    """Print one JSON object on a line of its own, at once."""
    sys.stdout.write(masked(msgspec.json.encode(data).decode()) + "\n")
    sys.stdout.flush()


def say(text: str, *, err: bool = False, color: str | None = None, bold: bool = False) -> None:
    """Print lines for people."""
    click.secho(masked(text), err=err, fg=color, bold=bold)


def print_history(entries: list[Entry], *, header: bool = True) -> None:
    """Print two lines for each entry, in the order and with the time of the data; the second one whole, to copy."""
    if not entries:
        return
    rule = max(len("RULE"), *(len(entry.rule) for entry in entries))
    if header:
        say(f"{'DATA WRITTEN (UTC)':<19}  {'STATE':<10}  {'RULE':<{rule}}  VERSION  DATA PATH", bold=True)
        say(f"{'':19}  KEY, RUN, REASON", bold=True)
    for entry in entries:
        written = f"{entry.written_at:%Y-%m-%d %H:%M:%S}"
        state = click.style(f"{entry.state:<10}", fg=COLORS.get(entry.state))
        say(f"{written}  {state}  {entry.rule:<{rule}}  {entry.version or '-':<7}  {entry.data_path}")
        told = "  ".join(filter(None, (entry.key, entry.run_id, _one_line(entry.reason))))
        say(f"{'':19}  {told}")


def _one_line(text: str) -> str:
    """Return a reason as far as it has a line of its own beside key and run."""
    first = " ".join(text.split())
    room = max(shutil.get_terminal_size((200, 24)).columns * 2 - 110, 60)
    return first if len(first) <= room else f"{first[: room - 3]}..."


def print_plan(planned: list[Planned]) -> None:
    """Print what each rule would do."""
    for item in planned:
        say(item.path, bold=True)
        say(f"  rule       {item.rule or '-'}\n  decision   {item.decision} {item.state}".rstrip())
        for label, value in (("reason", item.reason), ("data path", item.data_path), ("key", item.key)):
            if value:
                say(f"  {label:<10} {value}")
        if item.request:
            _print_request(item.request)


def _print_request(request: Preview) -> None:
    body = msgspec.json.format(msgspec.json.encode(request.body)).decode()
    say(f"  request    {request.method} {request.url}")
    say("\n".join(f"    {line}" for line in body.splitlines()))


def print_detail(told: Detail) -> None:
    """Print all that is known of a request."""
    say(told.key, bold=True)
    for name in (
        "state",
        "rule",
        "attempt",
        "version",
        "endpoint",
        "path",
        "run_id",
        "run_url",
        "run_status",
        "reason",
    ):
        if value := getattr(told, name):
            say(f"  {name.replace('_', ' '):<10} {value}")
    for step in told.timeline:
        say(f"  {step.at:%Y-%m-%d %H:%M:%S}  {step.what}")
    if told.request:
        _print_request(told.request)


VERDICTS = {"started": "green", "waiting": "yellow", "missed": "red", "skipped": None}


def print_story(story: Story) -> None:
    """Print what is known of one blob."""
    say(f"{story.datastore}/{story.path}", bold=True)
    say(f"  {f'{story.size:,} bytes, written {story.written:%Y-%m-%d %H:%M:%S} UTC' if story.there else story.told}")
    for one in story.rules:
        say(f"  {one.rule or 'no rule'}: {click.style(one.verdict, fg=VERDICTS[one.verdict])}")
        say(f"    {one.reason}")
    for entry in story.earlier:
        say(f"  another version of it: {entry.key} is {entry.state}")


def print_skips(told: Told) -> None:
    """Print how often for which reason, and the last ones."""
    for reason in told.reasons:
        say(f"{reason.count:>7,}  {reason.rule or '-'}: {reason.reason}")
    for one in told.last:
        say(f"{one.at:%Y-%m-%d %H:%M:%S}  {one.datastore}/{one.path}\n{'':21}{one.rule or '-'}: {one.reason}")
    if not told.reasons:
        say("Nothing was skipped within the last week.")


def print_findings(found: Iterable[Finding]) -> None:
    """Print each finding, its cure below it, and the sum."""
    found = list(found)
    for finding in found:
        say(f"{LABELS[finding.level]}  {finding.where}: {finding.what}")
        if finding.cure:
            say(f"         -> {finding.cure}")
    count = {level: sum(finding.level == level for finding in found) for level in LABELS}
    say(f"faults: {count['fault']}, warnings: {count['warning']}, ok: {count['ok']}")


def print_first(broken: Finding | None) -> None:
    """Print the first broken link with its cure, in one line."""
    if broken:
        say(f"first broken link: {broken.where}: {broken.what.rstrip('.')}; cure: {broken.cure}", bold=True)
    else:
        say("first broken link: none", bold=True)


def print_migration(told: Migration) -> None:
    """Print what goes into which file, then what to do."""
    parts = [("retrain.toml, in place of the table:", told.table), ("The component declares:", told.interface)]
    for title, text in parts:
        say(title, bold=True)
        say("".join(f"    {line}\n" for line in text.splitlines()))
    say("Rules:", bold=True)
    say("\n".join(f"    {text}" for text in told.rules or ["stay as they are"]))
    say("\nSteps:", bold=True)
    say("\n".join(f"    {number}. {text}" for number, text in enumerate(told.steps, 1)))
