"""What waits, for what, and since when: so that nothing waits in silence.

Never changes anything."""

from collections import Counter
from datetime import datetime
from typing import Literal

import msgspec

from shared.app import App
from shared.flow.blocked import Blocked, blocked
from shared.ledger import folders
from shared.ledger.entries import Work
from shared.ledger.skips import Told, told_of
from shared.ledger.watch import search_of

MOST = 100  # of each kind are told one by one


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A rule."""

    name: str
    datastore: str
    path: str
    pipeline: str
    version: str
    """What is pinned: new requests go there."""
    since: datetime
    """What is older starts nothing when it is found."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is waited for."""

    rule: str
    what: str
    """A folder's or file's path, or a request's key."""
    since: datetime
    missing: str


class AllWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """The first hundred of each kind."""

    held: list[Waiting]
    """A person's turn."""
    settling: list[Waiting]
    """Folders and files that are not complete."""


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """How far the search for missed arrivals has come in a container."""

    container: str
    last_pass: datetime
    rests_until: datetime
    under_way: bool
    fault: str | None
    """Why the container cannot be listed."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the app. What is counted is counted by rule."""

    status: Literal["ready"]
    rules: list[Watched]
    open: dict[str, int]
    """Requests that the app itself will bring to an end."""
    states: dict[str, dict[str, int]]
    """What is open, by rule and state."""
    held: dict[str, int]
    settling: dict[str, int]
    waiting: AllWaiting
    paused: dict[str, str]
    """What an operator has paused, `*` for all rules, and why."""
    blocked: list[Blocked]
    search: list[Searched]
    skips: Told
    """What was skipped within the last week: how often for which reason, and the last ones."""
    events: str
    """By which of the platform's triggers arrivals come in: `blob` or `queue`."""
    blob_source: str
    """How the blob trigger detects."""


def status(app: App) -> Status:
    """Return the state of the app, as GET /api/status answers it. Raises StorageError."""
    app.prepare()
    app.memory.skips.save(app.ledger)  # what this process knows
    work = {name: app.ledger.open(name) for name in app.rule_names()}
    gathering = {name: folders.gathering(app.ledger, name) for name in work}
    settling = [
        Waiting(
            rule=name,
            what=f"{folder.datastore}/{folder.folder}",
            since=folder.first_at,
            missing=lacking(app, name, folder.datastore) or folder.missing,
        )
        for name, found in gathering.items()
        for folder in found
    ]
    held = [
        Waiting(rule=name, what=one.key, since=one.claimed_at, missing=one.reason)
        for name, found in work.items()
        for one in found.held
    ]
    return Status(
        status="ready",
        rules=_rules(app),
        open={name: len(found.active) + len(found.queued) for name, found in work.items()},
        states={name: _states([*found.active, *found.queued, *found.held]) for name, found in work.items()},
        held={name: len(found.held) for name, found in work.items() if found.held},
        settling={name: len(found) for name, found in gathering.items() if found},
        waiting=AllWaiting(held=held[:MOST], settling=sorted(settling, key=lambda one: one.since)[:MOST]),
        paused={name: mark.told() for name, mark in app.memory.pauses[1].items()},
        blocked=blocked([one for found in work.values() for one in found.active]),
        search=_searches(app),
        skips=told_of(app.ledger),
        events=app.settings.events,
        blob_source=app.settings.blob_source,
    )


def lacking(app: App, rule: str, datastore: str) -> str:
    """Return what retrain.toml does not have any more, so that a folder cannot be looked into."""
    if app.settings.find(rule) is None:
        return f"retrain.toml has no rule {rule!r} any more"
    return "" if datastore in app.settings.datastores else f"retrain.toml has no datastore {datastore!r} any more"


def _rules(app: App) -> list[Watched]:
    return [
        Watched(
            name=rule.name,
            datastore=rule.datastore,
            path=rule.path,
            pipeline=rule.pipeline,
            version=app.settings.pipelines[rule.pipeline].pin,
            since=rule.since or app.first_seen(rule),
        )
        for rule in app.settings.rules
    ]


def _states(works: list[Work]) -> dict[str, int]:
    return dict(Counter(str(work.state) for work in works))


def _searches(app: App) -> list[Searched]:
    """Return how far the search for missed arrivals has come in each container, and why one cannot be listed."""
    places = dict.fromkeys(app.settings.place(rule.datastore) for rule in app.settings.rules)
    return [
        Searched(
            container=place.partition("/")[2],
            last_pass=found.begun_at,
            rests_until=found.rests_until,
            under_way=bool(found.marker),
            fault=found.fault or None,
        )
        for place in places
        if (found := search_of(app.ledger, place))
    ]
