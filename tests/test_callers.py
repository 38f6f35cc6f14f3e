"""Who may call the webhook: signatures by published vectors, rotation, replay, Entra ID; and what is refused."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import azure.functions as func
import msgspec
import pytest
from standardwebhooks import webhooks
from standardwebhooks.webhooks import Webhook

from functions import webhook
from shared.app import App
from shared.errors import CallerError, ConfigurationError
from shared.operate.callers import Proved, proved
from shared.settings import app_settings, read
from shared.settings.model import Callers
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.test_app import index

# The published example of Standard Webhooks' libraries, and of GitHub's documentation.
SECRET, ID, TIME = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY, SIGNATURE = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
GITHUB_SECRET, GITHUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
APP = "11111111-2222-3333-4444-555555555555"
PATH = "income/us/a.csv"


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the library stands at the time of the published example."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Then":
            """Return that time."""
            return cls.fromtimestamp(TIME, tz)

    monkeypatch.setattr(webhooks, "datetime", Then)


def vector(**changes: str) -> dict[str, str]:
    """Return the headers of the published example."""
    headers = {"webhook-id": ID, "webhook-timestamp": str(TIME), "webhook-signature": SIGNATURE}
    return headers | {name.replace("_", "-"): value for name, value in changes.items()}


@pytest.mark.usefixtures("then")
@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER, SECRET), (SECRET, OTHER)])
@pytest.mark.parametrize("signature", [SIGNATURE, f"v1,AAAA {SIGNATURE}", f"v1a,AAAA {SIGNATURE}"])
def test_published_vector_of_standard_webhooks(secrets: tuple[str, ...], signature: str) -> None:
    """Whichever of several secrets it is, and beside signatures of others: so that secrets can be replaced."""
    callers = Callers(signing_secrets=secrets)
    assert proved(callers, vector(webhook_signature=signature), BODY) == Proved(by="signature", once=ID)


@pytest.mark.usefixtures("then")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"webhook_signature": "v1,AAAA"}, "No matching signature"),
        ({"webhook_signature": "v2," + SIGNATURE[3:]}, "No matching signature"),
        ({"webhook_signature": ""}, "Missing required headers"),
        ({"webhook_signature": "nonsense"}, "malformed"),
        ({"webhook_signature": "v1,A"}, "malformed"),
        ({"webhook_id": "msg_other"}, "No matching signature"),
        ({"webhook_id": ""}, "Missing required headers"),
        ({"webhook_timestamp": str(TIME + 1)}, "No matching signature"),
        ({"webhook_timestamp": str(TIME - 301)}, "too old"),
        ({"webhook_timestamp": str(TIME + 301)}, "too new"),
        ({"webhook_timestamp": "soon"}, "Invalid Signature Headers"),
        ({"webhook_timestamp": "9" * 400}, "Invalid Signature Headers"),
        ({"webhook_timestamp": "nan"}, "Invalid Signature Headers"),
    ],
)
def test_signature_that_is_not_accepted(changes: dict[str, str], says: str) -> None:
    """With words, and never with what it should have been."""
    with pytest.raises(CallerError, match=says) as caught:
        proved(Callers(signing_secrets=(SECRET,)), vector(**changes), BODY)
    assert SIGNATURE[3:] not in str(caught.value)


@pytest.mark.usefixtures("then")
@pytest.mark.parametrize("body", [b'{"test": 2432232315}', b"", b"\xff"])
def test_signature_of_another_body(body: bytes) -> None:
    """The raw bytes are signed."""
    with pytest.raises(CallerError):
        proved(Callers(signing_secrets=(SECRET,)), vector(), body)


def test_published_vector_of_github() -> None:
    """What stands for the call is its body: the signature has no time."""
    callers = Callers(github_secrets=("another one of twenty-four", GITHUB_SECRET))
    found = proved(callers, {"x-hub-signature-256": GITHUB_SIGNATURE}, GITHUB_BODY)
    assert found == Proved(by="github", once=hashlib.sha256(GITHUB_BODY).hexdigest())


@pytest.mark.parametrize("signature", ["", "sha256=", GITHUB_SIGNATURE.upper(), GITHUB_SIGNATURE[7:], "sha256=ü\ud800"])
def test_signature_of_github_that_is_not_accepted(signature: str) -> None:
    """Whatever it is."""
    with pytest.raises(CallerError, match="no secret fits"):
        proved(Callers(github_secrets=(GITHUB_SECRET,)), {"x-hub-signature-256": signature}, GITHUB_BODY)


def principal(*claims: tuple[str, str]) -> dict[str, str]:
    """Return what the platform adds to a request."""
    told = {"auth_typ": "aad", "claims": [{"typ": kind, "val": value} for kind, value in claims]}
    return {"x-ms-client-principal": base64.b64encode(json.dumps(told).encode()).decode()}


@pytest.mark.parametrize("claim", ["appid", "azp"])
@pytest.mark.parametrize("app", [APP, APP.upper()])
def test_application_that_is_allowed(monkeypatch: pytest.MonkeyPatch, claim: str, app: str) -> None:
    """By the token's application id, in both versions of tokens."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    found = proved(Callers(allowed_apps=frozenset({APP})), principal((claim, app)), b"")
    assert found == Proved(by=f"app {APP}")


