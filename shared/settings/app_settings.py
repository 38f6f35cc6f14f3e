"""The RETRAIN_... app settings -> fields of Settings. Never reads retrain.toml, and never shows a secret in a fault."""

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, get_args
from urllib.parse import urlsplit

from shared.errors import shown
from shared.metrics import PROVIDERS
from shared.rules.durations import duration
from shared.settings.model import (
    BLOB_SOURCES,
    DEFAULT_CONNECTION,
    EVENTS,
    TOLD_BY_DEFAULT,
    Callers,
    Form,
    Notify,
    Told,
)

_OF_QUEUES = ("", "__queueServiceUri", "__accountName")
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
SHORTEST_SECRET = 24  # bytes, after the convention (Standard Webhooks 1.0, "Signature scheme")

Fault = Callable[[str, str], None]
"""Notes what is wrong with a setting: its name, and the words."""


def app_settings(environ: Mapping[str, str], fault: Fault) -> dict[str, Any]:
    """Return the fields that are set."""
    found: dict[str, Any] = {}
    if events := environ.get("RETRAIN_EVENTS"):
        found["events"] = events
        if events not in EVENTS:
            fault("RETRAIN_EVENTS", f"expected one of {', '.join(EVENTS)}; got {shown(events)}")
        elif events == "queue" and not any(environ.get(f"{DEFAULT_CONNECTION}{part}") for part in _OF_QUEUES):
            parts = " or ".join(f"{DEFAULT_CONNECTION}{part}" for part in _OF_QUEUES)
            fault("RETRAIN_EVENTS", f"the queue is in the app's own storage; expected the app setting {parts}")
    if source := environ.get("RETRAIN_BLOB_SOURCE"):
        found["blob_source"] = source
        if source not in BLOB_SOURCES:
            fault("RETRAIN_BLOB_SOURCE", f"expected one of {', '.join(BLOB_SOURCES)}; got {shown(source)}")
    if schedule := environ.get("RETRAIN_TIMER_SCHEDULE"):
        found["timer_schedule"] = schedule
        if len(schedule.split()) not in (5, 6):
            fault("RETRAIN_TIMER_SCHEDULE", f"expected NCRONTAB, such as '0 * * * * *'; got {shown(schedule)}")
    if grace := environ.get("RETRAIN_GRACE"):
        try:
            found["grace"] = duration(grace)
            if found["grace"] < timedelta(seconds=5):
                raise ValueError(f"expected 5s or more, got {grace!r}: it bounds how long a submission may take")
        except ValueError as error:
            fault("RETRAIN_GRACE", str(error))
    if where := environ.get("RETRAIN_METRICS"):
        found["metrics"] = where
        if where not in PROVIDERS:
            fault("RETRAIN_METRICS", f"expected one of {', '.join(PROVIDERS)}; got {shown(where)}")
    found["notify"] = _notify(environ, fault)
    found["callers"] = _callers(environ, fault)
    return found


def _notify(environ: Mapping[str, str], fault: Fault) -> Notify | None:
    url, form = environ.get("RETRAIN_NOTIFY_URL"), environ.get("RETRAIN_NOTIFY_FORM") or "standard"
    secret, words = environ.get("RETRAIN_NOTIFY_SECRET", ""), _words(environ, "RETRAIN_NOTIFY_ON")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        fault("RETRAIN_NOTIFY_URL", "expected an https address; its value is not shown, since it may give access")
    if form not in get_args(Form):
        fault("RETRAIN_NOTIFY_FORM", f"expected one of {', '.join(get_args(Form))}; got {shown(form)}")
    if form == "standard" and not _is_secret(secret):
        fault("RETRAIN_NOTIFY_SECRET", f"{_SECRET}; messages of form standard are signed with it")
    unknown = [word for word in words if word not in get_args(Told)]
    if unknown:
        fault("RETRAIN_NOTIFY_ON", f"expected some of {', '.join(get_args(Told))}; got {shown(unknown[0])}")
    on: Any = frozenset(words) or TOLD_BY_DEFAULT
    told: Any = form
    return Notify(url=url, secret=secret, form=told, on=on)


def _callers(environ: Mapping[str, str], fault: Fault) -> Callers:
    signing, github = (_words(environ, f"RETRAIN_{kind}_SECRETS") for kind in ("SIGNING", "GITHUB"))
    apps = _words(environ, "RETRAIN_ALLOWED_APPS")
    if not all(map(_is_secret, signing)):
        fault("RETRAIN_SIGNING_SECRETS", f"{_SECRET}, each; several are separated by blanks")
    if any(len(secret) < SHORTEST_SECRET for secret in github):
        fault("RETRAIN_GITHUB_SECRETS", f"expected {SHORTEST_SECRET} characters or more, each; separated by blanks")
    found = Callers(
        signing_secrets=tuple(signing), github_secrets=tuple(github), allowed_apps=frozenset(map(str.lower, apps))
    )
    level = environ.get("RETRAIN_WEBHOOK_LEVEL", "function")
    if level not in ("function", "anonymous"):
        fault("RETRAIN_WEBHOOK_LEVEL", f"expected function or anonymous; got {shown(level)}")
    elif level == "anonymous" and not found:
        fault("RETRAIN_WEBHOOK_LEVEL", "anonymous would let anybody start runs: configure another proof of callers")
    return found


_SECRET = f"expected 'whsec_' and the Base64 of {SHORTEST_SECRET} bytes or more"


def _is_secret(text: str) -> bool:
    """Tell whether this is a secret of the Standard Webhooks convention."""
    bare = text.removeprefix("whsec_")
    try:
        key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        return False
    return text != bare and len(key) >= SHORTEST_SECRET


def _words(environ: Mapping[str, str], name: str) -> list[str]:
    """Return the words of a setting, separated by blanks or commas."""
    return environ.get(name, "").replace(",", " ").split()
