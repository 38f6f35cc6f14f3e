"""Storage events, in Event Grid's own schema and as CloudEvents: which blob each tells of, or why it tells of none.

Reads what a webhook was sent and judges by the event alone. Never asks what is in storage: what is there now counts.
Sources: Microsoft Learn, "Azure Blob Storage as an Event Grid source"; CloudEvents 1.0, "HTTP Protocol Binding".
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from shared import reading
from shared.rules.decision import Skip
from shared.rules.locations import Location, located

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
EARLY = {"CreateFile", "SftpCreate"}
"""Calls after which a blob of a hierarchical account is there without its data; what ends the writing tells, too."""
MOST = 1000  # events in one delivery
YEARS = range(2000, 9000)  # a key has the year with four digits
_ZONED = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event, whatever schema it came in."""

    type: str
    data: dict[str, Any]
    id: str = ""
    time: datetime | None = None
    """When it happened; None where it does not say."""


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """New data that an event tells of."""

    at: Location
    grain: Literal["blob", "directory"] = "blob"
    """A directory that was renamed: all that is below it is new under its names, and none of it tells of itself."""
    early: bool = False
    """The blob is there, and its data is still to come: only what may be empty counts."""
    etag: str = ""
    """The version that was written, where the event says it: for what cannot be looked at."""
    time: datetime | None = None
    """When it was written, by the event; the same."""


class GridEvent(msgspec.Struct, rename="camel"):
    """An event in Event Grid's own schema, as far as it counts here."""

    event_type: str
    data: dict[str, Any]
    id: str = ""


class CloudEvent(msgspec.Struct):
    """A CloudEvent, as far as it counts here."""

    specversion: str
    type: str
    data: dict[str, Any] = {}
    id: str = ""


def are_events(content_type: str, headers: Mapping[str, str], body: Any) -> bool:
    """Tell whether a request brings events, and not a call: by its headers, else by its form."""
    if "cloudevents" in content_type or "ce-specversion" in headers or "aeg-event-type" in headers:
        return True
    if isinstance(body, list):
        return bool(body)  # a call is an object
    return isinstance(body, dict) and bool(body.keys() & {"eventType", "specversion"})


def read(headers: Mapping[str, str], body: Any) -> list[Event]:
    """Return the events of a request. Raises ValueError with what is wrong.

    `headers` with small letters; `body` is the JSON, parsed. Of a CloudEvent in binary mode it is the data alone.
    """
    if kind := headers.get("ce-type"):
        if not isinstance(body, dict):
            raise ValueError("the body of a CloudEvent in binary mode is its data, an object")
        return [Event(type=kind, data=body, id=headers.get("ce-id", ""), time=_time(headers.get("ce-time")))]
    items = body if isinstance(body, list) else [body]
    if len(items) > MOST:
        raise ValueError(f"{len(items):,} events at once; at most {MOST:,} are taken")
    return [_event(item, f"event {number}: " if len(items) > 1 else "") for number, item in enumerate(items, 1)]


def _event(item: Any, where: str) -> Event:
    try:
        if isinstance(item, dict) and "specversion" in item:
            cloud = reading.convert(item, CloudEvent)
            return Event(type=cloud.type, data=cloud.data, id=cloud.id, time=_time(item.get("time")))
        grid = reading.convert(item, GridEvent)
        return Event(type=grid.event_type, data=grid.data, id=grid.id, time=_time(item.get("eventTime")))
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}neither an event of Event Grid nor a CloudEvent: {error}") from error


def _time(value: Any) -> datetime | None:
    """Return a time with its zone; None where it is none, or none of ours: an event is not refused for that."""
    try:
        found: datetime = reading.convert(value, _ZONED)
    except msgspec.ValidationError:
        return None
    return found if found.year in YEARS else None


def announced(event: Event) -> Announced | Skip:
    """Return what an event tells of; a Skip when that is no new data. Raises ValueError for one that is damaged."""
    match event.type:
        case "Microsoft.Storage.BlobCreated":
            etag = event.data.get("eTag")
            return Announced(
                at=_at(event, "url"),
                early=event.data.get("api") in EARLY,
                etag=etag.strip('"') if isinstance(etag, str) else "",
                time=event.time,
            )
        case "Microsoft.Storage.BlobRenamed":
            return Announced(at=_at(event, "destinationUrl"))
        case "Microsoft.Storage.DirectoryRenamed":
            return Announced(at=_at(event, "destinationUrl"), grain="directory")
        case other:
            return Skip(reason=f"an event of type {other[:100]!r} tells of no new data")


def _at(event: Event, member: str) -> Location:
    url = event.data.get(member)
    found = located(url) if isinstance(url, str) else None
    if found is None or not found.container or not found.path:
        raise ValueError(f"data.{member} of a {event.type} is no address of a blob")
    return found


def validation_of(events: list[Event]) -> tuple[str, str] | None:
    """Return the code and the address of a subscription's handshake; None when it is none."""
    first = events[0] if events else None
    if first is None or first.type != VALIDATION:
        return None
    code, url = first.data.get("validationCode"), first.data.get("validationUrl")
    return code if isinstance(code, str) else "", url if isinstance(url, str) else ""
