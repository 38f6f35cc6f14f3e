"""Walks the chain of a deployed app in the order in which an arrival goes, and tells each link; the first fault is what
to mend first, since what comes behind it may only follow from it.

    app ─ settings ─ functions ─ health ─ events (topic, subscriptions) ─ queues, dead letters ─ what `check` looks at

Reads with the identity of whoever looks, through the app's own settings. Never changes anything, but for the row that
`check` writes and removes.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from shared.app import App, build
from shared.deployed.management import Management
from shared.deployed.place import Place, name_of
from shared.errors import ConfigurationError, EndpointError
from shared.operate import check as checks
from shared.operate import waiting
from shared.operate.findings import Finding, Gap, misconfigured
from shared.operate.followed import follow
from shared.operate.hosted import Hosted, look, unread
from shared.operate.subscribed import KEY, Awaited
from shared.operate.why import Story
from shared.pipelines.base import ReadError
from shared.settings import read
from shared.settings.model import DEFAULT_CONNECTION, Settings
from shared.storage.accounts import queue_client

OF_EVENTS = "EventGrid EventSubscription Contributor"
UNKNOWN = Finding(
    "warning",
    "function app",
    "not looked at, nor its events: nothing says where it is deployed",
    "Run it where `azd env list` has an environment, or name the app: --app RESOURCE_ID --topic RESOURCE_ID. "
    "On a laptop ./retrain start --events grid makes something that can be looked at.",
)
NO_FURTHER = Finding(
    "warning",
    "what comes behind it",
    "events, queues and the workspace were not looked at: the app's settings are not known, or not sound",
    "Mend that first.",
)


class Examined(msgspec.Struct, kw_only=True):
    """What was found, in the order of the chain."""

    findings: list[Finding] = []
    story: Story | None = None
    """Of the blob that was asked about."""


def first(findings: Iterable[Finding]) -> Finding | None:
    """Return the first broken link; None when none is."""
    return next((finding for finding in findings if finding.level == "fault"), None)


def examine(place: Place | None, environ: Mapping[str, str], path: str = "", datastore: str = "") -> Examined:
    """Look at everything, and at what became of one blob. Raises NotFoundError, BadRequestError: no such datastore."""
    if place is None:
        made = Examined(findings=[UNKNOWN])
        try:
            with _app(read.load(environ=environ), environ) as app:
                _behind(made, app, environ, Hosted(), None, path, datastore)
        except ConfigurationError as error:
            made.findings += misconfigured(error)
        return made
    with Management(place.management) as management:
        hosted = look(management, place)
        made = Examined(findings=hosted.findings)
        if hosted.settings is None or hosted.environ is None:
            made.findings.append(NO_FURTHER)
            return made
        try:
            with _app(hosted.settings, hosted.environ) as app:
                found, awaited = events(management, place, hosted, app)
                made.findings += found
                _behind(made, app, hosted.environ, hosted, awaited, path, datastore)
        except ConfigurationError as error:
            made.findings += misconfigured(error)
    return made


@contextmanager
def _app(settings: Settings, environ: Mapping[str, str]) -> Iterator[App]:
    """Put the app together as its settings say. Nothing of a command goes where the app tells of itself."""
    app = build(msgspec.structs.replace(settings, metrics="", notify=None), environ)
    try:
        yield app
    finally:
        app.close()


def _behind(
    made: Examined,
    app: App,
    environ: Mapping[str, str],
    hosted: Hosted,
    awaited: Awaited | None,
    path: str,
    datastore: str,
) -> None:
    """Look at what comes behind the events."""
    made.findings += waiting.queues(app, environ)
    kept, elsewhere = _kept(awaited)
    made.findings += elsewhere
    for container in kept or [waiting.DEAD_LETTERS]:
        if found := waiting.letters(container, environ, container in kept):
            made.findings.append(found)
    made.findings += (_of_whom(one, hosted.seen) for one in checks.check(app))
    if path:
        letters = kept or [waiting.DEAD_LETTERS]
        made.story, links = follow(app, environ, awaited, letters, datastore or app.only_datastore(), path)
        made.findings += links


def _of_whom(finding: Finding, seen: set[str]) -> Finding:
    """Return a fault as a warning, where the app sees what only the identity that looks does not."""
    if not isinstance(finding, Gap) or finding.where not in seen:
        return finding
    return Finding("warning", finding.where, f"the app sees it, and you do not: {finding.what}", finding.cure)


def events(management: Management, place: Place, hosted: Hosted, app: App) -> tuple[list[Finding], Awaited | None]:
    """Look at the topic and its subscriptions; return what was found, and what they were held against."""
    where = "events"
    if app.settings.scans:
        return [Finding("ok", where, "the blob trigger lists the containers by itself: it needs none")], None
    if not place.topic:
        cure = "Name the training account's system topic: --topic RESOURCE_ID; azd's outputs have it after `azd up`."
        return [Finding("warning", where, "not looked at: nothing says which topic they come from", cure)], None
    where = f"topic {name_of(place.topic)}"
    try:
        source = name_of(management.source(place.topic))
        subscriptions = management.subscriptions(place.topic)
    except EndpointError as error:
        if not isinstance(error, ReadError) or error.status != 404:
            return [unread(where, error, OF_EVENTS)], None
        cure = "`azd up` makes it, or uses the one that the training account has (TRAINING_TOPIC_ID)."
        return [Finding("fault", where, f"there is none at {place.topic}", cure)], None
    found = [_source(where, source, app)]
    urls, keys = dict[str, str](), hosted.keys
    for one in subscriptions if app.settings.events == "blob" else ():
        if one.to.endpoint_type == "WebHook":
            try:
                urls[one.name] = management.full_url(place.topic, one.name)
            except EndpointError as error:
                found.append(unread(f"subscription {one.name}", error, OF_EVENTS))
    awaited = Awaited(
        settings=app.settings,
        hosts=hosted.site.hosts if hosted.site else [],
        storage=_account(hosted.environ or {}),
        functions=None if hosted.functions is None else frozenset(one.name for one in hosted.functions),
        key=None if keys is None else keys.system_keys.get(KEY) or "",
        master=(keys and keys.master_key) or "",
        token=place.token,
        subscriptions=subscriptions,
        urls=urls,
    )
    return [*found, *awaited.judged()], awaited


def _source(where: str, source: str, app: App) -> Finding:
    """Is the topic that of the account which the datastores are on?"""
    for name, datastore in app.datastores.items():
        account = datastore.account
        if account and account != source:
            what = f"has the events of storage account {source!r}; datastore {name!r} is on account {account!r}"
            return Finding("fault", where, what, "Name the topic of that account: TRAINING_TOPIC_ID, or --topic here.")
    return Finding("ok", where, f"has the events of storage account {source!r}")


def _account(environ: Mapping[str, str]) -> str:
    """Return the name of the app's own storage account; empty where its connection does not tell."""
    try:
        with queue_client(DEFAULT_CONNECTION, "any", environ) as client:
            return (client.account_name or "").partition(".")[0]
    except ConfigurationError:  # only what the queue needs is missing; the links behind say so
        return ""


def _kept(awaited: Awaited | None) -> tuple[list[str], list[Finding]]:
    """Return the app's own containers that subscriptions leave dead letters in; and those that are elsewhere."""
    here, elsewhere, own = dict[str, None](), list[Finding](), awaited.storage if awaited else ""
    for one in awaited.subscriptions if awaited else ():
        told = one.dead_letters.properties if one.dead_letters else {}
        account, container = name_of(str(told.get("resourceId") or "")), str(told.get("blobContainerName") or "")
        if container and own and account != own:
            what = f"subscription {one.name!r} leaves dead letters in account {account!r}, which were not looked at"
            elsewhere.append(Finding("warning", f"container {container}", what, "Look there; they are for people."))
        elif container:
            here[container] = None
    return list(here), elsewhere
