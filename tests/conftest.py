"""Fixtures shared by all tests: real parts, started once."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local import azurite
from shared import identity
from shared.app import App, build
from shared.ledger.table import Ledger
from shared.settings.model import LedgerTable
from shared.storage.accounts import table_client
from tests import samples

if TYPE_CHECKING:  # loaded as a plugin below; imported here too it could not be
    from tests.fixtures_workspace import LocalWorkspace

pytest_plugins = ["tests.fixtures_workspace"]


@pytest.fixture(scope="session", autouse=True)
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where stacks leave their addresses: not among those that a person has running beside the tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("stacks")
        patch.setenv("RETRAIN_STACKS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of an Azurite that lives as long as the test session."""
    running = azurite.start(Path(tmp_path_factory.mktemp("azurite")) / "azurite.log")
    with running.child:
        yield running.connection_string


@pytest.fixture
def ledger(storage: str) -> Iterator[Ledger]:
    """A ledger in a table of its own that does not exist yet."""
    made = Ledger(table_client("S", f"t{uuid.uuid4().hex}", {"S": storage}))
    with made.table:
        yield made
        made.table.delete_table()


@pytest.fixture
def app(storage: str, workspace: "LocalWorkspace", monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The application as the shipped retrain.toml makes it, wired to Azurite and the local workspace; runs are held."""
    monkeypatch.setenv("TrainingStorage", storage)
    monkeypatch.setenv("AzureWebJobsStorage", storage)
    monkeypatch.setenv("IDENTITY_ENDPOINT", workspace.info["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", workspace.info["identity_header"])
    workspace.control("POST", "settings", {"engine": "hold"})
    identity.credential.cache_clear()
    table = LedgerTable(table=f"t{uuid.uuid4().hex}")
    made = build(samples.settings(workspace.endpoint["url"], ledger=table))
    made.ledger.table.create_table()
    yield made
    made.ledger.table.delete_table()
    made.close()
    identity.credential.cache_clear()


@pytest.fixture
def empty_container(app: App, workspace: "LocalWorkspace") -> None:
    """The container `training-data` is there and empty: no blob of another test is taken for a missed arrival."""
    workspace.upload("x", "x")
    container = app.datastores["training"].container
    for name in list(container.list_blob_names()):
        container.delete_blob(name)
