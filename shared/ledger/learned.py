"""What was learned about endpoints: whether they give our keys back, and since when they cannot be read.

A partition `learned|`, two rows at most for each endpoint, whatever retrain.toml calls it. Never talks to an endpoint.
"""

import hashlib
from datetime import datetime

from shared.ledger.entries import plain
from shared.ledger.table import Ledger

PARTITION = "learned|"


def gives_keys_back(ledger: Ledger, place: str) -> bool | None:
    """Tell whether the list of this endpoint's runs was seen to carry our keys; None: no run was seen yet."""
    row = ledger.find(PARTITION, _key("keys", place))
    return bool(row["GivenBack"]) if row else None


def learn(ledger: Ledger, place: str, given_back: bool, run_id: str) -> None:
    """Keep whether a run carried our key. A no stays a no: one run without it is enough not to trust absence."""
    row = {"PartitionKey": PARTITION, "RowKey": _key("keys", place), "Place": place, "GivenBack": given_back}
    if given_back:
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
