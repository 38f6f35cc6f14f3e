"""`./retrain doctor`: a sound chain; and whichever link is broken, it is named first, with its cure."""

import base64
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import azure.functions as func
import click
import msgspec
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from click.testing import CliRunner

from cli import azd
from cli.commands import commands
from functions import operate as operated
from functions.events import POISON, QUEUE
from functions.poison import QUEUE as BLOB_POISON
from local import deployed
from local.stack import Ports
from local.workspace.seed import ENDPOINT_ID, PIPELINE_IDS
from shared import identity
from shared.app import App, build
from shared.deployed.place import Place
from shared.errors import BadRequestError, ConfigurationError, EndpointError
from shared.flow.arrive import arrive
from shared.flow.tick import tick
from shared.operate import health as healths
from shared.operate import hosted, subscribed, waiting
from shared.operate.doctor import Examined, examine, first
from shared.operate.findings import Finding, sound
from shared.rules.arrival import Source
from shared.settings import read
from tests import queued
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import ENVIRON
from tests.stacks import INCOME, start
from tests.test_app import index
from tests.test_commands import NOWHERE, nothing_running, posix, run
from tests.waiting import until

KEY, SYSTEM_KEY = "the-function-key", "the-system-key"
FUNCTIONS = {
    "blob": ["tick", "retrain", "health", "arrive_training", "bury"],
    "queue": ["tick", "retrain", "health", "events", "events_poison"],
}
PATH = "income/us/a.csv"
OTHER_HOOK = deployed.webhook("other-app.azurewebsites.net", "arrive_training")
CONTAINER = "training-data"
SHIPPED = read.FILE.read_text(encoding="utf-8")


@dataclass
class Chain:
    """A deployed app on the stand-ins, whose links a test breaks before it looks."""

    workspace: LocalWorkspace
    way: str
    file: Path
    table: str
    host: str
    monkeypatch: pytest.MonkeyPatch
    queues: QueueServiceClient
    blobs: BlobServiceClient
    told: dict[str, Any] = field(default_factory=dict)
    """What ARM tells of it."""
    outputs: dict[str, str] = field(default_factory=dict)
    """What azd has noted of it."""
    toml: str = SHIPPED
    key: str = KEY
    """The key that the app takes."""
    later: timedelta = timedelta()
    """So much later it is for the app when its health is asked."""

    @property
    def settings(self) -> dict[str, str]:
        """The app settings."""
        found: dict[str, str] = self.told["settings"]
        return found

    @property
    def subscription(self) -> dict[str, Any]:
        """The properties of the one event subscription."""
        found: dict[str, Any] = self.told["subscriptions"][0]["properties"]
        return found

    @property
    def filter(self) -> dict[str, Any]:
        """What it lets through."""
        found: dict[str, Any] = self.subscription["filter"]
        return found

    def hook(self, function: str = "arrive_training", key: str = SYSTEM_KEY, host: str = "") -> None:
        """Let the subscription call this."""
        address = deployed.webhook(host or self.host, function, key)
        self.told["subscriptions"][0]["properties"] = deployed.subscription(CONTAINER, address)

    def app(self) -> App:
        """Return the app as it is configured."""
        self.file.write_text(f'{self.toml}\n[ledger]\ntable = "{self.table}"\n', encoding="utf-8")
        made = build(read.load(environ=self.settings), self.settings)
        now = made.ledger.now
        made.ledger.now = lambda: now() + self.later
        return made

    def examine(self, path: str = "") -> Examined:
        """Deploy it as it is, and look."""
        self.file.write_text(f'{self.toml}\n[ledger]\ntable = "{self.table}"\n', encoding="utf-8")
        self.workspace.control("POST", "app", self.told)
        return examine(Place.of(self.outputs), self.outputs, path)


def prepared(way: str, chain: Chain, storage: str) -> None:
    """Make a sound chain of it."""
    settings = {
        "AzureWebJobsStorage": storage,
        "TrainingStorage": storage,
        "TRAINING_CONTAINER": CONTAINER,
        "INCOME_ENDPOINT_URL": chain.workspace.endpoint["url"],
        "RETRAIN_EVENTS": way,
        "RETRAIN_FILE": str(chain.file),
    }
    to = "grid" if way == "blob" else way
    chain.told = deployed.told(to, 1, {CONTAINER: "arrive_training"}, settings, FUNCTIONS[way])
    chain.told |= {"host": chain.host, "function_key": KEY}
    if way == "blob":
        chain.told["system_keys"] = {subscribed.KEY: SYSTEM_KEY}
        chain.hook()
    else:
        chain.queues.get_queue_client(QUEUE).create_queue()
    chain.blobs.create_container(waiting.DEAD_LETTERS)
    chain.outputs = deployed.outputs(to, chain.workspace.base_url)


