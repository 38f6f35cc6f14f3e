"""retrain.toml and the app settings: the shipped file, and every fault in one message."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.rules.durations import duration
from shared.settings import read
from shared.settings.places import nearest, places
from shared.storage.accounts import container_client
from tests.samples import ENDPOINT_URL, ENVIRON

SHIPPED = read.FILE.read_text()


def faults(tmp_path: Path, text: str, environ: dict[str, str] = ENVIRON) -> list[str]:
    """Return the faults of a configuration."""
    file = tmp_path / "retrain.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read.load(file, environ)
    return list(caught.value.faults)


def test_shipped_file_is_sound() -> None:
    """It names one datastore, one pinned pipeline, and one rule for CSV files below income/."""
    loaded = read.load(environ=ENVIRON)
    assert loaded.datastores["training"].container == "training-data"
    assert loaded.pipelines["income"].pin == "1"
    assert [rule.path for rule in loaded.rules] == ["income/**/*.csv"]
    assert (loaded.events, loaded.blob_source) == ("blob", "EventGrid")
    assert loaded.grace == timedelta(minutes=10)


def test_missing_version_is_refused_with_file_key_and_expectation(tmp_path: Path) -> None:
    """No version, no start: the fault says where it belongs and why it is needed."""
    [fault] = faults(tmp_path, SHIPPED.replace('\nversion = "1"', ""))
    assert re.match(r"retrain\.toml:\d+:1: pipelines\.income\.version: missing; expected the endpoint's version", fault)
    assert "default version" in fault


@pytest.mark.parametrize("version", ["3", '"latest"', '""', '"01"', "true"])
def test_version_that_is_no_string_of_digits_is_refused(tmp_path: Path, version: str) -> None:
    """Neither a number nor a word: the service's versions are strings of integers."""
    [fault] = faults(tmp_path, SHIPPED.replace('\nversion = "1"', f"\nversion = {version}"))
    assert "pipelines.income.version" in fault


def test_every_fault_is_in_one_message(tmp_path: Path) -> None:
    """Faults in one key, table or app setting hide none in another."""
    text = (
        SHIPPED.replace("container =", "contaner =")
        .replace('"pipeline_endpoint"', '"pipeline-endpoint"')
        .replace("income/**/*.csv", "income/**x/*.csv")
        .replace('pipeline = "income"', 'pipeline = "incom"')
        .replace("grain = ", "gran = ")
        + 'since = 2026-01-01T00:00:00\nsinze = "x"\n[piplines.a]\n'
    )
    wrong = {"RETRAIN_GRACE": "10", "RETRAIN_BLOB_SOURCE": "Poll", "RETRAIN_EVENTS": "both"}
    found = "\n".join(faults(tmp_path, text, {**ENVIRON, **wrong}))
    for where in [
        "piplines: unknown table; did you mean 'pipelines'?",
        "datastores.training.contaner: unknown key; did you mean 'container'?",
        "datastores.training.container: missing",
        "pipelines.income.kind: expected one of",
        "rules[0] (income-files).sinze: unknown key; did you mean 'since'?",
        "rules[0] (income-files).data_path.gran: unknown key",
        "rules[0] (income-files).path: 'income/**x/*.csv'",
        "rules[0] (income-files).pipeline: 'incom': not defined in this file; did you mean 'income'?",
        "rules[0] (income-files).since",
        "RETRAIN_GRACE",
        "RETRAIN_BLOB_SOURCE",
        "RETRAIN_EVENTS: expected one of blob, queue; got 'both'",
    ]:
        assert where in found


@pytest.mark.parametrize(
    ("storage", "is_sound"),
    [
        ({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}, True),
        ({"AzureWebJobsStorage__accountName": "a"}, True),
        ({"AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net"}, True),
        ({"AzureWebJobsStorage__blobServiceUri": "https://a.blob.core.windows.net"}, False),
    ],
)
def test_queue_of_events_needs_queues_in_the_apps_own_storage(
    tmp_path: Path, storage: dict[str, str], is_sound: bool
) -> None:
    """Its trigger would find none: a fault that names the settings that would do."""
    environ = {**ENVIRON, "RETRAIN_EVENTS": "queue"}
    del environ["AzureWebJobsStorage"]
    if is_sound:
        assert read.load(read.FILE, environ | storage).events == "queue"
    else:
        [fault] = faults(tmp_path, SHIPPED, environ | storage)
        assert fault.startswith("app setting RETRAIN_EVENTS: ")
        assert "AzureWebJobsStorage__queueServiceUri" in fault


