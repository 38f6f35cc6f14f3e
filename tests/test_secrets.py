"""A secret pasted where it does not belong: into each key of retrain.toml and each app setting, then all is searched.

Searched are the faults, what the commands print, what the HTTP API answers, the log, and the ledger's rows. What a
pipeline is to be given (parameters, tags, description) must be kept to be sent: there it stands in the row's request,
and nowhere else.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import shared.app
from cli.commands import commands
from functions.http import answer, problem
from shared.app import App, build
from shared.errors import ConfigurationError, RetrainError
from shared.flow.arrive import arrive as deliver
from shared.flow.tick import tick
from shared.operate import status
from shared.operate.calls import Call, request
from shared.operate.plan import plan_call
from shared.operate.views import view
from shared.rules.arrival import Source
from shared.settings import read
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import ENVIRON

CORE = "c2VjcmV0LWtleS1vZi1hbi1hY2NvdW50LWMyVmpjbVYwTFd0bGVTMXZaaTFoYmkxaFkyTnZkVzUw"
PIECE = CORE[4:28]  # what must be nowhere
SECRETS = {
    "connection string": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={CORE}==;EndpointSuffix=a.net",
    "signature": f"https://a.blob.core.windows.net/c?sv=2026-02-06&se=2027-01-01&sig={CORE}%3D",
    "function key": f"https://app.azurewebsites.net/api/retrain?code={CORE}==",
    "bare key": f"{CORE}==",
    "bearer": f"Bearer {CORE}",
    "token": f"eyJ{CORE}.{CORE}.{CORE}",
}
# A place in retrain.toml: what stands there, and what takes its place.
PLACES = {
    "datastore's name": ("[datastores.training]", '[datastores."{}"]'),
    "container": ('container = "%TRAINING_CONTAINER%"', 'container = "{}"'),
    "connection": ('connection = "TrainingStorage"', 'connection = "{}"'),
    "pipeline's name": ("[pipelines.income]", '[pipelines."{}"]'),
    "kind": ('kind = "pipeline_endpoint"', 'kind = "{}"'),
    "url": ('url = "%INCOME_ENDPOINT_URL%"', 'url = "{}"'),
    "url's query": ('url = "%INCOME_ENDPOINT_URL%"', 'url = "%INCOME_ENDPOINT_URL%?x={}"'),
    "version": ('\nversion = "1"', '\nversion = "{}"'),
    "experiment": ('experiment = "income-retrain"', 'experiment = "{}"'),
    "audience": ('experiment = "income-retrain"', 'experiment = "income-retrain"\naudience = "{}"'),
    "unknown key": ('experiment = "income-retrain"', 'experiment = "income-retrain"\n"{}" = 1'),
    "unknown table": ("[[rules]]", '["{}"]\n[[rules]]'),
    "rule's name": ('name = "income-files"', 'name = "{}"'),
    "rule's datastore": ('datastore = "training"', 'datastore = "{}"'),
    "rule's pipeline": ('pipeline = "income"', 'pipeline = "{}"'),
    "path": ('path = "income/**/*.csv"', 'path = "income/{}/*.csv"'),
    "ignore": ('pipeline = "income"', 'pipeline = "income"\nignore = ["{}"]'),
    "metadata": ('pipeline = "income"', 'pipeline = "income"\nmetadata = {{ stage = "{}" }}'),
    "parameter's name": ('parameter = "input_data"', 'parameter = "{}"'),
    "parameter's value": ('pipeline = "income"', 'pipeline = "income"\nparameters = {{ country = "{}" }}'),
    "tag": ('pipeline = "income"', 'pipeline = "income"\ntags = {{ a = "{}" }}'),
    "description": ('pipeline = "income"', 'pipeline = "income"\ndescription = "{}"'),
    "rule's experiment": ('pipeline = "income"', 'pipeline = "income"\nexperiment = "{}"'),
    "when_busy": ('pipeline = "income"', 'pipeline = "income"\nwhen_busy = "{}"'),
    "settle": ('pipeline = "income"', 'pipeline = "income"\nsettle = {{ quiet = "{}" }}'),
    "example": ('path = "income/us/readme.txt"', 'path = "{}"'),
    "table": ("[[rules]]", '[ledger]\ntable = "{}"\n[[rules]]'),
    "ledger's connection": ("[[rules]]", '[ledger]\nconnection = "{}"\n[[rules]]'),
}
SETTINGS = [
    *ENVIRON,
    "RETRAIN_EVENTS",
    "RETRAIN_BLOB_SOURCE",
    "RETRAIN_TIMER_SCHEDULE",
    "RETRAIN_GRACE",
    "RETRAIN_FILE",
    "AZURE_CLIENT_ID",
]
SHIPPED = read.FILE.read_text()


def printed(*words: str) -> str:
    """Run an operator's command in this process; return all that it printed, errors as the command's own main does."""
    done = CliRunner().invoke(commands, words)
    error = done.exception
    told = str(error) if isinstance(error, RetrainError) else "" if isinstance(error, SystemExit) else repr(error or "")
    return f"{done.output}{done.stderr}{told}"


def said(error: ConfigurationError) -> str:
    """Return the HTTP API's answer."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "configuration", str(error), error.faults).get_body().decode()


