"""The local workspace as a real process, for every test that needs one.

Never shares state between tests: the workspace is reset before each test that asks for `workspace`.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient

from local.process import Child

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 20


class LocalWorkspace:
    """A running local workspace and what tests do with it."""

    def __init__(self, base_url: str, child: Child) -> None:
        self.base_url, self.child = base_url, child
        self.session = requests.Session()
        self.info: dict[str, Any] = self.control("GET", "info")
        self.pipelines = f"{base_url}/pipelines/v1.0{self.info['workspace']}"
        self.history = f"{base_url}/history/v1.0{self.info['workspace']}"
        self.endpoint: dict[str, Any] = self.info["endpoints"][0]
        self._tokens: dict[str, str] = {}

    def control(self, method: str, what: str, body: Any = None) -> Any:
        """Call /_control/{what}; returns its answer."""
        answer = self.session.request(method, f"{self.base_url}/_control/{what}", json=body, timeout=TIMEOUT_S)
        assert answer.ok, answer.text
        return answer.json()

    def token(self, resource: str = "https://management.azure.com") -> str:
        """Return a token of the managed identity, one per resource."""
        if resource not in self._tokens:
            answer = self.session.get(
                self.info["identity_endpoint"],
                params={"api-version": "2019-08-01", "resource": resource},
                headers={"X-IDENTITY-HEADER": self.info["identity_header"]},
                timeout=TIMEOUT_S,
            )
            self._tokens[resource] = answer.json()["access_token"]
        return self._tokens[resource]

    def call(self, method: str, url: str, body: Any = None, **options: Any) -> requests.Response:
        """Call a service with a token; a path is taken below the v1 pipelines API."""
        url = url if url.startswith("http") else self.pipelines + url
        headers = {"Authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        return self.session.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S, **options)

    def upload(self, name: str, content: str | bytes, container: str = "training-data") -> None:
        """Put a blob where the datastore `training` finds it."""
        with BlobServiceClient.from_connection_string(self.info["storage"]) as storage:
            client = storage.get_container_client(container)
            with contextlib.suppress(ResourceExistsError):  # made by an earlier test
                client.create_container()
            client.upload_blob(name, content, overwrite=True)


@pytest.fixture(scope="session")
def workspace_process(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    """The local workspace on a free port, for as long as the test session."""
    log = Path(tmp_path_factory.mktemp("workspace")) / "workspace.log"
    command = [sys.executable, "-m", "local.workspace", "--port", "0", "--storage", storage]
    with Child("workspace", command, log=log, cwd=ROOT) as child:
        child.wait_until(lambda: "workspace ready " in log.read_text())
        line = next(line for line in log.read_text().splitlines() if line.startswith("workspace ready "))
        running = LocalWorkspace(line.removeprefix("workspace ready "), child)
        with running.session:
            yield running


@pytest.fixture
def workspace(workspace_process: LocalWorkspace) -> LocalWorkspace:
    """The local workspace, reset."""
    workspace_process.control("POST", "reset")
    return workspace_process