def test_unset_app_settings_are_named_with_the_place_that_needs_them(tmp_path: Path) -> None:
    """Each %NAME% without a value is a fault of its own, and so is a connection that is not configured."""
    found = "\n".join(faults(tmp_path, SHIPPED, {}))
    assert "datastores.training.container: the app setting 'TRAINING_CONTAINER' is not set" in found
    assert "pipelines.income.url: the app setting 'INCOME_ENDPOINT_URL' is not set" in found
    assert "datastores.training.connection: 'TrainingStorage': there is no app setting" in found
    assert "ledger.connection: 'AzureWebJobsStorage': there is no app setting" in found


ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=a;"
KEY = "AccountKey=" + "c2Vj" * 20 + "cmV0cw==;"
SAS = "SharedAccessSignature=sv=2026-02-06&sig=c2VjcmV0c2VjcmV0c2VjcmV0%3D;"


@pytest.mark.parametrize(
    "settings",
    [
        {"TrainingStorage": f"{ACCOUNT}{KEY}EndpointSuffix=core.windows.net"},
        {"TrainingStorage": f"{ACCOUNT}{KEY}EndpointSuffix=core.chinacloudapi.cn"},
        {"TrainingStorage": f"{ACCOUNT}{KEY}EndpointSuffix=core.usgovcloudapi.net"},
        {"TrainingStorage": f"BlobEndpoint=https://a.blob.core.windows.net/;{SAS}"},
        {"TrainingStorage": f"AccountName=a;{KEY}BlobEndpoint=http://127.0.0.1:10000/a"},
        {"TrainingStorage": f"AccountName=devstoreaccount1;{KEY}BlobEndpoint=http://azurite:10000/devstoreaccount1"},
        {"AzureWebJobsTrainingStorage": "UseDevelopmentStorage=true"},
        {"TrainingStorage__blobServiceUri": "https://a.blob.core.chinacloudapi.cn"},
        {"AzureWebJobsTrainingStorage__accountName": "a"},
    ],
)
def test_connections_that_are_taken(settings: dict[str, str]) -> None:
    """Keys, signatures, identities; any cloud; the emulator, wherever it runs. As Functions resolves them."""
    environ = {key: value for key, value in ENVIRON.items() if key != "TrainingStorage"}
    loaded = read.load(environ={**environ, **settings})
    made = container_client(loaded.datastores["training"].connection, "c", settings)
    assert made.container_name == "c"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "there is no app setting"),
        ({"TrainingStorage": "nonsense"}, "neither AccountName nor BlobEndpoint"),
        ({"TrainingStorage": f"https://a.blob.core.windows.net/?{SAS}"}, "neither AccountName nor BlobEndpoint"),
        ({"TrainingStorage": ACCOUNT}, "neither AccountKey nor SharedAccessSignature"),
        ({"TrainingStorage": f"{ACCOUNT}AccountKey=c2Vjc"}, "no base64"),
        ({"TrainingStorage": f'"{ACCOUNT}{KEY}"'}, "is in quotes"),
        ({"TrainingStorage": f"DefaultEndpointsProtocol=http;AccountName=a;{KEY}"}, "says http"),
        ({"TrainingStorage": f"AccountName=a;{KEY}BlobEndpoint=http://a.blob.core.windows.net"}, "says http"),
        ({"TrainingStorage__blobServiceUri": "http://a.blob.core.windows.net"}, "is an http address"),
    ],
)
def test_connections_that_are_none(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    """Said in words when the configuration is read, at the key that names the connection, without the value."""
    environ = {key: value for key, value in ENVIRON.items() if key != "TrainingStorage"}
    [fault] = faults(tmp_path, SHIPPED, {**environ, **settings})
    assert "datastores.training.connection: 'TrainingStorage'" in fault
    assert says in fault
    assert "c2Vj" not in fault


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("datastores.training.container", 'container = "x"'),
        ("pipelines.income.version", "[pipelines.income]"),
        ("pipelines.income.kind", '  kind = "a"'),
        ("rules[0] (a).data_path.grain", 'grain = "file" }'),
        ("rules[0] (a).examples[1].path", 'path = "b" },'),
        ("rules[0] (a).settle.quiet", 'quiet = "5x"'),
        ("rules[0] (a).ignore[1]", "ignore = ["),
        ("rules[1] (b).settle.quiet", 'quiet = "1"'),
        ("rules[1] (b).parameters.country", 'country = "{c}"'),
        ("rules[1] (b).path", '[[rules]]\nname = "b"'),
        ("rules[7].path", None),
        ("ledger.connection", None),
    ],
)
def test_place_of_a_key(where: str, line: str | None) -> None:
    """Line and column of the key; of one that is missing those of its table; none of what is not there at all."""
    found = nearest(places(PLACED), where)
    if line is None:
        assert found is None
        return
    assert found is not None
    assert "\n".join(PLACED.split("\n")[found[0] - 1 :])[found[1] - 1 :].startswith(line.strip())