@pytest.fixture
def chain(
    request: pytest.FixtureRequest,
    workspace: LocalWorkspace,
    storage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Chain]:
    """A sound chain by the way in that the test is parametrized with, else by the blob trigger."""
    way = getattr(request, "param", "blob")
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, workspace.info[name.lower()])
    workspace.control("POST", "settings", {"engine": "hold"})
    workspace.upload(PATH, "a\n1\n")
    identity.credential.cache_clear()
    with ExitStack() as stack:
        queues = stack.enter_context(QueueServiceClient.from_connection_string(storage))
        blobs = stack.enter_context(BlobServiceClient.from_connection_string(storage))
        made = Chain(workspace, way, tmp_path / "retrain.toml", f"t{uuid.uuid4().hex}", "", monkeypatch, queues, blobs)
        stack.callback(_tidied, made)
        made.host = stack.enter_context(_answering(made))
        prepared(way, made, storage)
        app = made.app()
        stack.callback(app.close)
        app.prepare()
        tick(app)
        yield made
    identity.credential.cache_clear()


def _tidied(chain: Chain) -> None:
    """Take away what a test may have left in the storage that all tests have in common."""
    for queue in (QUEUE, POISON, BLOB_POISON):
        try:
            chain.queues.delete_queue(queue)
        except ResourceNotFoundError:
            continue
    for container in (waiting.DEAD_LETTERS, CONTAINER):
        try:
            chain.blobs.delete_container(container)
        except ResourceNotFoundError:
            continue


@contextmanager
def _answering(chain: Chain) -> Iterator[str]:
    """The app's own answer to GET /api/health, by its own identity, behind a key as in Azure."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["x-functions-key"] == chain.key
            status, body = _health(chain) if allowed else (401, b"")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _health(chain: Chain) -> tuple[int, bytes]:
    made: list[App] = []

    def app() -> App:
        made.append(chain.app())
        return made[0]

    chain.monkeypatch.setattr(operated, "app", app)
    handler: Any = operated.health
    answer = handler(func.HttpRequest("GET", "http://127.0.0.1/api/health", body=b""))
    for one in made:
        one.close()
    return answer.status_code, answer.get_body()


# Sound


@pytest.mark.parametrize("chain", ["blob", "queue"], indirect=True)
def test_sound_chain(chain: Chain) -> None:
    """Each link is told, in the order in which an arrival goes, and none is broken."""
    found = chain.examine().findings
    assert [finding for finding in found if finding.level != "ok"] == []
    wheres = list(dict.fromkeys(finding.where for finding in found))
    poison = QUEUE if chain.way == "queue" else f"{BLOB_POISON} (TrainingStorage)"
    assert wheres[: wheres.index("retrain.toml")] == [
        "function app retrain-local",
        "app settings",
        "functions",
        "app answers",
        "app sees retrain.toml",
        "app sees ledger",
        "app sees datastores.training",
        "app sees https://management.azure.com",
        "app sees pipelines.income",
        "app sees tick",
        "topic training-local",
        "events of training-data",
        f"queue {poison}",
        *([f"queue {POISON}"] if chain.way == "queue" else []),
        "container dead-letters",
    ]
    assert {"pipelines.income", "rules.income-files", "datastores.training", "ledger"} <= set(wheres)


@pytest.mark.parametrize("way", ["blob", "queue"])
def test_functions_that_are_expected_are_those_that_there_are(way: str) -> None:
    """But for HTTP functions that a person calls."""
    environ = {**ENVIRON, "RETRAIN_EVENTS": way}
    wanted, found = hosted.expected(read.load(environ=environ)), index(environ)
    assert set(wanted) <= set(found)
    assert {name for name, [binding, *_] in found.items() if "Trigger" in binding["type"]} - set(wanted) <= {
        name for name, [binding, *_] in found.items() if binding["type"] == "httpTrigger"
    }


def test_names_are_those_of_the_functions() -> None:
    """Queues, and the system key's webhook."""
    assert (subscribed.QUEUE, waiting.POISON, waiting.BLOB_POISON) == (QUEUE, POISON, BLOB_POISON)
    assert (deployed.QUEUE, deployed.DEAD_LETTERS) == (QUEUE, waiting.DEAD_LETTERS)


# One link is broken


def _another_app(chain: Chain) -> None:
    chain.told["name"] = "another"


def _stopped(chain: Chain) -> None:
    chain.told["state"] = "Stopped"


def _setting_missing(chain: Chain) -> None:
    del chain.settings["INCOME_ENDPOINT_URL"]
    chain.told["functions"] = [{"name": "retrain"}, {"name": "health"}]  # what such an app registers


def _another_way_in(chain: Chain) -> None:
    chain.settings["RETRAIN_EVENTS"] = "queue"
    chain.told["functions"] = [{"name": name} for name in FUNCTIONS["queue"]]


def _no_functions(chain: Chain) -> None:
    chain.told["functions"] = []


