"""What people and programs are shown of the ledger: the types of the answers. Never shows the claim."""

from datetime import datetime

import msgspec

from shared.app import App
from shared.ledger.entries import NEVER, Entry, State
from shared.pipelines.base import Preview


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A path on a datastore."""

    datastore: str
    path: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A retrain request as the ledger has it."""

    key: str
    """Its identity: when the data was written, and a digest. What the other calls take."""
    state: State
    rule: str
    attempt: int
    """1, and one more for each time somebody asked to train on the same data again."""
    pipeline: str
    """Its name in retrain.toml."""
    version: str | None
    """The version that it was sent to; null until then."""
    endpoint: str | None
    """Where it was sent; null until then."""
    experiment: str | None
    data_path: Place
    """What the pipeline gets to train on."""
    path: str
    """What arrived: a file, or a folder."""
    source: str
    """Who announced it first."""
    run_id: str | None
    run_url: str | None
    """The run's page in the studio."""
    pipeline_id: str | None
    """The published pipeline that the run was read back to be of: the proof of the pin."""
    run_status: str | None
    """In the service's own words."""
    reason: str | None
    """Why it is in this state, in the endpoint's words where they are known."""
    tries: int
    """Submissions begun."""
    written_at: datetime
    """When the data was written."""
    claimed_at: datetime
    changed_at: datetime
    due_at: datetime | None
    """When the app looks at it next, while it is open."""
    sent_at: datetime | None
    deferred_since: datetime | None
    """Since when the endpoint does not take it."""
    unread_since: datetime | None
    """Since when its run cannot be read."""
    started_at: datetime | None
    """When its run began."""
    ended_at: datetime | None
    redriven: str | None
    """Key of the attempt that an operator started in its place."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a request, or is to happen."""

    at: datetime
    what: str


class Detail(View, frozen=True, kw_only=True):
    """A request with the times of its way, and the submission as it was sent, or would be sent now."""

    timeline: list[Step]
    """What is known of its way, oldest first."""
    request: Preview | None
    """The submission, without the token."""
    not_sent: str | None
    """Why there is no submission: it cannot go anywhere."""


def view(entry: Entry) -> View:
    """Return an entry as the HTTP API and the commands show it."""
    target = entry.target
    return View(
        key=entry.key,
        state=entry.state,
        rule=entry.rule,
        attempt=entry.attempt,
        pipeline=entry.pipeline,
        version=entry.version or None,
        endpoint=target.place if target else None,
        experiment=target.experiment if target else None,
        data_path=Place(datastore=entry.datastore, path=entry.data_path),
        path=entry.path,
        source=entry.source,
        run_id=entry.run_id or None,
        run_url=entry.run_url or None,
        pipeline_id=entry.pipeline_id or None,
        run_status=entry.run_status or None,
        reason=entry.reason or None,
        tries=entry.tries,
        written_at=entry.written_at,
        claimed_at=entry.claimed_at,
        changed_at=entry.changed_at,
        due_at=entry.due_at,
        sent_at=entry.sent_at,
        deferred_since=_known(entry.deferred_since),
        unread_since=_known(entry.unread_since),
        started_at=entry.started_at,
        ended_at=entry.ended_at,
        redriven=entry.redriven or None,
    )


def detail(app: App, entry: Entry) -> Detail:
    """Return an entry with the times of its way, and the request as it was sent, or would be sent now."""
    request = entry.retrain_request()
    target = entry.target or app.target_of(request)
    known, steps = msgspec.structs.asdict(view(entry)), timeline(entry)
    if isinstance(target, str):
        return Detail(**known, timeline=steps, request=None, not_sent=target)
    return Detail(**known, timeline=steps, request=app.endpoint(target).preview(request, target), not_sent=None)


def timeline(entry: Entry) -> list[Step]:
    """Return what is known of the entry's way, oldest first."""
    steps: list[tuple[datetime | None, str]] = [
        (entry.written_at, "data written"),
        (entry.claimed_at, "entered"),
        (_known(entry.deferred_since), "not taken by the endpoint, from here on"),
        (entry.sent_at, f"sent last (attempt {entry.tries})"),
        (entry.started_at, "run begun"),
        (_known(entry.unread_since), "run not to be read, from here on"),
        (entry.ended_at, f"ended: {entry.state}"),
        (entry.due_at if entry.is_open else None, "looked at next"),
    ]
    return sorted((Step(at=at, what=what) for at, what in steps if at), key=lambda step: step.at)


def _known(time: datetime) -> datetime | None:
    return time if time != NEVER else None
