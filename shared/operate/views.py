"""What people and programs are shown of the ledger, as plain data for JSON. Never shows the claim."""

from datetime import datetime
from typing import Any

from shared.app import App
from shared.ledger.entries import NEVER, Entry


def view(entry: Entry) -> dict[str, Any]:
    """Return an entry as the HTTP API and the commands show it."""
    target = entry.target
    return {
        "key": entry.key,
        "state": entry.state,
        "rule": entry.rule,
        "attempt": entry.attempt,
        "pipeline": entry.pipeline,
        "version": entry.version or None,
        "endpoint": target.place if target else None,
        "experiment": target.experiment if target else None,
        "data_path": {"datastore": entry.datastore, "path": entry.data_path},
        "path": entry.path,
        "source": entry.source,
        "run_id": entry.run_id or None,
        "run_url": entry.run_url or None,
        "pipeline_id": entry.pipeline_id or None,
        "run_status": entry.run_status or None,
        "reason": entry.reason or None,
        "tries": entry.tries,
        "claimed_at": entry.claimed_at,
        "changed_at": entry.changed_at,
        "due_at": entry.due_at,
        "sent_at": entry.sent_at,
        "deferred_since": _known(entry.deferred_since),
        "unread_since": _known(entry.unread_since),
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "redriven": entry.redriven or None,
    }


def detail(app: App, entry: Entry) -> dict[str, Any]:
    """Return an entry with the times of its way, and the request as it was sent, or would be sent now."""
    request = entry.retrain_request()
    target = entry.target or app.target_of(request)
    sent = None if isinstance(target, str) else app.endpoint(target).preview(request, target)
    return {**view(entry), "timeline": timeline(entry), "request": sent, "not_sent": target if sent is None else None}


def timeline(entry: Entry) -> list[dict[str, Any]]:
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
    return [
        {"at": at, "what": what}
        for at, what in sorted((step for step in steps if step[0]), key=lambda step: str(step[0]))
    ]


def _known(time: datetime) -> datetime | None:
    return time if time != NEVER else None