def _function_missing(chain: Chain) -> None:
    chain.told["functions"] = [one for one in chain.told["functions"] if one["name"] != "tick"]


def _function_disabled(chain: Chain) -> None:
    chain.told["functions"][3]["disabled"] = True


def _nobody_answers(chain: Chain) -> None:
    chain.told["host"] = f"127.0.0.1:{NOWHERE}"


def _key_not_taken(chain: Chain) -> None:
    chain.key = "another"


def _no_token(chain: Chain) -> None:
    class NoTokens:
        def __init__(self, audience: str) -> None:
            self.audience = audience

        def get(self) -> str:
            raise EndpointError(f"No token for {self.audience}: no identity is assigned to the app.")

    chain.monkeypatch.setattr(healths, "Tokens", NoTokens)


def _no_role(chain: Chain) -> None:
    chain.workspace.control("POST", "faults", [{"on": "endpoint", "kind": "status", "status": 403}])


def _version_disabled(chain: Chain) -> None:
    assert chain.workspace.call("PUT", f"/Pipelines/{PIPELINE_IDS[1]}/status", "Disabled").ok


def _version_gone(chain: Chain) -> None:
    chain.toml = chain.toml.replace('version = "1"', 'version = "7"')


def _endpoint_gone(chain: Chain) -> None:
    chain.settings["INCOME_ENDPOINT_URL"] = chain.settings["INCOME_ENDPOINT_URL"].replace(ENDPOINT_ID, "1" * 8)


def _no_container(chain: Chain) -> None:
    chain.blobs.delete_container(CONTAINER)


def _timer_stands_still(chain: Chain) -> None:
    chain.later = timedelta(hours=1)


def _no_topic(chain: Chain) -> None:
    chain.outputs["EVENT_TOPIC_NAME"] = "another"


def _topic_of_another_account(chain: Chain) -> None:
    chain.told["account"] = "another"


def _no_subscription(chain: Chain) -> None:
    chain.told["subscriptions"] = []


def _subscription_failed(chain: Chain) -> None:
    chain.subscription["provisioningState"] = "Failed"


def _handshake_awaited(chain: Chain) -> None:
    chain.subscription["provisioningState"] = "AwaitingManualAction"


def _to_a_queue(chain: Chain) -> None:
    chain.told["subscriptions"][0]["properties"] = deployed.subscription(CONTAINER)


def _to_a_webhook(chain: Chain) -> None:
    chain.hook()


def _to_another_queue(chain: Chain) -> None:
    chain.subscription["deliveryWithResourceIdentity"]["destination"]["properties"]["queueName"] = "others"


def _unknown_function(chain: Chain) -> None:
    chain.hook("arrive_trainings")


def _another_function(chain: Chain) -> None:
    chain.hook("bury")


def _another_host(chain: Chain) -> None:
    chain.hook(host="old-app.azurewebsites.net")


def _another_path(chain: Chain) -> None:
    chain.told["subscriptions"][0]["properties"] = deployed.subscription(CONTAINER, f"http://{chain.host}/api/other")


def _stale_key(chain: Chain) -> None:
    chain.hook(key="the-stale-key")


def _no_system_key(chain: Chain) -> None:
    chain.told["system_keys"] = {}


def _another_container(chain: Chain) -> None:
    chain.filter["subjectBeginsWith"] = "/blobServices/default/containers/archive/blobs/"


def _narrower(chain: Chain) -> None:
    chain.filter["subjectBeginsWith"] += "income/us/"


def _another_suffix(chain: Chain) -> None:
    chain.filter["subjectEndsWith"] = ".parquet"


def _suffix_that_keeps_the_marker_out(chain: Chain) -> None:
    chain.filter["subjectEndsWith"] = ".csv"
    chain.toml = chain.toml.replace(
        'grain = "file", assignment = "data_path" }',
        'grain = "folder", assignment = "data_path" }\nsettle = { marker = "_SUCCESS" }',
    ).replace('data_path = "income/us/2026-01.csv"', 'data_path = "income/us"')


def _without(call: str) -> Callable[[Chain], None]:
    def planted(chain: Chain) -> None:
        chain.filter["advancedFilters"][0]["values"].remove(call)

    return planted


def _other_events(chain: Chain) -> None:
    chain.filter["includedEventTypes"] = ["Microsoft.Storage.BlobDeleted"]


def _no_queue(chain: Chain) -> None:
    chain.queues.delete_queue(QUEUE)


def _datastore_elsewhere(chain: Chain) -> None:
    chain.workspace.control("POST", "datastores", {"name": "training", "container": "other"})


def _unknown_parameter(chain: Chain) -> None:
    chain.toml = chain.toml.replace('parameter = "input_data"', 'parameter = "inputdata"')


