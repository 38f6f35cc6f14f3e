"""host.json, local.settings.json, %SETTING% expressions, connections and bindings: what is read and what is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.host import bindings, settings
from local.host.errors import SettingsError
from local.host.worker import Function


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """A folder with a minimal host.json."""
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    return tmp_path


def function(**binding: Any) -> Function:
    """A function with one binding."""
    return Function("f", "id", ({"name": "arg", **binding},), has_retry_policy=False)


def fault(*functions: Function) -> str:
    """Return the complaint about functions."""
    with pytest.raises(SettingsError) as caught:
        bindings.triggers(functions)
    return str(caught.value)


def test_defaults_of_the_platform(app_dir: Path) -> None:
    """An empty host.json means what it means in Azure."""
    found = settings.load(app_dir)
    assert (found.route_prefix, found.blob_attempts, found.queue_attempts) == ("api", 5, 5)
    assert (found.queue_base64, found.queue_retry_delay_s, found.body_limit) == (True, 0, 210 * 2**20)


def test_host_json_is_obeyed(app_dir: Path) -> None:
    """Extensions' settings are read by their documented names."""
    content = {
        "version": "2.0",
        "extensions": {
            "http": {"routePrefix": ""},
            "blobs": {"maxDegreeOfParallelism": 2, "poisonBlobThreshold": 1},
            "queues": {
                "maxDequeueCount": 7,
                "visibilityTimeout": "00:01:30",
                "messageEncoding": "none",
                "batchSize": 4,
                "newBatchThreshold": 1,
            },
        },
    }
    (app_dir / "host.json").write_text(json.dumps(content))
    found = settings.load(app_dir)
    assert (found.route_prefix, found.blob_parallelism, found.blob_attempts) == ("", 2, 1)
    assert (found.queue_attempts, found.queue_retry_delay_s, found.queue_base64) == (7, 90, False)
    assert found.queue_parallelism == 5


def test_host_json_is_overridden(app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """App settings named after the value's place win, as on the platform, whether host.json has it or not."""
    (app_dir / "host.json").write_text('{"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 7}}}')
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__queues__maxDequeueCount", "2")
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:01")
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__http__routePrefix", "v1")
    found = settings.load(app_dir)
    assert (found.queue_attempts, found.queue_retry_delay_s, found.route_prefix) == (2, 1, "v1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ("{}", '"version" must be "2.0"'),
        ('{"version": "2.0", "extensions": {"queues": {"maxDequeueCount": "5"}}}', "'5'; expected a JSON int"),
        ('{"version": "2.0", "extensions": {"queues": {"visibilityTimeout": "30"}}}', "'30'; expected hh:mm:ss"),
        ('{"version": "2.0", "logging": {"logLevel": {"default": "Loud"}}}', "'Loud'; expected one of"),
    ],
)
def test_a_host_json_that_cannot_be_used(app_dir: Path, content: str, told: str) -> None:
    """The error names the file and what was expected."""
    (app_dir / "host.json").write_text(content)
    with pytest.raises(SettingsError, match=r"host\.json") as caught:
        settings.load(app_dir)
    assert told in str(caught.value)


def test_no_host_json(tmp_path: Path) -> None:
    """Such a folder is no function app."""
    with pytest.raises(SettingsError, match="is no function app"):
        settings.load(tmp_path)


