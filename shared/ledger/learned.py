"""What was learned about endpoints: evidence for sending again, and since when they cannot be read.

A partition `learned|`, a few rows for each endpoint, whatever retrain.toml calls it. Never talks to an endpoint.
"""

import hashlib
from datetime import datetime

from shared.ledger.entries import plain
from shared.ledger.table import Ledger
from shared.pipelines.base import Evidence

PARTITION = "learned|"


def seen(ledger: Ledger, evidence: Evidence, place: str) -> bool | None:
    """Tell whether an endpoint was seen to do so; None: there was no occasion yet."""
    row = ledger.find(PARTITION, _key(evidence, place))
    return bool(row["GivenBack"]) if row else None


def learn(ledger: Ledger, evidence: Evidence, place: str, yes: bool, run_id: str) -> None:
    """Keep whether an endpoint did so with a run. A no stays a no: one is enough not to rely on it."""
    row = {"PartitionKey": PARTITION, "RowKey": _key(evidence, place), "Place": place, "GivenBack": yes}
    if yes:
        ledger.insert({**row, "RunId": run_id}, "learned")  # something was learned before: it stands
    else:
        ledger.put({**row, "RunId": run_id}, "learned")


def unreadable_since(ledger: Ledger, place: str, now: datetime) -> datetime:
    """Note that an endpoint cannot be read; return since when."""
    row_key = _key("unread", place)
    row = {"PartitionKey": PARTITION, "RowKey": row_key, "Place": place, "Since": now}
    if ledger.insert(row, "learned"):
        return now
    found = ledger.find(PARTITION, row_key)
    return plain(found["Since"]) if found else now


def readable(ledger: Ledger, place: str) -> None:
    """Note that an endpoint can be read (again)."""
    ledger.remove(PARTITION, _key("unread", place), "learned")


def _key(about: str, place: str) -> str:
    return f"{about}|{hashlib.sha256(place.encode()).hexdigest()[:32]}"