FAULTS: list[tuple[str, Callable[[Chain], None], str, str, str]] = [
    # the way in, what is broken, and of the first broken link: where, what, cure
    ("blob", _another_app, "function app retrain-local", "there is none at", "`azd up`"),
    ("blob", _stopped, "function app retrain-local", "is stopped", "az functionapp start"),
    ("blob", _setting_missing, "app settings", "INCOME_ENDPOINT_URL", "EXTRA_SETTINGS"),
    ("blob", _another_way_in, "app settings", "RETRAIN_EVENTS is 'queue', but events are led", "azd provision"),
    ("blob", _no_functions, "functions", "none at all", "Storage Blob Data Owner"),
    ("blob", _function_missing, "functions", "has not found tick", "azd deploy"),
    ("blob", _function_disabled, "functions", "arrive_training: disabled", "AzureWebJobs.arrive_training.Disabled"),
    ("blob", _nobody_answers, "app answers", "no answer", "reached from here"),
    ("blob", _key_not_taken, "app answers", "401", "key is not taken"),
    ("blob", _no_token, "app sees https://management.azure.com", "no identity", "IDENTITY_ENDPOINT"),
    ("blob", _no_role, "app sees pipelines.income", "403", "AzureML Data Scientist"),
    ("blob", _version_disabled, "app sees pipelines.income", "disabled", "pin another version"),
    ("blob", _version_gone, "app sees pipelines.income", "no version '7'; it has 0, 1", "`version`"),
    ("blob", _endpoint_gone, "app sees pipelines.income", "404", "Copy `url`"),
    ("blob", _no_container, "app sees datastores.training", "cannot be read", "Make container"),
    ("blob", _timer_stands_still, "app sees tick", "the last tick", "`tick` enabled"),
    ("blob", _no_topic, "topic another", "there is none", "TRAINING_TOPIC_ID"),
    ("blob", _topic_of_another_account, "topic training-local", "is on account 'devstore", "TRAINING_TOPIC_ID"),
    ("blob", _no_subscription, "events of training-data", "no event subscription", "azd hooks run postdeploy"),
    ("queue", _no_subscription, "events of training-data", "no event subscription", "azd provision"),
    ("blob", _subscription_failed, "events of training-data", "is Failed", "azd hooks run postdeploy"),
    ("blob", _handshake_awaited, "events of training-data", "is AwaitingManualAction", "azd hooks run postdeploy"),
    ("blob", _to_a_queue, "events of training-data", "delivers to a StorageQueue", "Delete it"),
    ("queue", _to_a_webhook, "events of training-data", "delivers to a WebHook", "azd provision"),
    ("queue", _to_another_queue, "events of training-data", "delivers to queue 'others'", "Delete it"),
    ("blob", _unknown_function, "events of training-data", "'arrive_trainings', which the app does not", "Delete it"),
    ("blob", _another_function, "events of training-data", "calls function 'bury'", "Delete it"),
    ("blob", _another_host, "events of training-data", "calls old-app.azurewebsites.net", "Delete it"),
    ("blob", _another_path, "events of training-data", "calls /api/other", "Delete it"),
    ("blob", _stale_key, "events of training-data", "another key", "Delete it"),
    ("blob", _no_system_key, "events of training-data", "no system key", "RETRAIN_BLOB_SOURCE"),
    ("blob", _another_container, "events of training-data", "containers/archive/blobs/", "TRAINING_DATASTORES"),
    ("queue", _another_container, "events of training-data", "containers/archive/blobs/", "TRAINING_DATASTORES"),
    ("blob", _narrower, "events of training-data", "watches for 'income/a.csv'", "TRAINING_DATASTORES"),
    ("blob", _another_suffix, "events of training-data", "end with '.parquet'", "filters"),
    ("blob", _suffix_that_keeps_the_marker_out, "events of training-data", "_SUCCESS', but", "filters"),
    ("blob", _without("FlushWithClose"), "events of training-data", "no data.api 'FlushWithClose'", "filters"),
    ("queue", _without("PutBlockList"), "events of training-data", "no data.api 'PutBlockList'", "filters"),
    ("blob", _other_events, "events of training-data", "only events of type Microsoft.Storage.BlobDel", "filters"),
    ("queue", _no_queue, "queue retrain-events", "not there", "azd provision"),
    ("blob", _datastore_elsewhere, "datastores.training", "it is container 'other'", "`container`"),
    ("blob", _unknown_parameter, "rules.income-files.data_path", "no parameter 'inputdata'", "input_data"),
]


@pytest.mark.parametrize(
    ("chain", "break_it", "where", "what", "cure"),
    FAULTS,
    ids=[f"{way}-{break_it.__name__.strip('_')}-{what}" for way, break_it, _, what, _ in FAULTS],
    indirect=["chain"],
)
def test_broken_link_is_named_first(
    chain: Chain, break_it: Callable[[Chain], None], where: str, what: str, cure: str
) -> None:
    """With what to do about it; whatever follows from it comes behind. No key is shown."""
    break_it(chain)
    made = chain.examine()
    broken = first(made.findings)
    assert broken is not None
    assert where in broken.where
    assert what in broken.what
    assert cure in broken.cure
    shown = msgspec.json.encode(made).decode()
    assert not any(key in shown for key in (KEY, SYSTEM_KEY, "the-stale-key"))
    assert all(finding.cure for finding in made.findings if finding.level != "ok")