PLACED = """# retrain.toml
[datastores.training]
container = "x"

[pipelines.income]
  kind = "a"
[[rules]]
name = "a"
ignore = [
    "a", # path = "c"
    "b",
]
data_path = { parameter = "x", grain = "file" }
examples = [
    { path = "a", skip = true },
    { path = "b" },
]
[rules.settle]
quiet = "5x"
[[rules]]
name = "b"
settle.quiet = "1"
[rules.parameters]
country = "{c}"
"""


def test_faults_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    """So that a reader mends them from top to bottom; those of the app settings come last."""
    text = SHIPPED.replace("container =", "contaner =").replace('"income/**/*.csv"', "3").replace('"1"', "1")
    found = faults(tmp_path, text, {**ENVIRON, "RETRAIN_GRACE": "10"})
    lines = [int(fault.split(":")[1]) for fault in found[:-1]]
    assert lines == sorted(lines)
    assert len(lines) >= 4
    assert found[-1].startswith("app setting RETRAIN_GRACE")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("path", "3", "expected a text; got 3"),
        ("ignore", '"a"', "expected a list; got 'a'"),
        ("case_sensitive", '"yes"', "expected true or false; got 'yes'"),
        ("since", '"yesterday"', "expected a time with its zone"),
        ("since", "2026-01-01T00:00:00", "expected a time with its zone"),
        ("since", "2026-01-01", "expected a time with its zone"),
        ("when_busy", '"later"', "expected one of 'queue', 'latest', 'skip'; got 'later'"),
        ("identity", '"md5"', "expected one of 'etag', 'content'; got 'md5'"),
        ("parameters", "{ a = 1 }", "parameters.a: expected a text; got 1"),
        ("parameters", "[1]", "expected a table; got [1]"),
        ("min_bytes", "1.5", "expected a number of bytes; got 1.5"),
        ("settle", '{ quiet = "5 min" }', "expected a number and a unit (s, m, h, d), such as '10m'; got '5 min'"),
    ],
)
def test_value_that_is_none_of_its_kind(tmp_path: Path, key: str, value: str, says: str) -> None:
    """What is expected is said in our words; none of a library's."""
    text = SHIPPED.replace('path = "income/**/*.csv"', "") if key == "path" else SHIPPED
    [fault] = [one for one in faults(tmp_path, f"{text}{key} = {value}\n") if says in one]
    assert not re.search(r"regex|\$\[|\$\.|datetime\.|`|Expected|Invalid enum", fault)


@pytest.mark.parametrize(
    "text",
    ["", "rules = 3\n", "datastores = []\npipelines = 1\nrules = [1]\n", "[datastores.a]\n[pipelines.a]\n[[rules]]\n"],
)
def test_files_with_next_to_nothing_in_them_are_faults_not_crashes(tmp_path: Path, text: str) -> None:
    """What is missing is said table by table."""
    assert faults(tmp_path, text)


def test_file_that_is_no_toml(tmp_path: Path) -> None:
    """The parser's own words say where."""
    [fault] = faults(tmp_path, "[rules\n")
    assert fault.startswith("retrain.toml:1:7: is no TOML")


