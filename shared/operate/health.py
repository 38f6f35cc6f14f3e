"""Is the app fit to do its work? For probes: configuration, storage, identity, endpoints, timer, each with its age.

What is asked of a service is asked at most every `FRESH`, however often probes come, and waited for no longer than
`PATIENCE_S`. Never says anything secret, and never changes anything.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import msgspec

from shared.app import App, uptime
from shared.errors import ConfigurationError, EndpointError, StorageError
from shared.identity import Tokens
from shared.ledger import ticks
from shared.operate import check
from shared.operate.compared import pinned
from shared.operate.findings import ADDRESS, CONNECT, SIGN_IN, Finding, cure_of
from shared.settings.model import Pipeline

FRESH = timedelta(seconds=30)
PATIENCE_S = 8.0
# The timer is late when it has missed three of its turns, and never before this: one may take ten minutes.
LATE = timedelta(minutes=15)

What = Literal["configuration", "storage", "identity", "endpoint", "timer"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    what: What
    about: str
    """Which one: a table of retrain.toml, or an audience."""
    ok: bool
    told: str
    cure: str = ""
    """What to do, when it is not ok."""
    age_s: float = 0.0
    """So long ago it was looked at."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    status: Literal["healthy", "unhealthy"]
    checks: list[Check]

    @classmethod
    def of(cls, checks: list[Check]) -> "Health":
        """Return healthy when all is well."""
        return cls(status="healthy" if all(one.ok for one in checks) else "unhealthy", checks=checks)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How to look at something of a service."""

    what: What
    about: str
    look: Callable[[], Finding]

    @property
    def name(self) -> tuple[str, str]:
        """What it is remembered under."""
        return self.what, self.about


def misconfigured(error: ConfigurationError) -> Health:
    """Return the health of an app that cannot be put together."""
    cure = "Mend it, and deploy again; docs/settings.md and docs/rules.md say what is expected."
    return Health.of([Check(what="configuration", about=check.FILE, ok=False, told=str(error), cure=cure)])


def health(app: App) -> Health:
    """Look at everything, as far as it was not looked at just now."""
    told = f"rules that can be used: {', '.join(app.settings.rule_names())}"
    configuration = Check(what="configuration", about=check.FILE, ok=True, told=told)
    looks = list(_looks(app))
    stale = [look for look in looks if _age(app, look) > FRESH]
    if stale:
        pool = ThreadPoolExecutor(len(stale), "health")
        done, _ = wait([pool.submit(_remember, app, look) for look in stale], PATIENCE_S)
        pool.shutdown(wait=False)  # what takes longer is there for the next probe
        for future in done:
            future.result()
    return Health.of([configuration, *(_checked(app, look) for look in looks), _timer(app)])


def _looks(app: App) -> Iterator[Look]:
    """Yield what has to be asked of a service."""
    yield Look(what="storage", about="ledger", look=partial(_ledger, app))
    for name, datastore in app.datastores.items():
        where = f"datastores.{name}"
        yield Look(what="storage", about=where, look=partial(check.listable, where, datastore.container))
    used = {rule.pipeline: app.settings.pipelines[rule.pipeline] for rule in app.settings.rules}
    for audience in dict.fromkeys(pipeline.target.audience for pipeline in used.values()):
        yield Look(what="identity", about=audience, look=partial(_identity, audience))
    for name, pipeline in used.items():
        where = f"pipelines.{name}"
        yield Look(what="endpoint", about=where, look=partial(_endpoint, app, where, pipeline))


def _ledger(app: App) -> Finding:
    try:
        app.ledger.probe()
    except StorageError as error:
        return Finding("fault", "ledger", str(error), CONNECT)
    return Finding("ok", "ledger", f"table {app.ledger.table.table_name!r} can be read")


def _identity(audience: str) -> Finding:
    try:
        Tokens(audience).get()
    except EndpointError as error:
        return Finding("fault", audience, str(error), SIGN_IN)
    return Finding("ok", audience, "there is a token")


def _endpoint(app: App, where: str, configured: Pipeline) -> Finding:
    try:
        found = pinned(where, configured, app.endpoint(configured.target).described(configured.pin))
    except EndpointError as error:
        return Finding("fault", where, str(error), cure_of(error, ADDRESS))
    return next((finding for finding in found if finding.level == "fault"), found[0])


def _age(app: App, look: Look) -> timedelta:
    at, _ = app.memory.health.get(look.name, (datetime.min.replace(tzinfo=app.ledger.now().tzinfo), None))
    return app.ledger.now() - at


def _remember(app: App, look: Look) -> None:
    app.memory.health[look.name] = app.ledger.now(), look.look()


def _checked(app: App, look: Look) -> Check:
    """Return what was found; a service that has not answered yet is a fault, whatever it said earlier."""
    age = _age(app, look)
    if age > FRESH:
        told = f"no answer within {PATIENCE_S:.0f} s"
        return Check(what=look.what, about=look.about, ok=False, told=told, cure=CONNECT)
    _, found = app.memory.health[look.name]
    ok, cure, age_s = found.level != "fault", found.cure, max(round(age.total_seconds(), 1), 0.0)
    return Check(what=look.what, about=look.about, ok=ok, told=found.what, cure="" if ok else cure, age_s=age_s)


def _timer(app: App) -> Check:
    """Does the timer run? Everything that is not sent at once waits for it."""
    try:
        ticked = ticks.last(app.ledger)
    except StorageError as error:
        return Check(what="timer", about="tick", ok=False, told=str(error), cure=CONNECT)
    cure = "Is the app running, and its timer function `tick` enabled? Its log says `tick_failed` where it breaks off."
    if ticked is None:
        told = "it has not come to its end yet since the app was deployed"
        return Check(what="timer", about="tick", ok=uptime() < LATE, told=told, cure=cure if uptime() >= LATE else "")
    age = app.ledger.now() - ticked.ended_at
    late = age > max(LATE, 3 * (ticked.every or timedelta()))
    told = f"the last tick took {(ticked.ended_at - ticked.begun_at).total_seconds():.1f} s"
    age_s = max(round(age.total_seconds(), 1), 0.0)
    return Check(what="timer", about="tick", ok=not late, told=told, cure=cure if late else "", age_s=age_s)
