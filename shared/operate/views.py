"""What people and programs are shown of the ledger, as plain data for JSON. Never shows the claim or a raw request."""

from datetime import datetime
from typing import Any

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


def _known(time: datetime) -> datetime | None:
    return time if time != NEVER else None