def test_two_rules_of_one_name(tmp_path: Path) -> None:
    """A rule's name is part of every key, so it belongs to one rule."""
    rule = SHIPPED[SHIPPED.index("[[rules]]") :]
    [fault] = faults(tmp_path, SHIPPED + rule)
    assert "another rule of this name" in fault


def test_address_of_another_kind_is_refused(tmp_path: Path) -> None:
    """The address tells what it is, and that must agree with `kind`."""
    text = SHIPPED.replace('"pipeline_endpoint"', '"published_pipeline"').replace('\nversion = "1"', "")
    [fault] = faults(tmp_path, text)
    assert "this is the address of a pipeline_endpoint" in fault


def test_published_pipeline_is_pinned_by_its_id(tmp_path: Path) -> None:
    """It has no version: what was published under an id never changes."""
    file = tmp_path / "retrain.toml"
    file.write_text(SHIPPED.replace('"pipeline_endpoint"', '"published_pipeline"').replace('\nversion = "1"', ""))
    url = ENDPOINT_URL.replace("PipelineEndpointSubmit/Id/e", "PipelineSubmit/p-1")
    assert read.load(file, {**ENVIRON, "INCOME_ENDPOINT_URL": url}).pipelines["income"].pin == "p-1"


@pytest.mark.parametrize(
    "url",
    [
        "https://ml.azure.com/endpoints",
        ENDPOINT_URL.replace("http://127.0.0.1:7081", "http://westeurope.api.azureml.ms"),
        ENDPOINT_URL + "/3",
        ENDPOINT_URL + " ",
        ENDPOINT_URL + "?pipelineVersion=3",
        "not a url",
    ],
)
def test_urls_that_are_no_rest_endpoint_are_refused(tmp_path: Path, url: str) -> None:
    """Among them plain HTTP to another machine, which a bearer token must not take, and a version in the address."""
    [fault] = faults(tmp_path, SHIPPED, {**ENVIRON, "INCOME_ENDPOINT_URL": url})
    assert "pipelines.income.url" in fault
    assert "expected" in fault


RICH = """
ignore = ["**/_*"]
case_sensitive = false
min_bytes = 1
max_bytes = 1_000_000
metadata = { stage = "%STAGE%" }
data_paths = [{ parameter = "rates", path = "rates/{stem}/{last_modified:%Y%m%d}.csv" }]
parameters = { day = "{last_modified:%Y%m%d}", of = "%STAGE%", both = "{{%STAGE%}}-{name}" }
experiment = "income-%STAGE%"
tags = { file = "{name}" }
description = "{path}"
max_active = 1
when_busy = "latest"
daily_cap = 3
since = 2026-01-01T00:00:00Z
"""


def test_rule_with_everything_is_read(tmp_path: Path) -> None:
    """App settings go into any text, but not into the braces of a template, where `%` belongs to the form."""
    file = tmp_path / "retrain.toml"
    file.write_text(SHIPPED + RICH)
    [rule] = read.load(file, {**ENVIRON, "STAGE": "final"}).rules
    assert rule.parameters == {"day": "{last_modified:%Y%m%d}", "of": "final", "both": "{{final}}-{name}"}
    assert (rule.metadata, rule.experiment, rule.when_busy) == ({"stage": "final"}, "income-final", "latest")
    assert rule.data_paths[0].path == "rates/{stem}/{last_modified:%Y%m%d}.csv"