# What is no broken link


def warned(found: list[Finding]) -> list[Finding]:
    """Return the warnings, where there is no fault."""
    assert sound(found), first(found)
    return [finding for finding in found if finding.level == "warning"]


@pytest.mark.parametrize("chain", ["blob", "queue"], indirect=True)
def test_poison_that_nobody_takes(chain: Chain) -> None:
    """A warning: how many, since when, and what takes them."""
    name = POISON if chain.way == "queue" else BLOB_POISON
    with chain.queues.create_queue(name) as queue:
        queue.send_message("x")
    [warning] = warned(chain.examine().findings)
    assert name in warning.where
    assert "1 that failed each time, since" in warning.what
    assert ("`events_poison`" if chain.way == "queue" else "`bury`") in warning.cure


@pytest.mark.parametrize("chain", ["queue"], indirect=True)
def test_events_that_wait_for_long(chain: Chain) -> None:
    """What was put just now is no news; what stays is a warning."""
    chain.queues.get_queue_client(QUEUE).send_message("x")
    assert warned(chain.examine().findings) == []
    chain.monkeypatch.setattr(waiting, "LONG", -timedelta(days=1))
    [warning] = warned(chain.examine().findings)
    assert (warning.where, "1 events wait" in warning.what) == ("queue retrain-events", True)


def letter(subject: str) -> str:
    """Return a dead letter as Event Grid writes it."""
    reason = {"deadLetterReason": "UndeliverableDueToHttpUnauthorized", "lastDeliveryOutcome": "Unauthorized"}
    return json.dumps([{"id": "1", "subject": subject, "eventType": subscribed.CREATED, **reason}])


def test_dead_letters(chain: Chain) -> None:
    """How many, the newest one's reason, and that the search finds them."""
    with chain.blobs.get_container_client(waiting.DEAD_LETTERS) as container:
        container.upload_blob("RETRAIN/2026/11/25/9/a.json", b"\xff")
        container.upload_blob("RETRAIN/2026/11/25/10/b.json", letter("/t"))
        container.upload_blob("RETRAIN/2026/11/25/11/c.json", b"{}")
    [warning] = warned(chain.examine().findings)
    assert warning.what.startswith("3 dead letters, the newest of ")
    assert warning.what.endswith("UTC: UndeliverableDueToHttpUnauthorized, Unauthorized, /t")
    assert "The search finds" in warning.cure


def test_no_dead_letters_kept(chain: Chain) -> None:
    """A subscription without a container for them."""
    chain.subscription["deadLetterWithResourceIdentity"] = None
    [warning] = warned(chain.examine().findings)
    assert "keeps no dead letters" in warning.what


def test_dead_letters_in_another_account(chain: Chain) -> None:
    """They are not looked at, and that is said."""
    told = chain.subscription["deadLetterWithResourceIdentity"]["deadLetterDestination"]["properties"]
    told["resourceId"] = told["resourceId"].replace("devstoreaccount1", "letters")
    [warning] = warned(chain.examine().findings)
    assert "in account 'letters'" in warning.what


def test_container_of_dead_letters_that_is_not_there(chain: Chain) -> None:
    """Event Grid drops what it cannot put there."""
    chain.blobs.delete_container(waiting.DEAD_LETTERS)
    [warning] = warned(chain.examine().findings)
    assert (warning.where, "it is not there" in warning.what) == ("container dead-letters", True)


def test_reader_may_not_see_settings_and_keys(chain: Chain) -> None:
    """It is a gap of who looks, and not of the app: each is told with the role that may."""
    chain.workspace.control("POST", "settings", {"role": "reader"})
    warnings = warned(chain.examine().findings)
    assert [one.where for one in warnings] == ["app settings", "keys", "what comes behind it"]
    assert all("'Website Contributor'" in one.cure for one in warnings[:2])


def test_looks_without_a_role_on_the_workspace(chain: Chain) -> None:
    """The app has it: that is no broken link, and told as what it is."""
    refused = [{"on": "endpoint", "kind": "delay"}, {"on": "endpoint", "kind": "status", "status": 403}]
    chain.workspace.control("POST", "faults", refused)  # the app reads first
    warnings = warned(chain.examine().findings)
    assert warnings[0].where == "pipelines.income"
    assert warnings[0].what.startswith("the app sees it, and you do not: ")
    assert "AzureML Data Scientist" in warnings[0].cure