def test_environment_against_local_settings(app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values become environment variables, and one that is set already wins."""
    monkeypatch.setenv("ONE", "environment")
    monkeypatch.setenv("TWO", "")
    monkeypatch.delenv("TWO")  # registered above, so that the test leaves nothing behind
    (app_dir / "local.settings.json").write_text('{"IsEncrypted": false, "Values": {"ONE": "file", "TWO": "file"}}')
    settings.load(app_dir)
    assert (settings.resolve("%ONE%/%TWO%", "here")) == "environment/file"


@pytest.mark.parametrize(
    ("content", "told"),
    [('{"IsEncrypted": true}', "encrypted"), ('{"Values": {"N": 1}}', "Values.N is a JSON int; expected a string")],
)
def test_local_settings_that_cannot_be_used(app_dir: Path, content: str, told: str) -> None:
    """The error names the file and the value."""
    (app_dir / "local.settings.json").write_text(content)
    with pytest.raises(SettingsError, match=r"local\.settings\.json") as caught:
        settings.load(app_dir)
    assert told in str(caught.value)


def test_host_ids() -> None:
    """The same folder name gives the same id, which is fit for the names of queues."""
    one = settings.default_host_id(Path("/a/My App_2"))
    assert one == settings.default_host_id(Path("/b/My App_2")) != settings.default_host_id(Path("/a/my-app-2"))
    assert one.startswith("my-app-2-")
    assert len(settings.default_host_id(Path("/" + "long" * 30))) <= 32


@pytest.mark.parametrize("setting", ["X", "AzureWebJobsX"])
def test_connections_by_name(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is the setting of its name, or that with the prefix AzureWebJobs."""
    monkeypatch.setenv(setting, "UseDevelopmentStorage=true")
    assert settings.connection("X", "here") == settings.Connection(setting, "UseDevelopmentStorage=true")


def test_the_empty_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name means the host's own storage."""
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    assert settings.connection("", "here").setting == "AzureWebJobsStorage"


def test_an_identity_based_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with what to set instead."""
    monkeypatch.setenv("X__blobServiceUri", "https://account.blob.core.windows.net")
    with pytest.raises(SettingsError, match=r"X__blobServiceUri is an identity-based connection.*set X"):
        settings.connection("X", "here")


def test_every_fault_of_every_function() -> None:
    """One error lists them all, each with function, binding, property and setting."""
    told = fault(
        function(type="blobTrigger", path="%NOT_SET%/{name}", connection="X"),
        function(type="blobTrigger", path="box/{name", connection=""),
        function(type="queueTrigger", queueName="%NOT_SET_EITHER%", connection=""),
        function(type="timerTrigger", schedule="each day"),
        function(type="timerTrigger", schedule="00:05:00"),
        function(type="queueTrigger", queueName="q", connection="NO_CONNECTION"),
        function(type="serviceBusTrigger"),
    )
    assert told.splitlines() == [
        "function f, binding arg, path: %NOT_SET% is used, but the setting NOT_SET is not set",
        "function f, binding arg, path: 'box/{name': a lone brace; {name} captures, {{ is a literal brace",
        "function f, binding arg, queueName: %NOT_SET_EITHER% is used, but the setting NOT_SET_EITHER is not set",
        "function f, binding arg, schedule: 'each day'; expected NCRONTAB, six fields with the seconds first, or five",
        "function f, binding arg, schedule: '00:05:00'; expected NCRONTAB, six fields with the seconds first, or five",
        "function f, binding arg, connection: the connection NO_CONNECTION is not set; "
        "expected a storage connection string",
        "function f: the binding type 'serviceBusTrigger' is not done by this host",
    ]


def test_expressions_in_each_property(monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, connection, queue, schedule and route may all be settings."""
    values: Mapping[str, str] = {
        "C": "box",
        "CONN": "X",
        "X": "UseDevelopmentStorage=true",
        "S": "*/5 * * * *",
        "R": "r",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    blob, queue, timer, http = bindings.triggers(
        [
            function(type="blobTrigger", path="%C%/{name}", connection="%CONN%", source="EventGrid"),
            function(type="queueTrigger", queueName="%C%-q", connection="%CONN%"),
            function(type="timerTrigger", schedule="%S%"),
            function(type="httpTrigger", route="/%R%/{id}", methods=["get"]),
        ]
    )
    assert isinstance(blob, bindings.BlobTrigger)
    assert (blob.pattern.container, blob.connection.setting, blob.scans) == ("box", "X", False)
    assert isinstance(queue, bindings.QueueTrigger)
    assert queue.queue == "box-q"
    assert isinstance(timer, bindings.TimerTrigger)
    assert timer.schedule == "0 */5 * * * *"
    assert isinstance(http, bindings.HttpTrigger)
    assert (http.route, http.methods) == ("r/{id}", ("GET",))