@pytest.mark.parametrize(
    ("enabled", "headers", "says"),
    [
        ("", principal(("appid", APP)), "could be anybody's"),
        ("False", principal(("appid", APP)), "could be anybody's"),
        ("True", principal(("appid", "other")), "none of RETRAIN_ALLOWED_APPS"),
        ("True", principal(("name", APP)), "none of RETRAIN_ALLOWED_APPS"),
        ("True", principal(), "none of RETRAIN_ALLOWED_APPS"),
        ("True", {"x-ms-client-principal": "%"}, "cannot be read"),
        ("True", {"x-ms-client-principal": base64.b64encode(b"[1").decode()}, "cannot be read"),
        ("True", {"x-ms-client-principal": base64.b64encode(b"\xff").decode()}, "cannot be read"),
        ("True", {}, "Nothing proves who is calling; expected x-ms-client-principal"),
    ],
)
def test_application_that_is_not(
    monkeypatch: pytest.MonkeyPatch, enabled: str, headers: dict[str, str], says: str
) -> None:
    """A header that anybody could send proves something only where the platform has written it."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", enabled)
    with pytest.raises(CallerError, match=says):
        proved(Callers(allowed_apps=frozenset({APP})), headers, b"")


def test_without_anything_configured_the_key_alone_decides() -> None:
    """Whatever is sent beside it."""
    assert proved(Callers(), {"webhook-signature": "nonsense"}, b"") is None


def test_any_proof_is_enough_and_a_wrong_one_is_refused() -> None:
    """A caller cannot choose the weaker way with the stronger one wrong."""
    callers = Callers(signing_secrets=(SECRET,), github_secrets=(GITHUB_SECRET,))
    github = {"x-hub-signature-256": GITHUB_SIGNATURE}
    assert proved(callers, github, GITHUB_BODY) is not None
    with pytest.raises(CallerError, match="webhook-signature or x-hub-signature-256"):
        proved(callers, {}, GITHUB_BODY)
    with pytest.raises(CallerError):
        proved(callers, {**github, "webhook-signature": "v1,AAAA"}, GITHUB_BODY)


# Through the function


def post(body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """Send a request to the webhook."""
    request = func.HttpRequest("POST", "https://app/api/retrain", headers=headers, body=body)
    answer = webhook.retrain(request)
    return answer.status_code, json.loads(answer.get_body())


def signed(body: bytes, id_: str, at: datetime | None = None) -> dict[str, str]:
    """Return the headers of a signed call."""
    at = at or datetime.now(UTC)
    signature = Webhook(SECRET).sign(id_, at, body.decode())
    return {"webhook-id": id_, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


@pytest.fixture
def made(app: App, workspace: LocalWorkspace, empty_container: None, monkeypatch: pytest.MonkeyPatch) -> App:
    """The application behind the webhook, which asks for a signature."""
    callers = Callers(signing_secrets=(SECRET,), github_secrets=(GITHUB_SECRET,))
    settings = msgspec.structs.replace(app.settings, callers=callers)
    made = App(settings, app.ledger, app.datastores, app.endpoints)
    monkeypatch.setattr(webhook, "app", lambda: made)
    workspace.upload(PATH, "a\n1\n")
    return made


def call(**more: Any) -> bytes:
    """Return a call."""
    return json.dumps({"datastore": "training", "path": PATH, **more}).encode()


def test_call_without_a_proof_does_nothing(made: App, workspace: LocalWorkspace) -> None:
    """401 as a problem, before anything of it was read."""
    for body in (call(), b"{nonsense"):
        status, told = post(body, {})
        assert (status, told["type"]) == (401, "urn:problem-type:retrain:unauthorized")
    assert workspace.control("GET", "runs") == []


@pytest.mark.parametrize("kind", ["standard", "github"])
def test_signed_call_that_is_replayed_starts_nothing_more(made: App, workspace: LocalWorkspace, kind: str) -> None:
    """A forced call, too, and with whatever header that is not signed."""
    body = call(force=True)
    digest = hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = signed(body, "msg_1") if kind == "standard" else {"x-hub-signature-256": f"sha256={digest}"}
    status, first = post(body, headers)
    assert (status, first["duplicate"]) == (202, False)
    for once in ("", "other", "another"):
        status, told = post(body, {**headers, "idempotency-key": once} if once else headers)
        assert (status, told["run_id"], told["duplicate"]) == (202, first["run_id"], True)
    assert len(workspace.control("GET", "runs")) == 1


def test_signed_calls_with_ids_of_their_own_are_two(made: App, workspace: LocalWorkspace) -> None:
    """Whoever means it twice says so."""
    for id_ in ("msg_1", "msg_2"):
        assert post(call(force=True), signed(call(force=True), id_))[0] == 202
    assert len(workspace.control("GET", "runs")) == 2


def test_signed_call_of_an_hour_ago(made: App, workspace: LocalWorkspace) -> None:
    """Refused, however right its signature."""
    status, told = post(call(), signed(call(), "msg_1", datetime.now(UTC) - timedelta(hours=1)))
    assert (status, "too old" in told["detail"]) == (401, True)


# Settings


def configured(**environ: str) -> Callers:
    """Return the callers that app settings make; raises ConfigurationError."""
    faults = list[str]()
    found = app_settings.app_settings(environ, lambda name, text: faults.append(f"{name}: {text}"))
    if faults:
        raise ConfigurationError(faults)
    callers: Callers = found["callers"]
    return callers


def test_several_of_each() -> None:
    """Separated by blanks or commas; application ids in any case."""
    found = configured(
        RETRAIN_SIGNING_SECRETS=f"{SECRET}, {OTHER}",
        RETRAIN_GITHUB_SECRETS="a" * 24 + " " + "b" * 24,
        RETRAIN_ALLOWED_APPS=APP.upper(),
    )
    assert found.signing_secrets == (SECRET, OTHER)
    assert len(found.github_secrets) == 2
    assert found.allowed_apps == {APP}
    assert SECRET not in repr(found)
    assert "aaaa" not in repr(found)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"RETRAIN_SIGNING_SECRETS": SECRET[6:]}, "expected 'whsec_'"),
        ({"RETRAIN_SIGNING_SECRETS": "whsec_" + base64.b64encode(b"s" * 23).decode()}, "24 bytes or more"),
        ({"RETRAIN_SIGNING_SECRETS": "whsec_%%%"}, "expected 'whsec_'"),
        ({"RETRAIN_SIGNING_SECRETS": f"{SECRET} short"}, "expected 'whsec_'"),
        ({"RETRAIN_GITHUB_SECRETS": "a" * 23}, "24 characters or more"),
        ({"RETRAIN_WEBHOOK_LEVEL": "anonymous"}, "would let anybody start runs"),
        ({"RETRAIN_WEBHOOK_LEVEL": "admin"}, "expected function or anonymous"),
        ({"RETRAIN_NOTIFY_URL": "http://example.org/s3cr3t"}, "expected an https address"),
        ({"RETRAIN_NOTIFY_URL": "s3cr3t"}, "expected an https address"),
        ({"RETRAIN_NOTIFY_URL": "https://example.org"}, "messages of form standard are signed"),
        (
            {"RETRAIN_NOTIFY_URL": "https://example.org", "RETRAIN_NOTIFY_FORM": "mail"},
            "expected one of standard, slack",
        ),
        (
            {"RETRAIN_NOTIFY_URL": "https://h", "RETRAIN_NOTIFY_FORM": "slack", "RETRAIN_NOTIFY_ON": "failed late"},
            "expected some of failed, .*; got 'late'",
        ),
    ],
)
def test_settings_that_are_faults(environ: dict[str, str], says: str) -> None:
    """With the setting's name, and never with a secret."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        configured(**environ)
    text = str(caught.value)
    assert "RETRAIN_" in text
    assert not any(secret in text for secret in (SECRET, "s3cr3t", "aaaa", "%%%"))


def test_faults_of_these_settings_are_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message has all."""
    with pytest.raises(ConfigurationError, match="app setting RETRAIN_GITHUB_SECRETS: "):
        read.load(environ={**samples.ENVIRON, "RETRAIN_GITHUB_SECRETS": "short"})


@pytest.mark.parametrize(("level", "expected"), [("anonymous", "ANONYMOUS"), ("function", "FUNCTION")])
def test_level_of_the_webhook(level: str, expected: str) -> None:
    """Only its own: what acts on requests and reads them asks for a key always."""
    found = index({**samples.ENVIRON, "RETRAIN_WEBHOOK_LEVEL": level, "RETRAIN_SIGNING_SECRETS": SECRET})
    assert found["retrain"][0]["authLevel"].upper() == expected
    assert found["redrive"][0]["authLevel"].upper() == "FUNCTION"


def test_time_of_the_example_is_long_ago() -> None:
    """So that the tests above would notice a tolerance that is none."""
    assert time.time() - TIME > 300