def test_nobody_may_look(chain: Chain) -> None:
    """Nothing can be said of the app: that is a fault, with the role."""
    chain.workspace.control("POST", "settings", {"role": "none"})
    broken = first(chain.examine().findings)
    assert broken is not None
    assert (broken.where, "'Reader'" in broken.cure) == ("function app retrain-local", True)


def test_setting_in_a_key_vault(chain: Chain) -> None:
    """Its value is not known here, so that what follows from it is no fault of the app."""
    chain.settings["INCOME_ENDPOINT_URL"] = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"
    found = chain.examine().findings
    assert any("INCOME_ENDPOINT_URL: in a Key Vault" in one.what for one in found)


def test_subscriptions_of_others(chain: Chain) -> None:
    """An account has one topic for all who want its events: another team's, another environment's are left alone."""
    own = chain.told["subscriptions"]
    others = [
        {"name": "retrain-test-training-data", "properties": deployed.subscription(CONTAINER, OTHER_HOOK)},
        {"name": "lake", "properties": {"destination": {"endpointType": "EventHub", "properties": {}}, "filter": {}}},
    ]
    chain.told["subscriptions"] = [*others, *own]
    assert warned(chain.examine().findings) == []
    chain.told["subscriptions"] = others
    broken = first(chain.examine(PATH).findings)
    assert broken is not None
    assert broken.what == "no event subscription leads them to function 'arrive_training'"
    assert "Delete" not in broken.cure


@pytest.mark.parametrize("chain", ["blob", "queue"], indirect=True)
def test_subscription_to_the_apps_own_webhook(chain: Chain) -> None:
    """It delivers with a token, whatever RETRAIN_EVENTS says: neither a function nor a key is looked for."""
    address = f"http://{chain.host}{subscribed.CALLERS}"
    chain.told["subscriptions"][0]["properties"] = deployed.subscription(CONTAINER, address)
    assert warned(chain.examine().findings) == []


def test_webhook_with_the_master_key(chain: Chain) -> None:
    """The host takes it, too."""
    chain.hook(key=KEY)
    assert warned(chain.examine().findings) == []


def test_app_that_lists_containers_needs_no_events(chain: Chain) -> None:
    """Where the plan can do that."""
    chain.settings["RETRAIN_BLOB_SOURCE"] = "LogsAndContainerScan"
    chain.told["subscriptions"] = []
    assert warned(chain.examine().findings) == []


def test_lists_of_several_pages(chain: Chain) -> None:
    """All functions and subscriptions are read."""
    chain.workspace.control("POST", "settings", {"page_size": 1})
    assert warned(chain.examine().findings) == []


# Without a deployment


def test_nothing_is_deployed(chain: Chain) -> None:
    """One warning says so, and how to name the app; the rest is looked at by the settings that there are."""
    chain.examine()
    found = examine(None, chain.settings).findings
    [warning] = warned(found)
    assert "--app RESOURCE_ID" in warning.cure
    assert {f"queue {BLOB_POISON} (TrainingStorage)", "pipelines.income", "ledger"} <= {one.where for one in found}


def test_configuration_with_faults_and_nothing_deployed() -> None:
    """They are told as `check` tells them."""
    found = examine(None, {}).findings
    assert [one.level for one in found[:2]] == ["warning", "fault"]


def test_command_with_nothing_running() -> None:
    """It says what does not answer, at once."""
    done = run("doctor", "--json", **nothing_running())
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert "nothing answers" in told["first"]["what"]
    assert told["findings"][0]["cure"].startswith("Run it where `azd env list`")


# Which app is meant


AZD = """\
AZURE_ENV_NAME="income"
AZURE_LOCATION="westeurope"
AZURE_SUBSCRIPTION_ID="s"
AZURE_RESOURCE_GROUP="rg-income"
FUNCTION_APP_NAME="func-x"
EVENT_DATASTORES="[{\\"name\\":\\"training\\",\\"prefix\\":\\"a b\\"}]"
EVENT_DELIVERY_IN_USE="queue"
EVENT_TOPIC_SUBSCRIPTION="t"
EVENT_TOPIC_GROUP="g"
EVENT_TOPIC_NAME="evgt-x"
INSTANCE_MEMORY=2048
"""


def test_what_azd_has_noted(tmp_path: Path) -> None:
    """Of its default environment, or of the one that is named."""
    assert azd.environment(tmp_path, {}) == {}
    (tmp_path / ".azure" / "income").mkdir(parents=True)
    (tmp_path / ".azure" / "income" / ".env").write_text(AZD)
    assert azd.environment(tmp_path, {}) == {}
    (tmp_path / ".azure" / "config.json").write_text('{"version": 1, "defaultEnvironment": "income"}')
    found = azd.environment(tmp_path, {})
    assert found["EVENT_DATASTORES"] == '[{"name":"training","prefix":"a b"}]'
    assert found["INSTANCE_MEMORY"] == "2048"
    assert azd.environment(tmp_path, {"AZURE_ENV_NAME": "other"}) == {}
    place = Place.of(found)
    assert place is not None
    assert place.app == "/subscriptions/s/resourceGroups/rg-income/providers/Microsoft.Web/sites/func-x"
    assert place.topic == "/subscriptions/t/resourceGroups/g/providers/Microsoft.EventGrid/systemTopics/evgt-x"
    assert (place.delivery, place.management) == ("queue", "https://management.azure.com")
    other = Place.of(found, app=place.app.replace("func-x", "func-y"))
    assert other is not None
    assert (other.topic, other.delivery) == ("", "")


