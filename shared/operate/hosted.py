"""The deployed app by itself: is it there and running, set up as retrain.toml wants, with its functions, and fit?

The first links of the chain that `doctor.py` walks. Reads only; never shows a key or the value of a setting.
"""

from collections.abc import Iterator
from http import HTTPStatus

import msgspec
import requests

from shared import reading
from shared.deployed.management import Function, Keys, Management, Site
from shared.deployed.place import Place, name_of
from shared.errors import ConfigurationError, EndpointError
from shared.operate.findings import AGAIN, CONNECT, SIGN_IN, Finding
from shared.operate.health import Health
from shared.pipelines.base import ReadError
from shared.pipelines.clouds import LOOPBACK
from shared.settings import read
from shared.settings.model import Settings

OF_APP = "Website Contributor"
"""The role that may read settings and keys; Reader may not."""
TIMEOUTS = (5, 60)  # the first request may have to wait until an instance is there
REFERENCE = "@Microsoft.KeyVault("  # a setting whose value is in a Key Vault
DELIVERIES = {"blobTrigger": "blob", "queue": "queue"}  # azd's words, and the app's


class Hosted(msgspec.Struct, kw_only=True):
    """What could be read of the app; None: it could not."""

    findings: list[Finding] = []
    site: Site | None = None
    environ: dict[str, str] | None = None
    """Its app settings."""
    settings: Settings | None = None
    """What retrain.toml is with them; None also where it has faults."""
    functions: list[Function] | None = None
    keys: Keys | None = None
    seen: set[str] = set()
    """What the app itself sees, by its own identity, and finds sound."""


def unread(where: str, error: EndpointError, role: str) -> Finding:
    """Return that something could not be looked at: a gap of who looks, and not of the app."""
    status = error.status if isinstance(error, ReadError) else None
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        cure = f"Give the identity that looks the role {role!r} there, or look as somebody who has it (`az login`)."
    elif not isinstance(error, ReadError):
        cure = SIGN_IN if str(error).startswith("No token") else AGAIN
    else:
        cure = CONNECT if status is None else AGAIN
    return Finding("warning", where, f"could not be looked at: {error}", cure)


def look(management: Management, place: Place) -> Hosted:
    """Look at the app, as far as whoever looks may."""
    made, name = Hosted(), name_of(place.app)
    where = f"function app {name}"
    try:
        made.site = management.site(place.app)
    except EndpointError as error:
        gap = unread(where, error, "Reader")
        absent = isinstance(error, ReadError) and error.status == HTTPStatus.NOT_FOUND
        what = f"there is none at {place.app}" if absent else gap.what
        cure = "`azd up` makes it; where it has another name, give its resource id: --app." if absent else gap.cure
        made.findings.append(Finding("fault", where, what, cure))
        return made
    made.findings.append(_running(where, place, made.site))
    made.findings += _settings(made, management, place)
    try:
        made.functions = management.functions(place.app)
        made.findings += functions(name, made.functions, made.settings)
    except EndpointError as error:
        made.findings.append(unread("functions", error, "Reader"))
    try:
        made.keys = management.keys(place.app)
    except EndpointError as error:
        made.findings.append(unread("keys", error, OF_APP))
    if made.functions and made.keys and made.site.state == "Running":
        made.findings += _health(made, management.session, made.site, made.keys)
    return made


def _running(where: str, place: Place, site: Site) -> Finding:
    if site.state == "Running":
        return Finding("ok", where, f"is running, at {site.default_host_name}")
    return Finding(
        "fault", where, f"is {site.state.lower() or 'in no known state'}", f"az functionapp start --ids {place.app}"
    )


def _settings(made: Hosted, management: Management, place: Place) -> Iterator[Finding]:
    """Is retrain.toml sound with the app's settings, and is the way in the one that was deployed?"""
    where = "app settings"
    try:
        made.environ = management.settings(place.app)
    except EndpointError as error:
        yield unread(where, error, OF_APP)
        return
    elsewhere = sorted(name for name, value in made.environ.items() if value.startswith(REFERENCE))
    if elsewhere:
        what = f"{', '.join(elsewhere)}: in a Key Vault, whose values are not read here"
        yield Finding("ok", where, what)
    try:
        made.settings = read.load(environ=made.environ)
    except ConfigurationError as error:
        yield from (_fault(text, elsewhere) for text in error.faults)
        return
    events = DELIVERIES.get(place.delivery)
    if events and events != made.settings.events:
        what = (
            f"RETRAIN_EVENTS is {made.settings.events!r}, but events are led to it by EVENT_DELIVERY={place.delivery}"
        )
        cure = "`azd provision` sets it as EVENT_DELIVERY says; docs/deploy.md has how to change from one to the other."
        yield Finding("fault", where, what, cure)
        return
    yield Finding("ok", where, f"all that retrain.toml names is there; events come by {made.settings.events}")


