"""Whatever is sent, what decodes it answers, or refuses in its own words: by hypothesis, thousands of odd inputs."""

import base64
import contextlib
from typing import Any

import azure.functions as func
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import asked
from functions.http import body_as, json_of, query_as, typed
from shared.errors import BadRequestError, CallerError
from shared.operate.callers import proved
from shared.operate.calls import Call
from shared.rules import events
from shared.settings.model import Callers

TEXT = st.text(st.characters(), max_size=40)
WORDS = st.sampled_from(
    [
        *[
            "eventType",
            "specversion",
            "type",
            "data",
            "url",
            "destinationUrl",
            "api",
            "id",
            "path",
            "rule",
            "parameters",
        ],
        *["Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobRenamed", "Microsoft.Storage.DirectoryRenamed"],
        *[events.VALIDATION, "validationCode", "validationUrl", "http://a/c/b", "https://a.blob.core.windows.net/c/b"],
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | TEXT, inner, max_size=5),
    max_leaves=12,
)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "ce-type", "ce-id", "ce-specversion", "aeg-event-type"]),
    TEXT | st.sampled_from(["application/cloudevents+json", "application/json", "Microsoft.Storage.BlobCreated"]),
    max_size=4,
)
BODIES: list[Any] = [Call, asked.ToRedrive, asked.ToRedriveMany, asked.ToPause, asked.ToResume, asked.ToClose]


@given(HEADERS, JSON)
def test_events(headers: dict[str, str], body: Any) -> None:
    """Events, or a ValueError that says what is wrong; of each event new data, a skip, or the same."""
    events.are_events(headers.get("content-type", ""), headers, body)
    found = list[events.Event]()
    with contextlib.suppress(ValueError):
        found = events.read(headers, body)
    assert events.validation_of(found) is None or found
    for event in found:
        with contextlib.suppress(ValueError):
            events.announced(event)


@given(JSON)
def test_bodies(body: Any) -> None:
    """What is asked for, or a BadRequestError."""
    for kind in BODIES:
        with contextlib.suppress(BadRequestError):
            assert isinstance(typed(body, kind), kind)


def request(body: bytes = b"", query: str = "", accept: str = "*/*") -> func.HttpRequest:
    """Return a request with a form's content type, as `curl -d` sends it."""
    headers = {"accept": accept, "content-type": "application/x-www-form-urlencoded"}
    return func.HttpRequest("POST", f"http://h/api/x{query}", headers=headers, body=body)


@given(st.binary(max_size=60) | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes(body: bytes) -> None:
    """JSON for programs, a form for browsers, or a BadRequestError."""
    with contextlib.suppress(BadRequestError):
        msgspec.json.encode(json_of(request(body)))
    with contextlib.suppress(BadRequestError):
        body_as(request(body, accept="text/html"), asked.ToPause)


@given(st.lists(st.tuples(WORDS | st.sampled_from(["limit", "state", "since", "after", "code"]), TEXT), max_size=4))
def test_queries(pairs: list[tuple[str, str]]) -> None:
    """Each type of query, or a BadRequestError that names what is known."""
    query = "?" + "&".join(f"{name}={value}" for name, value in pairs)
    for kind in (asked.Page, asked.Dry, asked.Blob, asked.Nothing):
        with contextlib.suppress(BadRequestError):
            assert isinstance(query_as(request(query=query), kind), kind)


PROOFS = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "x-ms-client-principal"]
VALUES = (
    TEXT
    | st.sampled_from(["v1,", "v1,AAAA", "1614265330", "-1", "1e400", "sha256="])
    | JSON.map(lambda value: base64.b64encode(msgspec.json.encode(str(value))).decode())
    | st.binary(max_size=30).map(lambda value: base64.b64encode(value).decode())
)


@pytest.fixture(scope="module", autouse=True)
def enabled() -> Any:
    """The platform's authentication is on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBSITE_AUTH_ENABLED", "true")
        yield


@given(st.dictionaries(st.sampled_from(PROOFS), VALUES, max_size=5), st.binary(max_size=20))
def test_proofs(headers: dict[str, str], body: bytes) -> None:
    """Nobody gets in by luck, and nothing else is raised."""
    secret = "whsec_" + base64.b64encode(b"s" * 24).decode()
    callers = Callers(signing_secrets=(secret,), github_secrets=("g" * 24,), allowed_apps=frozenset({"app"}))
    with pytest.raises(CallerError):
        proved(callers, headers, body)


def test_most_events_of_a_delivery() -> None:
    """A thousand, and not one more."""
    event = {"eventType": "Microsoft.Storage.BlobCreated", "data": {}}
    assert len(events.read({}, [event] * events.MOST)) == events.MOST == 1000
    with pytest.raises(ValueError, match="1,001 events at once; at most 1,000"):
        events.read({}, [event] * 1001)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-25", "x", 3, None])
def test_event_at_a_time_that_is_none_of_ours(time: Any) -> None:
    """It is an event all the same, that does not say when."""
    [event] = events.read({}, {"eventType": "x", "eventTime": time, "data": {}})
    assert event.time is None
