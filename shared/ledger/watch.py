"""Since when each rule is watched, and how far the search for missed arrivals has come in each container.

`watch` in a rule's partition says what it watches and since when; `search|` has a row a container. Never looks into a
container itself.
"""

import hashlib
from datetime import datetime, timedelta

import msgspec
from azure.data.tables import TableEntity

from shared import reading
from shared.ledger.entries import NEVER, plain
from shared.ledger.table import Ledger
from shared.rules.rule import Rule


class Search(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How far the search has come in one container."""

    begun_at: datetime
    """When the pass under way, or the last one, began."""
    looked_from: datetime = NEVER
    """The pass looks at what was written since; NEVER: at everything that the rules watch."""
    marker: str = ""
    """Where in the listing the pass goes on; empty: it is done, and the next one begins."""
    rests_until: datetime = NEVER
    """When the next pass begins."""
    cost_s: float = 0.0
    """What the pass under way has cost so far, in seconds."""
    quiet: int = 0
    """How many passes in a row, with the one under way, have found nothing that was missed."""
    reached: datetime = NEVER
    """What was written before this time was looked at, by passes that came to their end."""
    compared_at: datetime = NEVER
    """When the last pass that looked at everything began."""
    rules: str = ""
    """Digest of what the pass looks for: when that changes, the next one looks at everything."""
    fault: str = ""
    """Why the container could not be listed the last time."""
    left_from: datetime = NEVER
    """When the oldest was written that the pass under way found and could not enter; NEVER: there is none."""
    asked_at: datetime = NEVER
    """When somebody asked last that the next pass looks at everything. Not written by the search itself."""


def watched_since(ledger: Ledger, rule: Rule, place: str, uptime: timedelta) -> datetime:
    """Return since when `rule` watches `place`: what is older in a listing starts nothing.

    The first sight counts, less this process's `uptime`, by the table service's own time: blobs are stamped by a clock
    of the same account, ours may differ. A rule whose pattern has changed goes on from where the search with the old
    one had come: no backlog is lost, and no old container starts. One that watches another container begins anew.
    """
    row = ledger.find(rule.name, "watch")
    if row and (row["Place"], row["Path"]) == (place, rule.path):
        return plain(row["Since"])
    if row and row["Place"] == place:
        search = search_of(ledger, place)
        since = max(plain(row["Since"]), search.reached if search else NEVER)
    elif not row and (earlier := ledger.find(rule.name, f"since|{_origin_of_layout_1(rule)}")):
        since = plain(_stamp(earlier)) - timedelta(seconds=earlier["Uptime"])
    else:
        since = _now_of_service(ledger, rule) - uptime
    watch = {"PartitionKey": rule.name, "RowKey": "watch", "Place": place, "Path": rule.path, "Since": since}
    if row:
        ledger.put(watch, "watch")
    elif not ledger.insert(watch, "watch"):  # another worker was first: its time counts
        return watched_since(ledger, rule, place, uptime)
    return since


def search_of(ledger: Ledger, place: str) -> Search | None:
    """Return how far the search has come in a container; None before the first."""
    row = ledger.find("search|", _key(place))
    if not row:
        return None
    columns = {name: plain(value) if isinstance(value, datetime) else value for name, value in row.items()}
    return reading.convert(columns, Search)


def save_search(ledger: Ledger, place: str, search: Search) -> None:
    """Keep how far the search has come."""
    columns = msgspec.to_builtins(search, builtin_types=(datetime,))
    del columns["AskedAt"]
    ledger.merge({"PartitionKey": "search|", "RowKey": _key(place), "Place": place, **columns}, "search")


def ask_for_everything(ledger: Ledger, place: str, now: datetime) -> None:
    """Let the next pass of the search look at everything in a container, whatever the blobs' dates."""
    row = {"PartitionKey": "search|", "RowKey": _key(place), "Place": place, "AskedAt": now}
    if not ledger.change(row, "search"):
        ledger.merge({**row, "BegunAt": NEVER}, "search")


def _now_of_service(ledger: Ledger, rule: Rule) -> datetime:
    """Return the table service's time: the one that it stamps a row with."""
    stamp = {"PartitionKey": rule.name, "RowKey": "stamp"}
    if not ledger.insert(stamp, "watch"):
        ledger.put(stamp, "watch")
    row = ledger.find(rule.name, "stamp")
    assert row is not None
    return plain(_stamp(row))


def _stamp(row: TableEntity) -> datetime:
    written = row.metadata["timestamp"]
    assert written is not None  # the service stamps every entity
    return written


def _origin_of_layout_1(rule: Rule) -> str:
    return hashlib.sha256(f"{rule.datastore}\n{rule.path}".encode()).hexdigest()[:12]


def _key(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:32]