def _fault(text: str, elsewhere: list[str]) -> Finding:
    where, _, what = text.partition(": ")
    if name := next((name for name in elsewhere if name in text), None):
        return Finding("warning", "app settings", text, f"{name} is in a Key Vault: look whether it is sound there.")
    cure = (
        "Set it (`azd env set EXTRA_SETTINGS ...`, then `azd provision`), or mend retrain.toml and `azd deploy`; "
        "docs/settings.md says what is expected."
    )
    return Finding("fault", f"app settings, {where}", what, cure)


def expected(settings: Settings) -> list[str]:
    """Return the names of the functions without which nothing arrives, starts or is looked at."""
    always = ["tick", "retrain", "health"]
    if settings.events == "queue":
        return [*always, "events", "events_poison"]
    connections = {store.connection for store in settings.datastores.values()}
    buried = [f"bury_{number}" if number else "bury" for number in range(len(connections))]
    return [*always, *arriving(settings).values(), *buried]


def arriving(settings: Settings) -> dict[tuple[str, str], str]:
    """Return the blob trigger's function for each container, by connection and container."""
    places = dict.fromkeys((store.connection, store.container) for store in settings.datastores.values())
    return {place: f"arrive_{settings.datastores_on(*place)[0]}" for place in places}


def functions(app: str, found: list[Function], settings: Settings | None) -> list[Finding]:
    """Has the host found the functions that the configuration makes, and may they run?"""
    where, names = "functions", [one.name for one in found]
    if not names:
        cure = (
            "Its identity may have no role on its own storage account (Storage Blob Data Owner, Queue and Table Data "
            "Contributor; a new role takes up to an hour), or no code is deployed: `azd deploy`, then look again."
        )
        return [Finding("fault", where, f"the host of {app} has found none at all", cure)]
    wanted = expected(settings) if settings else ["tick"]
    if missing := [name for name in wanted if name not in names]:
        cure = (
            "`azd deploy` this retrain.toml. With faulty settings the app has its HTTP functions only: GET /api/status "
            "tells the faults. Settings that were changed just now: az functionapp restart."
        )
        what = f"the host has not found {', '.join(missing)}; it has {', '.join(sorted(names))}"
        return [Finding("fault", where, what, cure)]
    if off := [one.name for one in found if one.is_disabled and one.name in wanted]:
        cure = f"Take away the app setting {' and '.join(f'AzureWebJobs.{name}.Disabled' for name in off)}."
        return [Finding("fault", where, f"{', '.join(off)}: disabled", cure)]
    return [Finding("ok", where, f"the host has found {', '.join(wanted)}")]


def _health(made: Hosted, session: requests.Session, site: Site, keys: Keys) -> Iterator[Finding]:
    """Ask the app itself: what it sees, it sees with its own identity."""
    where, host = "app answers", site.default_host_name
    scheme = "http" if host.rpartition(":")[0] in LOOPBACK else "https"
    url = f"{scheme}://{host}/api/health"
    key = next((value for value in keys.function_keys.values() if value), "")
    try:
        answer = session.get(url, headers={"x-functions-key": key}, timeout=TIMEOUTS, allow_redirects=False)
        told = reading.decode(answer.content, Health)
    except requests.RequestException as error:
        yield Finding("fault", where, f"GET {url}: no answer: {type(error).__name__}", CONNECT)
    except (msgspec.DecodeError, UnicodeDecodeError):
        yield Finding("fault", where, f"GET {url}: {answer.status_code}, and no health document", _cure_of(answer))
    else:
        yield Finding("ok", where, f"GET {url}: {told.status}")
        made.seen = {one.about for one in told.checks if one.ok}
        for one in told.checks:
            what = f"{one.what}: {one.told}"
            yield Finding("ok" if one.ok else "fault", f"app sees {one.about}", what, one.cure)


def _cure_of(answer: requests.Response) -> str:
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "Its key is not taken, or access to the app is restricted (networking, authentication): let this one in."
    return "Does it start? Its log stream says why not: az webapp log tail, or Application Insights."