def printed(*words: str, **environ: str) -> Any:
    """Run the command in this process, in which alone the app's health is answered; return its JSON."""
    with mock.patch.dict(os.environ, environ):
        done = CliRunner().invoke(commands, ["doctor", "--json", *words])
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_app_of_the_environment(chain: Chain) -> None:
    """As in azd's hooks; nothing of local settings is taken, and what azd has of another app does not mix with it."""
    chain.examine()
    chain.monkeypatch.setattr(azd, "environment", lambda: {"FUNCTION_APP_NAME": "x", "EVENT_TOPIC_NAME": "y"})
    told = printed(**chain.outputs)
    assert (told["ok"], told["first"], "story" in told) == (True, None, False)


def test_app_of_azds_environment(chain: Chain) -> None:
    """Where nothing else names one."""
    chain.examine()
    chain.monkeypatch.setattr(azd, "environment", lambda: chain.outputs)
    told = printed(PATH)
    assert told["findings"][0]["what"] == f"is running, at {chain.host}"
    assert told["story"]["path"] == PATH


def test_app_and_topic_by_their_ids(chain: Chain) -> None:
    """Without azd; without the topic its events are not looked at."""
    chain.examine()
    place = Place.of(chain.outputs)
    assert place is not None
    management = {"RETRAIN_MANAGEMENT_URL": chain.workspace.base_url}
    told = printed("--app", place.app, **management)
    [warning] = [one for one in told["findings"] if one["level"] == "warning"]
    assert "--topic RESOURCE_ID" in warning["cure"]
    told = printed("--app", place.app, "--topic", place.topic, **management)
    assert (told["ok"], [one for one in told["findings"] if one["level"] != "ok"]) == (True, [])


@pytest.mark.parametrize("text", ['A="b', "\xff"])
def test_notes_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """It is said which they are."""
    (tmp_path / ".azure" / "income").mkdir(parents=True)
    (tmp_path / ".azure" / "income" / ".env").write_text(text, encoding="latin-1")
    with pytest.raises(click.ClickException, match=r"azd's notes cannot be read"):
        azd.environment(tmp_path, {"AZURE_ENV_NAME": "income"})


@pytest.mark.parametrize("text", ["func-x", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/serverfarms/p"])
def test_option_that_is_no_resource_id(text: str) -> None:
    """The form is told."""
    with pytest.raises(BadRequestError, match=r"Microsoft\.Web/sites/NAME"):
        Place.of({}, app=text)


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "https://management.azure.com"),
        ({"ENDPOINT_URL": "https://r.api.ml.azure.us/pipelines/x"}, "https://management.usgovcloudapi.net"),
        ({"RETRAIN_MANAGEMENT_URL": "https://management.chinacloudapi.cn/"}, "https://management.chinacloudapi.cn"),
        ({"RETRAIN_MANAGEMENT_URL": "http://127.0.0.1:7081"}, "http://127.0.0.1:7081"),
        ({"RETRAIN_MANAGEMENT_URL": "http://example.com"}, ""),
        ({"RETRAIN_MANAGEMENT_URL": "https://example.com"}, ""),
        ({"RETRAIN_MANAGEMENT_URL": "http://127.0.0.1:7081/x"}, ""),
    ],
)
def test_address_of_resource_manager(environ: dict[str, str], address: str) -> None:
    """A token goes there: one of Azure's, or this machine."""
    app = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/a"
    if not address:
        with pytest.raises(ConfigurationError, match="RETRAIN_MANAGEMENT_URL"):
            Place.of(environ, app=app)
        return
    place = Place.of(environ, app=app)
    assert place is not None
    assert place.management == address


# One blob


def of_blob(made: Examined, path: str = PATH) -> list[Finding]:
    """Return the links of a blob."""
    return [one for one in made.findings if one.where == f"training/{path}"]


def test_blob_that_has_its_run(chain: Chain) -> None:
    """It is there, was told of, and has its request."""
    app = chain.app()
    chain.workspace.upload(PATH, "a\n2\n")
    [outcome] = arrive(app, "training", PATH, Source.BLOB_EVENT)
    app.close()
    made = chain.examine(PATH)
    there, told, taken = of_blob(made)
    assert warned(made.findings) == []
    assert "is there: 4 bytes" in there.what
    assert "subscription retrain-local-training-data" in told.what
    assert outcome.key in taken.what
    assert made.story is not None
    assert made.story.rules[0].verdict == "started"


