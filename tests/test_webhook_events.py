"""Storage events on POST /api/retrain: both schemas, the handshakes, renames; and calls that are repeated."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import azure.functions as func
import msgspec
import pytest

from functions import webhook
from local.events import Blob, EventGrid, Schema, Subscription
from shared.app import App
from shared.errors import StorageError
from shared.flow import send
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.operate import handshake
from shared.rules.events import VALIDATION
from shared.rules.rule import DataPathParameter, Settle
from shared.storage.datastores import Datastore
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.waiting import until

PATH = "income/us/ü #1%.csv"
SURROGATES = [
    '"\\ud800"',
    '{"\\ud800": 1}',
    '{"path": "\\udfff"}',
    '[{"eventType": "x", "data": {"url": ["\\ud800"]}}]',
]

pytestmark = pytest.mark.usefixtures("empty_container")


@pytest.fixture
def made(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    """The application behind the webhook."""
    monkeypatch.setattr(webhook, "app", lambda: app)
    return app


def post(body: Any, *, method: str = "POST", query: str = "", **headers: str) -> tuple[int, Any]:
    """Send a request to the function; return status and JSON."""
    url = f"http://127.0.0.1/api/retrain{query}"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = func.HttpRequest(method=method, url=url, headers=sent, body=content)
    answered = webhook.retrain(request)
    text = answered.get_body()
    return answered.status_code, json.loads(text) if text else dict(answered.headers)


def url_of(app: App, path: str) -> str:
    """Return a blob's address."""
    return app.datastores["training"].container.get_blob_client(path).url


def grid(kind: str = "BlobCreated", **data: Any) -> dict[str, Any]:
    """Return an event in Event Grid's own schema."""
    return {"id": "1", "topic": "/t", "subject": "/s", "eventType": f"Microsoft.Storage.{kind}", "data": data}


def cloud(kind: str = "BlobCreated", **data: Any) -> dict[str, Any]:
    """Return the same as a CloudEvent."""
    return {"specversion": "1.0", "id": "1", "source": "/t", "type": f"Microsoft.Storage.{kind}", "data": data}


def runs(workspace: LocalWorkspace) -> list[str]:
    """Return the data paths of all runs."""
    found = workspace.control("GET", "runs")
    return [run["body"]["DataPathAssignments"]["input_data"]["RelativePath"] for run in found]