def offline() -> str:
    """Return what the commands print that need nothing."""
    lines = [("check", "--offline"), ("check", "--offline", "--json"), ("plan", "--offline", "income/us/a.csv")]
    told = "".join(printed(*words) for words in lines)
    shared.app.made.cache_clear()
    return told


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, storage: str) -> Iterator[pytest.MonkeyPatch]:
    """The app settings of the shipped file, on storage that is there."""
    for name, value in {**ENVIRON, "TrainingStorage": storage, "AzureWebJobsStorage": storage}.items():
        monkeypatch.setenv(name, value)
    shared.app.made.cache_clear()
    yield monkeypatch
    shared.app.made.cache_clear()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", PLACES)
def test_secret_in_retrain_toml(
    environ: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str, secret: str
) -> None:
    """Neither faults nor commands nor answers show it, and they still say where something is wrong."""
    caplog.set_level(logging.INFO)
    before, after = PLACES[place]
    assert before in SHIPPED
    file = tmp_path / "retrain.toml"
    file.write_text(SHIPPED.replace(before, after.format(SECRETS[secret]), 1))
    environ.setenv("RETRAIN_FILE", str(file))
    told = offline()
    try:
        read.load()
    except ConfigurationError as error:
        told += f"{error} {error.faults} {said(error)}"
        assert "retrain.toml" in told
    assert PIECE not in f"{told} {caplog.text}"


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", SETTINGS)
def test_secret_in_an_app_setting(
    environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, secret: str
) -> None:
    """The same of each setting; a connection string where it belongs is no fault, and is not shown either."""
    caplog.set_level(logging.INFO)
    environ.setenv(name, SECRETS[secret])
    told = offline()
    try:
        told += repr(build(read.load()).settings)
    except ConfigurationError as error:
        told += f"{error} {error.faults}"
    assert PIECE not in f"{told} {caplog.text}"


KEPT = ["parameter's value", "tag", "description"]


@pytest.mark.usefixtures("empty_container")
@pytest.mark.parametrize("place", [*KEPT, "metadata", "ignore", "path", "audience"])
@pytest.mark.parametrize("secret", ["connection string", "bare key", "function key"])
def test_secret_in_what_can_be_used(
    app: App,
    workspace: LocalWorkspace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: str,
    secret: str,
) -> None:
    """The app works with it, and shows it nowhere; in rows it is only in the request that is to be sent."""
    caplog.set_level(logging.INFO)
    before, after = PLACES[place]
    file = tmp_path / "retrain.toml"
    file.write_text(SHIPPED.replace(before, after.format(SECRETS[secret]), 1))
    try:
        loaded = read.load(file, {**ENVIRON, "INCOME_ENDPOINT_URL": workspace.endpoint["url"]})
    except ConfigurationError:  # such as a description's, which no template takes
        return
    made = replace(app, settings=msgspec.structs.replace(loaded, ledger=app.settings.ledger))
    told = list[Any]()
    for path in ("income/us/a.csv", "income/us/b.csv"):
        workspace.upload(path, "a\n1\n")
        told += [plan_call(made, Call(path=path, datastore="training"))]
    try:
        deliver(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
        request(made, Call(path="income/us/b.csv", datastore="training"))
    except RetrainError as error:
        told.append(str(error))
    tick(made)
    told += [status.status(made), [view(entry) for entry in made.history(10)]]
    shown = " ".join(answer(one).get_body().decode() for one in told)
    assert PIECE not in f"{shown} {caplog.text}"
    for row in made.ledger.table.list_entities():
        found = [column for column, value in row.items() if PIECE in str(value)]
        needed = {"audience": "Target", "path": "Path"}.get(place, r"Request\d*" if place in KEPT else "")
        assert all(re.fullmatch(needed, column) for column in found)
