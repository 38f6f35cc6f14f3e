"""Where the app is deployed: resource ids and names, as azd's outputs (infra/main.bicep) or an operator give them.

Never asks Azure: `management.py` does.
"""

import re
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

import msgspec

from shared.errors import BadRequestError, ConfigurationError
from shared.pipelines.clouds import CLOUDS, LOOPBACK, PUBLIC, cloud_at

MANAGEMENT = "RETRAIN_MANAGEMENT_URL"
_ID = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/(?P<kind>[^/]+/[^/]+)/(?P<name>[^/]+)", re.I)
SITE, TOPIC = "Microsoft.Web/sites", "Microsoft.EventGrid/systemTopics"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One deployed app, and the topic whose events it is to get."""

    management: str
    """Scheme and host of Azure Resource Manager."""
    app: str
    """Resource id of the function app."""
    topic: str = ""
    """Resource id of the training account's system topic; empty: nobody said."""
    delivery: str = ""
    """What azd was told of the way in, `blobTrigger` or `queue`; empty: nobody said."""
    token: str = ""
    """What azd has in the names of its event subscriptions; empty: nobody said."""

    @classmethod
    def of(cls, environ: Mapping[str, str], app: str = "", topic: str = "") -> Self | None:
        """Return what the options name, else azd's outputs; None when neither does.

        Raises BadRequestError for an option that is no resource id, ConfigurationError for the management address.
        """
        given = environ.get
        named = _id(SITE, given("AZURE_SUBSCRIPTION_ID"), given("AZURE_RESOURCE_GROUP"), given("FUNCTION_APP_NAME"))
        app = _checked(app, SITE) if app else named
        if not app:
            return None
        by_azd = _id(TOPIC, *(given(f"EVENT_TOPIC_{part}") for part in ("SUBSCRIPTION", "GROUP", "NAME")))
        known = app == named  # what azd says of events is about its own app
        return cls(
            management=_management(environ),
            app=app,
            topic=_checked(topic, TOPIC) if topic else by_azd if known else "",
            delivery=given("EVENT_DELIVERY_IN_USE", "") if known else "",
            token=given("EVENT_TOKEN", "") if known else "",
        )


def name_of(resource: str) -> str:
    """Return the last part of a resource id."""
    return resource.rstrip("/").rpartition("/")[2]


def _checked(resource: str, kind: str) -> str:
    found = _ID.fullmatch(resource.rstrip("/"))
    if found is None or found["kind"].lower() != kind.lower():
        form = f"/subscriptions/.../resourceGroups/.../providers/{kind}/NAME"
        raise BadRequestError(f"{resource[:200]!r} is no resource id of {kind}; expected {form}.")
    return found[0]


def _id(kind: str, subscription: str | None, group: str | None, name: str | None) -> str:
    """Return a resource id; empty when a part of it is not there."""
    if not (subscription and group and name):
        return ""
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}/{name}"


def _management(environ: Mapping[str, str]) -> str:
    """Return the address of Resource Manager: the setting's, else that of the cloud which azd's endpoint is in."""
    if given := environ.get(MANAGEMENT, "").rstrip("/"):
        parts = urlsplit(given)
        known = [cloud.management for cloud in CLOUDS.values()]
        here = parts.scheme == "http" and parts.hostname in LOOPBACK and given == f"http://{parts.netloc}"
        if given not in known and not here:  # a token goes there
            text = f"expected the address of Azure Resource Manager, one of {', '.join(known)}; or http on this machine"
            raise ConfigurationError([f"app setting {MANAGEMENT}: {text}"])
        return given
    return cloud_at(urlsplit(environ.get("ENDPOINT_URL", "")).hostname or "").management or PUBLIC.management