FORMS: dict[str, tuple[Any, dict[str, str]]] = {
    "Event Grid, array": (lambda data: [grid(**data)], {}),
    "Event Grid, object": (lambda data: grid(**data), {}),
    "Event Grid, with its header": (lambda data: [grid(**data)], {"aeg_event_type": "Notification"}),
    "CloudEvents, structured": (
        lambda data: cloud(**data),
        {"content_type": "application/cloudevents+json"},
    ),
    "CloudEvents, as plain JSON": (lambda data: cloud(**data), {}),
    "CloudEvents, batched": (lambda data: [cloud(**data)], {"content_type": "application/cloudevents-batch+json"}),
    "CloudEvents, binary": (
        lambda data: data,
        {"ce_specversion": "1.0", "ce_type": "Microsoft.Storage.BlobCreated", "ce_id": "1", "ce_source": "/t"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_new_blob_is_told_in_each_form(made: App, workspace: LocalWorkspace, form: str) -> None:
    """One run; the second delivery is a duplicate, and names the same key."""
    workspace.upload(PATH, "a\n1\n")
    make, headers = FORMS[form]
    data = {"api": "PutBlob", "url": url_of(made, PATH), "eTag": "0x1", "blobType": "BlockBlob"}
    body = make(data)
    status, told = post(body, **headers)
    assert status == 200, told
    [event] = told["events"]
    assert [one["state"] for one in event["started"]] == ["submitted"]
    assert runs(workspace) == [PATH]
    status, told = post(body, **headers)
    assert (status, told["events"][0]["duplicates"]) == (200, [event["started"][0]["key"]])
    assert runs(workspace) == [PATH]


@pytest.mark.parametrize("name", ["BlobRenamed", "DirectoryRenamed"])
def test_renamed_blob_keeps_its_date_and_is_told_by_the_event_alone(
    made: App, workspace: LocalWorkspace, name: str
) -> None:
    """A blob at once; what is below a directory at the next tick, which looks at everything."""
    made.prepare()
    workspace.upload("income/us/renamed/a.csv", "a\n1\n")
    now = made.ledger.now
    made.ledger.now = lambda: now() + timedelta(hours=2)
    tick(made)
    assert runs(workspace) == ["income/us/renamed/a.csv"]
    workspace.upload("income/us/renamed/b.csv", "a\n1\n")
    made.ledger.now = lambda: now() + timedelta(hours=4)
    path = "income/us/renamed" + ("/b.csv" if name == "BlobRenamed" else "")
    moved = url_of(made, path).replace("/training-data/", "/training-data/")
    status, told = post([grid(name, api="RenameFile", destinationUrl=moved, sourceUrl=url_of(made, "tmp/b.csv"))])
    assert status == 200, told
    if name == "DirectoryRenamed":
        assert "found by the search" in told["events"][0]["skipped"][0]["reason"]
        tick(made)
    assert sorted(runs(workspace)) == ["income/us/renamed/a.csv", "income/us/renamed/b.csv"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (grid("BlobDeleted", url="x"), "tells of no new data"),
        (grid("BlobTierChanged"), "tells of no new data"),
        (cloud("AsyncOperationInitiated"), "tells of no new data"),
        ({**grid(), "eventType": "Other.Thing"}, "tells of no new data"),
        (grid(url=5), "no address of a blob"),
        (grid(), "no address of a blob"),
        (grid(url="https://a.blob.core.windows.net/"), "no address of a blob"),
        (grid(url="https://a.blob.core.windows.net/container"), "no address of a blob"),
        (grid(url="https://a.blob.core.windows.net/container/"), "no address of a blob"),
        (grid("BlobRenamed", url="https://a.blob.core.windows.net/training-data/a.csv"), "destinationUrl"),
        (grid(url="https://a.blob.core.windows.net/elsewhere/a.csv"), "no datastore of retrain.toml"),
        (grid(url="http://127.0.0.1:1/devstoreaccount1/training-data/income/us/gone.csv"), "There is no blob"),
        (grid(url="http://127.0.0.1:1/devstoreaccount1/training-data/income/../x.csv"), "segment"),
    ],
)
def test_event_that_starts_nothing_is_answered_with_its_reason(
    made: App, caplog: pytest.LogCaptureFixture, event: dict[str, Any], reason: str
) -> None:
    """2xx, since it would be the same the next time; the reason is answered and logged."""
    caplog.set_level(logging.INFO, "retrain")
    status, told = post([event])
    assert status == 200
    assert reason in told["events"][0]["skipped"][0]["reason"]
    assert [record for record in caplog.records if record.message.startswith("skipped")]


def test_blob_that_is_created_before_its_data(made: App, workspace: LocalWorkspace) -> None:
    """CreateFile on a hierarchical account: the end of the writing tells, too; an empty marker is all that it is."""
    folders = samples.changed(
        path="income/{country}/*.csv",
        data_path=DataPathParameter(parameter="input_data", grain="folder"),
        settle=Settle(marker="_SUCCESS"),
    )
    workspace.upload("income/us/a.csv", "a\n1\n")
    status, told = post([grid(api="CreateFile", url=url_of(made, "income/us/a.csv"))])
    assert (status, told["events"][0]["skipped"][0]["reason"]) == (200, "it was created, and its data is still to come")
    status, told = post([grid(api="FlushWithClose", url=url_of(made, "income/us/a.csv"))])
    assert len(told["events"][0]["started"]) == 1
    object.__setattr__(made, "settings", msgspec.structs.replace(made.settings, rules=(folders,)))
    made.datastores["training"].container.upload_blob("income/us/_SUCCESS", b"", overwrite=True)
    post([grid(api="FlushWithClose", url=url_of(made, "income/us/a.csv"))])
    status, told = post([grid(api="CreateFile", url=url_of(made, "income/us/_SUCCESS"))])
    assert len(told["events"][0]["started"]) == 1, told


def test_batch_is_accepted_when_each_event_has_its_row(
    made: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 while storage does not answer for one of them; the others have theirs, and nothing runs twice afterwards."""
    paths = [f"income/us/{number}.csv" for number in range(20)]
    for path in paths:
        workspace.upload(path, "a\n1\n")
    look, sick = Datastore.look, {"income/us/7.csv"}

    def looks(self: Datastore, path: str, source: Any) -> Any:
        if path in sick:
            raise StorageError("Properties: 500")
        return look(self, path, source)

    monkeypatch.setattr(Datastore, "look", looks)
    events = [grid(api="PutBlob", url=url_of(made, path)) for path in paths]
    status, told = post([*events, grid("BlobDeleted")])
    assert (status, told["detail"]) == (503, "Properties: 500")
    assert len(runs(workspace)) == 19
    sick.clear()
    status, told = post(events)
    assert status == 200
    assert sorted(runs(workspace)) == sorted(paths)


@pytest.mark.parametrize(
    "body",
    [
        [],
        [{"eventType": "x"}],
        [1],
        [grid(), {"specversion": "1.0"}],
        {"specversion": 1, "type": "x"},
        [grid()] * 1001,
    ],
)
def test_body_that_is_no_delivery(made: App, body: Any) -> None:
    """400 with words: nobody can act on it."""
    status, told = post(body)
    assert status == 400
    assert "no events" in told["detail"] or body == []


# Handshakes


def test_handshake_of_event_grid_by_its_code(made: App) -> None:
    """The code is given back."""
    event = {
        **grid(),
        "eventType": VALIDATION,
        "data": {"validationCode": "512"},
    }
    assert post([event], aeg_event_type="SubscriptionValidation") == (200, {"validationResponse": "512"})


@pytest.mark.parametrize(
    "url",
    ["", "https://evil.example/x", "http://rp.eventgrid.azure.net/x", "https://eventgrid.azure.net.evil.example/"],
)
def test_handshake_by_an_address_that_is_not_event_grids(made: App, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """No other address is ever asked."""
    monkeypatch.setattr(handshake, "new_session", lambda: pytest.fail("it was asked"))
    event = {**grid(), "eventType": VALIDATION, "data": {"validationUrl": url}}
    assert post([event])[0] == 400


def test_handshake_by_event_grids_own_address(made: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once; what it answers decides."""
    asked = list[str]()

    class Session:
        def __enter__(self) -> "Session":
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def get(self, url: str, **_: Any) -> Any:
            asked.append(url)
            return type("Answer", (), {"status_code": 200})()

    monkeypatch.setattr(handshake, "new_session", Session)
    url = "https://rp-westeurope.eventgrid.azure.net:553/eventsubscriptions/x/validate?id=1"
    event = {**grid(), "eventType": VALIDATION, "data": {"validationUrl": url}}
    assert post([event]) == (200, {})
    assert asked == [url]


def test_handshake_of_cloud_events(made: App) -> None:
    """The origin that asks is allowed; OPTIONS for anything else is a fault."""
    status, headers = post(b"", method="OPTIONS", webhook_request_origin="eventgrid.azure.net")
    assert (status, headers["WebHook-Allowed-Origin"]) == (200, "eventgrid.azure.net")
    assert post(b"", method="OPTIONS")[0] == 400


# Calls that are repeated


def test_forced_call_that_is_repeated_with_its_key(made: App, workspace: LocalWorkspace) -> None:
    """One more run, however often; another key is another one; other data under the same key is a conflict."""
    for path in ("income/us/a.csv", "income/us/b.csv"):
        workspace.upload(path, "a\n1\n")
    call = {"datastore": "training", "path": "income/us/a.csv"}
    assert post(call)[0] == 202
    answers = [post({**call, "force": True}, idempotency_key="one") for _ in range(3)]
    assert {told["key"] for _, told in answers} == {answers[0][1]["key"]}
    assert [told["duplicate"] for _, told in answers] == [False, True, True]
    assert len(runs(workspace)) == 2
    assert post({**call, "force": True}, idempotency_key="two")[1]["duplicate"] is False
    assert len(runs(workspace)) == 3
    status, told = post({**call, "path": "income/us/b.csv", "force": True}, idempotency_key="one")
    assert (status, "Idempotency-Key" in told["detail"]) == (409, True)
    assert post({**call, "force": True}, idempotency_key="x" * 256)[0] == 400
    assert len(runs(workspace)) == 3


def test_endpoint_that_is_slow_to_answer(made: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is answered in time, with the row as it is then; the sending goes on, and is written down."""
    monkeypatch.setattr(send, "PROMPT_S", 0.1)
    monkeypatch.setattr("shared.operate.calls.PATIENCE_S", 0.1)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "delay", "delay_s": 1.5}])
    workspace.upload("income/us/a.csv", "a\n1\n")
    status, told = post({"datastore": "training", "path": "income/us/a.csv"})
    assert (status, told["state"]) == (202, "sending")

    def recorded() -> str:
        row = made.ledger.get(told["key"], ["income-files"])
        return row.entry.run_id if row and row.entry.state == State.SUBMITTED else ""

    assert until(recorded)
    assert len(runs(workspace)) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"path": "a", "path": "b", "datastore": "training"}', "'path' is given twice"),
        (b'{"datastore": "training", "path": "a", "parameters": {"x": "1", "x": "2"}}', "'x' is given twice"),
        (b'{"path": NaN}', "NaN is no JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"path": "\xff"}', "not what is expected"),
        (b"", "not what is expected"),
        *((text.encode(), "half a surrogate pair") for text in SURROGATES),
    ],
)
def test_json_that_readers_take_differently(made: App, body: bytes, says: str) -> None:
    """It is refused, with words."""
    status, told = post(body)
    assert (status, says in told["detail"]) == (400, True)


# The stand-in of Event Grid


@pytest.fixture
def served(made: App) -> Iterator[str]:
    """The function behind a real address, as a host serves it."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            request = func.HttpRequest(
                method=self.command, url=f"http://127.0.0.1{self.path}", headers=dict(self.headers), body=body
            )
            answered = webhook.retrain(request)
            self.send_response(answered.status_code)
            for name, value in {**answered.headers, "Content-Length": str(len(answered.get_body()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answered.get_body())

        def do_POST(self) -> None:
            """Serve."""
            self._serve()

        def do_OPTIONS(self) -> None:
            """Serve."""
            self._serve()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/retrain"
        server.shutdown()


@pytest.mark.parametrize("schema", list(Schema))
def test_event_grid_delivers_to_the_webhook(
    made: App, workspace: LocalWorkspace, storage: str, served: str, schema: Schema
) -> None:
    """Handshake, an upload, a rename; each is delivered twice, and comes to one run."""
    subscription = Subscription([served], schema=schema, event_types=frozenset({*Subscription.BLOBS}))
    with EventGrid(storage, [subscription], duplicates=1, speed=100) as service:
        for path in ("income/us/new.csv", "income/us/renamed.csv"):
            workspace.upload(path, "a\n1\n")
            properties = made.datastores["training"].container.get_blob_client(path).get_blob_properties()
            blob = Blob.of(properties, "RenameFile" if "renamed" in path else "PutBlob")
            service.publish(replace(blob, renamed_from="tmp/x.csv") if "renamed" in path else blob)
        until(lambda: service.counts["delivered"] == 4)
        assert (service.counts["attempts"], service.counts["dropped"]) == (0, 0)
    assert sorted(runs(workspace)) == ["income/us/new.csv", "income/us/renamed.csv"]


def test_damaged_event_is_named_by_its_number_where_there_are_several(made: App) -> None:
    """One alone needs none."""
    assert "event 1" not in post([{"eventType": 1}])[1]["detail"]
    assert "event 2: " in post([grid(), {"eventType": 1}])[1]["detail"]
