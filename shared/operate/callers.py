"""Who may call POST /api/retrain, beside those who have the function key: by a signature, or by an Entra token.

Where nothing is configured the function key alone decides. A proof that is there and wrong is refused, whatever else
would do. Never sees a token: the platform has checked it. Never shows what a signature should have been.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping

import msgspec

from shared import reading
from shared.errors import CallerError
from shared.settings.model import Callers

# The claim that has the application's id, in tokens of version 1 and of version 2 (Microsoft Learn, "Access token
# claims reference").
APP_CLAIMS = ("appid", "azp")
STANDARD, GITHUB, ENTRA = "webhook-signature", "x-hub-signature-256", "x-ms-client-principal"


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """Who has called."""

    by: str
    once: str = ""
    """What stays the same when the same call is replayed, and cannot be changed by who replays it."""


class _Claim(msgspec.Struct):
    typ: str = ""
    val: str = ""


class _Principal(msgspec.Struct):
    claims: list[_Claim] = []


def proved(callers: Callers, headers: Mapping[str, str], body: bytes) -> Proved | None:
    """Return who has called; None where nothing but the function key is asked for. `headers` with small letters.

    Raises CallerError.
    """
    if not callers:
        return None
    if callers.signing_secrets and STANDARD in headers:
        return _by_signature(callers, headers, body)
    if callers.github_secrets and GITHUB in headers:
        return _by_github(callers, headers, body)
    if callers.allowed_apps and ENTRA in headers:
        return _by_entra(callers, headers)
    ways = {STANDARD: callers.signing_secrets, GITHUB: callers.github_secrets, ENTRA: callers.allowed_apps}
    expected = " or ".join(name for name, configured in ways.items() if configured)
    raise CallerError(f"Nothing proves who is calling; expected {expected} (docs/settings.md, Callers).")


def _by_signature(callers: Callers, headers: Mapping[str, str], body: bytes) -> Proved:
    """Check a signature after Standard Webhooks 1.0: one of the secrets must fit, and the time be near."""
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError  # only where it is configured

    told = "no secret fits"
    for secret in callers.signing_secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            told = str(error)
        except ValueError:  # of what is no text, no list of signatures, or no Base64 the library does not say more
            told = "it is malformed"
        else:
            return Proved(by="signature", once=headers["webhook-id"])
    raise CallerError(f"The signature of the call is not accepted: {told[:100]}.")


def _by_github(callers: Callers, headers: Mapping[str, str], body: bytes) -> Proved:
    """Check GitHub's signature (GitHub docs, "Validating webhook deliveries"). It has no time: see `Proved.once`."""
    given = headers[GITHUB].encode(errors="replace")
    for secret in callers.github_secrets:
        made = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        if hmac.compare_digest(made.encode(), given):
            return Proved(by="github", once=hashlib.sha256(body).hexdigest())
    raise CallerError("GitHub's signature of the call is not accepted: no secret fits.")


def _by_entra(callers: Callers, headers: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Proved:
    """Look who the platform says is calling ("Work with user identities in Azure App Service authentication")."""
    if environ.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
        raise CallerError(
            "The platform's authentication is off, so that X-MS-CLIENT-PRINCIPAL could be anybody's: switch it on "
            "(Function App, Authentication), or take RETRAIN_ALLOWED_APPS away."
        )
    try:
        principal = reading.decode(base64.b64decode(headers[ENTRA], validate=True), _Principal)
    except (ValueError, msgspec.DecodeError) as error:
        raise CallerError("X-MS-CLIENT-PRINCIPAL cannot be read.") from error
    apps = [claim.val.lower() for claim in principal.claims if claim.typ in APP_CLAIMS]
    if found := next((app for app in apps if app in callers.allowed_apps), None):
        return Proved(by=f"app {found}")
    raise CallerError("The application that is calling is none of RETRAIN_ALLOWED_APPS.")
