"""Somebody is told what needs a person: each state once, signed, also when the receiver is down for a while."""

import base64
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_args

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared import notices
from shared.app import App, build
from shared.errors import StorageError
from shared.flow import poison
from shared.flow.arrive import arrive
from shared.flow.tick import tick
from shared.ledger import notes
from shared.ledger.entries import State
from shared.notices import Notice
from shared.rules.arrival import Source
from shared.settings.model import TOLD_BY_DEFAULT, Notify, Told
from tests.fixtures_workspace import LocalWorkspace

SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
PATH = "income/us/a.csv"

pytestmark = pytest.mark.usefixtures("empty_container")


class Receiver:
    """Takes messages, and answers as it is told."""

    def __init__(self) -> None:
        self.answers = list[int]()
        """What the next ones are answered with; 200 afterwards."""
        self.got = list[tuple[dict[str, str], str]]()
        self.seen = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep the message, when it is answered with 200."""
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                receiver.seen += 1
                status = receiver.answers.pop(0) if receiver.answers else 200
                if status == 200:
                    receiver.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/s3cr3t"

    @property
    def told(self) -> list[str]:
        """The types of what it has got."""
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on this machine."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def telling(app: App, receiver: Receiver, **changes: Any) -> App:
    """Return the application with somebody to be told."""
    notify = Notify(url=receiver.url, secret=SECRET, **changes)
    made = build(msgspec.structs.replace(app.settings, notify=notify))
    made.prepare()
    return made


@pytest.fixture
def made(app: App, receiver: Receiver) -> Iterator[App]:
    """The application that tells by default."""
    made = telling(app, receiver)
    yield made
    made.close()


def later(app: App, **by: float) -> None:
    """Move the app's clock on."""
    now = app.ledger.now
    app.ledger.now = lambda: now() + timedelta(**by)


def let_arrive(app: App, workspace: LocalWorkspace, path: str = PATH, **fault: Any) -> str:
    """Let a file arrive while the endpoint answers with a fault; return its key."""
    workspace.upload(path, f"a\n{path}\n")
    if fault:
        workspace.control("POST", "faults", [{"on": "submit", **fault}])
    [outcome] = arrive(app, "training", path, Source.BLOB_EVENT)
    return outcome.key


def test_refused_request_is_told_once(made: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """With all that somebody needs, signed by the convention, and however often the timer runs."""
    key = let_arrive(made, workspace, kind="status", status=400)
    for _ in range(3):
        tick(made)
    [(headers, body)] = receiver.got
    told = Webhook(SECRET).verify(body, headers)
    assert (headers["webhook-id"], told["type"]) == (f"{key}.refused", "retrain.refused")
    assert told["data"]["path"] == PATH
    assert told["data"]["text"].startswith(f"income-files: {PATH} is refused, version 1. 400 ")
    assert notes.of_rule(made.ledger, "income-files") == []
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + " ", headers)


