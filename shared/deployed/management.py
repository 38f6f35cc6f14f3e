"""What Azure Resource Manager tells of a deployed app: state, functions, settings, keys, topic, event subscriptions.

Reads with the identity of whoever looks. Never changes anything; never puts a key or an address that has one into an
error, a log or the repr of what it returns.

Source: the REST references of Microsoft.Web (2025-03-01) and Microsoft.EventGrid (2025-02-15), whose versions the
templates in infra/ have, too.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from shared import reading
from shared.deployed.place import name_of
from shared.errors import EndpointError, shown
from shared.identity import Tokens
from shared.pipelines.base import Limits
from shared.pipelines.calls import Caller, new_session
from shared.pipelines.clouds import cloud_of
from shared.pipelines.jobs import decode

WEB, EVENT_GRID = "2025-03-01", "2025-02-15"
MOST_PAGES = 20


class Site(msgspec.Struct, frozen=True, rename="camel"):
    """The function app."""

    state: str = ""
    default_host_name: str = ""
    host_names: list[str] | None = None

    @property
    def hosts(self) -> list[str]:
        """All names that it answers at, in small letters, its own first."""
        return list(dict.fromkeys(name.lower() for name in [self.default_host_name, *(self.host_names or [])]))


class Function(msgspec.Struct, frozen=True, rename="camel"):
    """A function that the host has found."""

    name: str = ""
    is_disabled: bool = False


class Keys(msgspec.Struct, frozen=True, rename="camel"):
    """The host's keys. Never shown."""

    master_key: str | None = None
    function_keys: dict[str, str | None] = {}
    system_keys: dict[str, str | None] = {}

    def __repr__(self) -> str:
        return f"Keys({len(self.function_keys)} of functions, {len(self.system_keys)} of the system)"


class Target(msgspec.Struct, frozen=True, rename="camel"):
    """Where a subscription delivers, or leaves what it could not deliver."""

    endpoint_type: str = ""
    properties: dict[str, Any] = {}


class AdvancedFilter(msgspec.Struct, frozen=True, rename="camel"):
    """One condition on a value of an event; all of a subscription's have to hold."""

    operator_type: str = ""
    key: str = ""
    values: list[Any] | None = None


class Filter(msgspec.Struct, frozen=True, rename="camel"):
    """What a subscription lets through."""

    subject_begins_with: str | None = None
    subject_ends_with: str | None = None
    is_subject_case_sensitive: bool | None = None
    included_event_types: list[str] | None = None
    advanced_filters: list[AdvancedFilter] | None = None


class _Delivery(msgspec.Struct, frozen=True):
    destination: Target | None = None


class _DeadLetter(msgspec.Struct, frozen=True, rename="camel"):
    dead_letter_destination: Target | None = None


class Subscription(msgspec.Struct, frozen=True, rename="camel"):
    """An event subscription, under its name."""

    name: str = ""
    provisioning_state: str = ""
    destination: Target | None = None
    delivery_with_resource_identity: _Delivery | None = None
    filter: Filter = Filter()
    dead_letter_destination: Target | None = None
    dead_letter_with_resource_identity: _DeadLetter | None = None

    @property
    def to(self) -> Target:
        """Where it delivers, with or without an identity."""
        by_identity = self.delivery_with_resource_identity or _Delivery()
        return self.destination or by_identity.destination or Target()

    @property
    def dead_letters(self) -> Target | None:
        """Where it leaves what it could not deliver."""
        by_identity = self.dead_letter_with_resource_identity or _DeadLetter()
        return self.dead_letter_destination or by_identity.dead_letter_destination


class _Listed(msgspec.Struct, rename="camel"):
    value: list[dict[str, Any]] = []
    next_link: str | None = None


class Management:
    """Reads of one Resource Manager; a context manager, which gives back its connections."""

    def __init__(self, address: str) -> None:
        """Read at `address`, its scheme and host; nothing is sent yet."""
        self.address, self.session = address, new_session()
        tokens = Tokens(cloud_of(address).audience)
        self._caller = Caller(tokens, self.session, Limits.within(timedelta(minutes=10)))

    def __enter__(self) -> "Management":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def site(self, app: str) -> Site:
        """Read the app. Raises EndpointError."""
        return self._properties("GET", app, WEB, Site)

    def functions(self, app: str) -> list[Function]:
        """List the functions that the host has found. Raises EndpointError."""
        found = self._list(f"{app}/functions", WEB)  # each is called APP/NAME
        return [msgspec.structs.replace(_as(item, Function), name=name_of(str(item.get("name")))) for item in found]

    def settings(self, app: str) -> dict[str, str]:
        """Read the app settings, secrets among them. Raises EndpointError."""
        found = self._properties("POST", f"{app}/config/appsettings/list", WEB, dict[str, str | None])
        return {name: value for name, value in found.items() if value is not None}

    def keys(self, app: str) -> Keys:
        """Read the host's keys. Raises EndpointError."""
        return _quiet(self._read("POST", f"{app}/host/default/listkeys", WEB), Keys)

    def source(self, topic: str) -> str:
        """Read the resource id of the account whose events a topic has. Raises EndpointError."""
        return str(self._properties("GET", topic, EVENT_GRID, dict[str, Any]).get("source") or "")

    def subscriptions(self, topic: str) -> list[Subscription]:
        """List a topic's event subscriptions; of a webhook without its key. Raises EndpointError."""
        found = self._list(f"{topic}/eventSubscriptions", EVENT_GRID)
        return [msgspec.structs.replace(_as(item, Subscription), name=str(item.get("name") or "")) for item in found]

    def full_url(self, topic: str, name: str) -> str:
        """Read a webhook's address, with its key. Raises EndpointError."""
        path = f"{topic}/eventSubscriptions/{quote(name, safe='')}/getFullUrl"
        return str(_quiet(self._read("POST", path, EVENT_GRID), dict[str, Any]).get("endpointUrl") or "")

    def _read(self, method: Literal["GET", "POST"], path: str, version: str) -> bytes:
        return self._caller.read(method, f"{self.address}{path}?api-version={version}").content

    def _properties[T](self, method: Literal["GET", "POST"], path: str, version: str, kind: type[T]) -> T:
        return _as(_quiet(self._read(method, path, version), dict[str, Any]), kind)

    def _list(self, path: str, version: str) -> Iterator[dict[str, Any]]:
        """Read a list page by page. Raises EndpointError, also for a page at another host: a token goes there."""
        following = f"{self.address}{path}?api-version={version}"
        for _ in range(MOST_PAGES):
            page = decode(self._caller.read("GET", following).content, _Listed)
            yield from page.value
            if not page.next_link:
                return
            if not page.next_link.startswith(f"{self.address}/"):
                raise EndpointError(f"The list goes on at another host: {shown(page.next_link)}.")
            following = page.next_link


def _as[T](item: dict[str, Any], kind: type[T]) -> T:
    """Return the properties of a resource. Raises EndpointError when they are not what is documented."""
    try:
        return reading.convert(item.get("properties") or {}, kind)
    except msgspec.ValidationError as fault:
        raise EndpointError(f"Resource Manager's answer is not what is documented: {fault}.") from fault


def _quiet[T](content: bytes, kind: type[T]) -> T:
    """Read an answer that may have secrets in it: an error quotes none of it. Raises EndpointError."""
    try:
        return reading.decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise EndpointError(f"Resource Manager's answer is not what is documented: {fault}.") from fault