def test_faults_in_the_parts_of_a_rule_hide_none_in_the_others(tmp_path: Path) -> None:
    """Each with its place: in a nested table, in one of several, in a template, in what refers to another key."""
    text = (
        SHIPPED.replace('path = "income/**/*.csv"', 'path = "income/{c}/{c:int}.csv"')
        .replace('grain = "file"', 'grain = "folder"')
        .replace("parameters", "parameters_")
        + 'settle = { quiet = "5 min", marker = "a/b" }\n'
        + 'data_paths = [{ parameter = "p", path = "x" }, { path = 3, datastore = "no such" }]\n'
        + 'ignore = ["a", "/b"]\nparameters = { x = "{y", z = 1 }\ndescription = "{name:uper}"\n'
        + 'tags = { a = "{c!r}" }\nwhen_busy = "later"\nmin_bytes = -1\nmax_active = 0\n'
    )
    found = "\n".join(faults(tmp_path, text))
    for where in [
        "rules[0] (income-files).path: 'income/{c}/{c:int}.csv': segment 3, '{c:int}.csv': captures 'c' a second time",
        "rules[0] (income-files).settle.quiet: expected a number and a unit (s, m, h, d), such as '10m'; got '5 min'",
        "rules[0] (income-files).data_paths[1].parameter: missing",
        "rules[0] (income-files).data_paths[1].path: expected a text; got 3",
        "rules[0] (income-files).data_paths[1].datastore: expected a datastore's name: letters, digits",
        "rules[0] (income-files).ignore[1]: '/b': starts with a slash",
        "rules[0] (income-files).parameters.z: expected a text; got 1",
        "rules[0] (income-files).tags.a: '{c!r}': '!r' has no meaning here",
        "rules[0] (income-files).when_busy: expected one of 'queue', 'latest', 'skip'; got 'later'",
        "rules[0] (income-files).min_bytes: expected a number of bytes; got -1",
        "rules[0] (income-files).max_active: expected a number of at least 1; got 0",
    ]:
        assert where in found
    assert "settle: missing" not in found
    assert "settle.marker" not in found  # of a table with a fault nothing further is said


def test_setting_that_is_not_there_is_one_fault_wherever_it_stands(tmp_path: Path) -> None:
    """Also deep in a table: nothing is said twice."""
    [fault] = faults(tmp_path, SHIPPED + 'parameters = { a = "%STAGE%" }\n')
    assert "rules[0].parameters.a: the app setting 'STAGE' is not set" in fault


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "1w"])
def test_durations_that_are_none(text: str) -> None:
    """A number and a unit, or an error that says so."""
    with pytest.raises(ValueError, match="expected a number and a unit"):
        duration(text)


# What is shown of values

SECRET = "c2VjcmV0LWtleS1vZi1hbi1hY2NvdW50"
STRING = f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}==;EndpointSuffix=core.windows.net"
SAS = f"https://a.blob.core.windows.net/c?sv=2026&sig={SECRET}%3D&se=2027"
KEYS = ["container", "connection", "kind", "url", "version", "experiment", "name", "datastore", "path", "pipeline"]


@pytest.mark.parametrize("secret", [STRING, SAS, f"Bearer {SECRET}"])
@pytest.mark.parametrize("key", KEYS)
def test_secret_that_is_pasted_in_a_wrong_place_is_not_shown(tmp_path: Path, key: str, secret: str) -> None:
    """Wherever it was written: faults end up in answers and logs."""
    text = re.sub(rf'^{key} = ".*"$', f'{key} = "{secret}"', SHIPPED, count=1, flags=re.MULTILINE)
    assert text != SHIPPED
    file = tmp_path / "retrain.toml"
    file.write_text(text)
    found = list[ConfigurationError]()
    try:
        read.load(file, ENVIRON)
    except ConfigurationError as error:
        found.append(error)
    assert not any(SECRET in f"{error} {error.faults}" for error in found)
    for setting in ("RETRAIN_EVENTS", "RETRAIN_BLOB_SOURCE", "RETRAIN_TIMER_SCHEDULE", "RETRAIN_GRACE"):
        [fault] = faults(tmp_path, SHIPPED, {**ENVIRON, setting: secret})
        assert SECRET not in fault


def test_value_of_any_length_is_shown_in_short(tmp_path: Path) -> None:
    """A pattern of twenty thousand characters does not fill the log."""
    text = SHIPPED.replace('path = "income/**/*.csv"', f'path = "{"x" * 20_000}/"')
    assert all(len(fault) < 800 for fault in faults(tmp_path, text))


def test_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Some editors put one in front."""
    file = tmp_path / "retrain.toml"
    file.write_bytes(b"\xef\xbb\xbf" + SHIPPED.encode())
    assert read.load(file, ENVIRON).rules


def test_file_that_is_nested_without_end(tmp_path: Path) -> None:
    """A fault like any other."""
    [fault] = faults(tmp_path, "a = " + "[" * 5000 + "]" * 5000)
    assert "cannot be read" in fault


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("5s", timedelta(seconds=5)),
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("999999d", timedelta(days=999_999)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    """A number and a unit."""
    assert duration(text) == length