def test_blob_whose_run_failed(chain: Chain) -> None:
    """The chain is sound; its run is the broken link, and acting again is the cure."""
    app = chain.app()
    chain.workspace.upload(PATH, "a\n2\n")
    [outcome] = arrive(app, "training", PATH, Source.BLOB_EVENT)
    assert outcome.entry is not None
    run_id = outcome.entry.run_id
    chain.workspace.control("POST", f"runs/{run_id}/status", {"status": "Failed", "error": "no column age"})
    tick(app)
    app.close()
    broken = first(chain.examine(PATH).findings)
    assert broken is not None
    assert "is failed" in broken.what
    assert f"./retrain redrive {outcome.key}" in broken.cure


def test_blob_that_is_not_there(chain: Chain) -> None:
    """It is the first broken link, whatever the chain is like."""
    broken = first(chain.examine("income/us/gone.csv").findings)
    assert broken is not None
    assert "There is no blob 'income/us/gone.csv'" in broken.what


def test_blob_that_no_rule_takes(chain: Chain) -> None:
    """Each rule's reason."""
    chain.workspace.upload("notes/a.txt", "x")
    broken = first(chain.examine("notes/a.txt").findings)
    assert broken is not None
    assert "starts nothing: " in broken.what
    assert "does not match" in broken.what


def test_blob_that_no_subscription_tells_of(chain: Chain) -> None:
    """Each subscription says why not."""
    chain.filter["subjectBeginsWith"] += "income/de/"
    [_, told, *_] = of_blob(chain.examine(PATH))
    assert (told.level, "no subscription tells of it" in told.what) == ("fault", True)
    assert "blobs/income/de/'" in told.what


@pytest.mark.parametrize("chain", ["blob", "queue"], indirect=True)
def test_blob_whose_event_was_given_up(chain: Chain) -> None:
    """Its dead letter and its poison are found among those of others."""
    address = f"{chain.blobs.url.rstrip('/')}/{CONTAINER}/{PATH}"
    poison = {
        "queue": (POISON, queued.encoded(queued.grid(address)).decode()),
        "blob": (
            BLOB_POISON,
            base64.b64encode(json.dumps({"ContainerName": CONTAINER, "BlobName": PATH}).encode()).decode(),
        ),
    }
    name, message = poison[chain.way]
    with chain.queues.create_queue(name) as queue:
        queue.send_message("nonsense")
        queue.send_message(message)
    with chain.blobs.get_container_client(waiting.DEAD_LETTERS) as container:
        container.upload_blob("a.json", letter(subscribed.subject(CONTAINER, PATH)))
        container.upload_blob("b.json", letter("/of/another"))
    told = [one.what for one in of_blob(chain.examine(PATH)) if one.level == "warning"]
    assert any("a dead letter is about it" in what and "HttpUnauthorized" in what for what in told)
    assert any(f"is in queue {name}" in what for what in told)


# Beside a stack


@posix
@pytest.mark.parametrize("events", ["grid", "queue"])
def test_stack_that_runs(events: str, tmp_path: Path) -> None:
    """`./retrain start --events` is looked at as an app in Azure is; the app's health is that of the real one."""
    with start(Ports.free(), tmp_path / "start.log", "--events", events) as made:
        made.container.upload_blob(PATH, INCOME)

        def started() -> dict[str, Any]:
            done = run("doctor", PATH, "--json", AZURE_SUBSCRIPTION_ID="that of a shell")
            assert done.stdout, done.stderr
            told: dict[str, Any] = json.loads(done.stdout)
            return told if (told.get("story") or {}).get("rules", [{}])[0].get("verdict") == "started" else {}

        told = until(started)
        assert (told["ok"], told["first"]) == (True, None), told
        assert [one["where"] for one in told["findings"] if one["level"] == "warning"] == []
        assert "app sees ledger" in [one["where"] for one in told["findings"]]
        done = run("doctor", "income/us/gone.csv")
        assert done.returncode == 1
        assert done.stdout.splitlines()[-1].startswith("first broken link: training/income/us/gone.csv: There is no")
        assert "; cure: Upload it" in done.stdout
        assert run("doctor").stdout.splitlines()[-1] == "first broken link: none"


OUTPUTS = deployed.outputs("grid", "").keys() - {"RETRAIN_MANAGEMENT_URL", "AZURE_SUBSCRIPTION_ID"}


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_names_are_those_of_the_templates(name: str) -> None:
    """What doctor goes by, azd notes; the subscription's id it has by itself."""
    outputs = (Path(__file__).parents[1] / "infra" / "main.bicep").read_text()
    assert f"output {name} string" in outputs
