"""What was looked at, with what to do about it. Never looks at anything itself."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from shared.errors import ConfigurationError, EndpointError
from shared.pipelines.base import ReadError

ROLE = (
    "Give the identity that looks the role 'AzureML Data Scientist' on the workspace (docs/settings.md has a "
    "narrower one); a new role may take an hour."
)
AUDIENCE = "The token was not accepted: is `audience` that of your cloud, and the identity of the workspace's tenant? "
SIGN_IN = (
    "Run `az login`; or, where a managed identity should do, look at IDENTITY_ENDPOINT and AZURE_CLIENT_ID. The "
    "stand-ins run with ./retrain start."
)
CONNECT = (
    "Is the address right, and reached from here (DNS, firewall)? What is behind a private endpoint is reached from "
    "its network only; the stand-ins run with ./retrain start."
)
ADDRESS = "Copy `url` from the endpoint's page in the studio: there is no such endpoint at this address."
AGAIN = "Try again; if it stays like this, the service's own words say what to mend."


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "fault"]
    where: str
    """The table of retrain.toml, or what else it is about."""
    what: str
    cure: str = ""
    """What to do; always there for a fault."""


class Gap(Finding, frozen=True):
    """Something that the identity that looks could not see: it has no role, or is in another network. Another may."""


def sound(findings: Iterable[Finding]) -> bool:
    """Tell whether there is no fault among them."""
    return all(finding.level != "fault" for finding in findings)


def misconfigured(error: ConfigurationError) -> list[Finding]:
    """Return the faults of a configuration that cannot be used as it is."""
    cut = (fault.partition(": ") for fault in error.faults)
    return [Finding("fault", where, what, f"{_page(what)} says what is expected.") for where, _, what in cut]


def _page(fault: str) -> str:
    """Return the page that has the key which a fault is about."""
    return "docs/rules.md" if fault.startswith("rules") else "docs/settings.md"


def unseen(where: str, error: EndpointError, absent: str = ROLE) -> Finding:
    """Return the fault of a read of the workspace that failed."""
    who_looks = not isinstance(error, ReadError) or error.status in (None, 401, 403)
    return (Gap if who_looks else Finding)("fault", where, str(error), cure_of(error, absent))


def cure_of(error: EndpointError, absent: str = ROLE) -> str:
    """Return what to do about a read of the workspace that failed."""
    if not isinstance(error, ReadError):
        return SIGN_IN if str(error).startswith("No token") else AGAIN
    cures = {None: CONNECT, 401: AUDIENCE + ROLE, 403: ROLE, 404: absent}
    return cures.get(error.status, AGAIN)