def test_failed_run_is_told(made: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """The reason, as the service tells it."""
    let_arrive(made, workspace)
    [run] = workspace.control("GET", "runs")
    workspace.control("POST", f"runs/{run['run_id']}/status", {"status": "Failed", "error": "no column age"})
    tick(made)
    tick(made)
    assert receiver.told == ["retrain.failed"]
    assert "no column age" in receiver.got[0][1]


def test_dead_arrival_is_told(
    made: App, workspace: LocalWorkspace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never got its row; the platform's second word about it tells nothing new."""

    def fail(*_: object, **__: object) -> None:
        raise StorageError("Ledger table 'retrains', claim: 503")

    workspace.upload(PATH, "a\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr(made.ledger, "enter", fail)
        for _ in range(2):
            poison.bury(made, "training", PATH, "0x1", made.ledger.now())
    tick(made)
    poison.bury(made, "training", PATH, "0x1", made.ledger.now())
    tick(made)
    assert receiver.told.count("retrain.dead") == 1


def test_what_is_settled_before_it_is_told_is_not(made: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """An answer that was lost, and the run is found a moment later: nobody is woken for that."""
    key = let_arrive(made, workspace, kind="accept_then_drop")
    row = made.ledger.get(key, ["income-files"])
    assert row is not None
    assert row.entry.state == State.UNCERTAIN
    tick(made)
    assert receiver.told == []
    assert notes.of_rule(made.ledger, "income-files") == []


def test_state_that_comes_twice_is_told_once(made: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """Uncertain, sent again, uncertain again."""
    key = let_arrive(made, workspace, kind="drop")
    workspace.control("POST", "faults", [{"on": kind, "kind": "status", "times": 99} for kind in ("list", "status")])
    tick(made)
    assert receiver.told == ["retrain.uncertain"]
    row = made.ledger.get(key, ["income-files"])
    assert row is not None
    row = made.ledger.move(row, State.SENDING)
    made.ledger.move(row, State.UNCERTAIN, due_at=made.ledger.now() + timedelta(hours=1))
    tick(made)
    assert receiver.told == ["retrain.uncertain"]


@pytest.mark.parametrize("status", [500, 503, 404, 429, 302])
def test_receiver_that_is_down_for_a_while(
    made: App, workspace: LocalWorkspace, receiver: Receiver, status: int
) -> None:
    """It is told when it is back, under the same id; not in each tick meanwhile, and no redirect is followed."""
    key = let_arrive(made, workspace, kind="status", status=400)
    receiver.answers = [status, status]
    tick(made)
    tick(made)
    assert (receiver.seen, receiver.got) == (1, [])
    later(made, minutes=2)
    tick(made)
    later(made, minutes=1)
    tick(made)
    assert receiver.seen == 2
    later(made, minutes=2)
    tick(made)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [f"{key}.refused"]


def test_receiver_that_stays_away_is_given_up(
    made: App, workspace: LocalWorkspace, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """After three days, with an error in the log; neither address nor secret is in it."""
    caplog.set_level(logging.INFO, "retrain")
    let_arrive(made, workspace, kind="status", status=400)
    receiver.answers = [500] * 99
    for _ in range(100):
        later(made, hours=1)
        tick(made)
    assert 60 < receiver.seen < 80
    assert caplog.text.count("not_notified") == 1
    assert notes.of_rule(made.ledger, "income-files") == []
    assert "s3cr3t" not in caplog.text
    assert SECRET not in caplog.text


def test_receiver_that_wants_no_more(made: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """410: it is not asked again about this one."""
    let_arrive(made, workspace, kind="status", status=400)
    receiver.answers = [410]
    for _ in range(3):
        later(made, hours=1)
        tick(made)
    assert receiver.seen == 1


def test_receiver_that_is_down_does_not_take_the_tick(made: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """After some failures the rest waits for the next tick; what else the timer does is done."""
    for number in range(20):
        let_arrive(made, workspace, f"income/us/{number}.csv", kind="status", status=400)
    receiver.answers = [500] * 99
    tick(made)
    assert receiver.seen <= 3 + 4
    receiver.answers = []
    later(made, minutes=5)
    tick(made)
    assert Counter(receiver.told) == {"retrain.refused": 20}


def test_worker_that_dies_after_telling_tells_again_under_the_same_id(
    made: App, workspace: LocalWorkspace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receivers know by the id what they have."""

    def die(*_: object) -> None:
        raise SystemExit

    let_arrive(made, workspace, kind="status", status=400)
    with monkeypatch.context() as patch:
        patch.setattr(notes, "done", die)
        with pytest.raises(SystemExit):
            tick(made)
    tick(made)
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_blocked_endpoint_is_told_once_for_all_that_waits(
    made: App, workspace: LocalWorkspace, receiver: Receiver
) -> None:
    """When it has been so for some minutes; and again when it is so again later."""
    workspace.control("POST", "settings", {"role": "reader"})
    for number in range(3):
        let_arrive(made, workspace, f"income/us/{number}.csv")
    tick(made)
    assert receiver.told == []
    for _ in range(3):
        later(made, minutes=6)
        tick(made)
    assert receiver.told == ["retrain.blocked"]
    assert "3 waiting" in receiver.got[0][1]
    workspace.control("POST", "settings", {"role": "contributor"})
    later(made, minutes=30)
    tick(made)
    later(made, minutes=30)
    tick(made)
    workspace.control("POST", "settings", {"role": "reader"})
    let_arrive(made, workspace, "income/us/4.csv")
    later(made, minutes=6)
    tick(made)
    assert receiver.told == ["retrain.blocked", "retrain.blocked"]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2


def test_finished_run_is_told_where_that_is_wanted(app: App, workspace: LocalWorkspace, receiver: Receiver) -> None:
    """And what is not wanted is not."""
    made = telling(app, receiver, on=frozenset({"finished"}))
    let_arrive(made, workspace, "income/us/b.csv", kind="status", status=400)
    let_arrive(made, workspace)
    [run] = workspace.control("GET", "runs")
    workspace.control("POST", f"runs/{run['run_id']}/status", {"status": "Finished"})
    tick(made)
    tick(made)
    assert receiver.told == ["retrain.finished"]
    made.close()


def test_nobody_is_told_of_what_is_older_than_anybody_wants(
    app: App, workspace: LocalWorkspace, receiver: Receiver
) -> None:
    """Telling was switched off for a while: what was not told then is not told after weeks."""
    made = telling(app, receiver)
    let_arrive(made, workspace, kind="status", status=400)
    later(made, days=10)
    tick(made)
    assert receiver.got == []
    assert notes.of_rule(made.ledger, "income-files") == []
    made.close()


def test_without_anybody_to_tell_nothing_is_noted(app: App, workspace: LocalWorkspace) -> None:
    """No row more than before."""
    key = let_arrive(app, workspace, kind="status", status=400)
    assert notes.of_rule(app.ledger, "income-files") == []
    row = app.ledger.get(key, ["income-files"])
    assert row is not None
    assert row.entry.told == ""


def notice(text: str = "a <b> & c") -> Notice:
    """Return a message."""
    return Notice(
        id="k.failed",
        type="retrain.failed",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        text=text,
        data={"rule": "r", "run_id": ""},
    )


def test_message_for_slack() -> None:
    """Its three marks are escaped, so that nothing in a blob's name becomes a link or a mention."""
    assert notices.FORMS["slack"](notice("<!channel> & x")) == {"text": "&lt;!channel&gt; &amp; x"}


def test_message_for_teams() -> None:
    """An adaptive card, with the facts that there are."""
    [attachment] = notices.FORMS["teams"](notice())["attachments"]
    words, facts = attachment["content"]["body"]
    assert words["text"] == "a <b> & c"
    assert facts["facts"] == [{"title": "rule", "value": "r"}]


def test_words_of_the_setting_are_states() -> None:
    """And one that is about endpoints."""
    assert set(get_args(Told)) - {"blocked"} <= set(map(str, State))
    assert set(get_args(Told)) > TOLD_BY_DEFAULT
