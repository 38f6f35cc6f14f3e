"""Azurite and the workspace stand-in for a measure; requests are counted where they arrive. Never runs an app."""

import contextlib
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import trustme
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient

from local import azurite
from local.conformance.command import Place, workspace
from local.stack import CONTAINER, ENDPOINT

REQUEST = re.compile(r'"([A-Z]+) (\S+) HTTP/')
SETTLES_S = 0.1  # until what was answered is in Azurite's log


@dataclass(frozen=True)
class Servers:
    """What an app needs."""

    storage: str
    plain: Place
    tls: Place
    """The same workspace service over TLS: azure-core sends tokens over nothing else."""
    log: Path | None
    """Azurite's, where it has a line for each request."""

    def environment(self, place: Place | None = None) -> dict[str, str]:
        """Return the app settings for one of the two workspaces."""
        place = place or self.plain
        return {
            "TrainingStorage": self.storage,
            "AzureWebJobsStorage": self.storage,
            "TRAINING_CONTAINER": CONTAINER,
            "INCOME_ENDPOINT_URL": self.endpoint_url(place),
            "WORKSPACE_URL": place.url,
            "WORKSPACE_PATH": place.control("info")["workspace"],
            **place.environment(),
        }

    def endpoint_url(self, place: Place) -> str:
        """Return the pipeline endpoint's address."""
        return str(next(one["url"] for one in place.control("info")["endpoints"] if one["name"] == ENDPOINT))

    def upload(self, names: list[str], content: bytes = b"age\n1\n") -> None:
        """Put small files into the container of the datastore."""
        with self.container() as container:
            for name in names:
                container.upload_blob(name, content, overwrite=True)

    def container(self) -> ContainerClient:
        """Return a client for the datastore's container, which is made if need be."""
        made = ContainerClient.from_connection_string(self.storage, CONTAINER)
        with contextlib.suppress(ResourceExistsError):
            made.create_container()
        return made

    @contextlib.contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Count what the servers receive meanwhile: Azurite by how it is billed, the workspace by its own words."""
        found = Counter[str]()
        begin, before = self._lines(), self._received()
        yield found
        for method, path in REQUEST.findall("\n".join(self._log()[begin:])):
            found[service_of(method, path)] += 1
        found.update(self._received() - before)

    def _log(self) -> list[str]:
        assert self.log is not None  # only one that logs its requests can be asked
        time.sleep(SETTLES_S)
        return self.log.read_text(errors="replace").splitlines()

    def _lines(self) -> int:
        return len(self._log())

    def _received(self) -> Counter[str]:
        return Counter[str](self.plain.control("requests")) + Counter[str](self.tls.control("requests"))


def service_of(method: str, path: str) -> str:
    """Return what a request to Azurite was about; Azure bills these by different prices."""
    if re.search(r"/(\$batch|Tables\b|\w+\(|\w+\(?\)?\?\$)|/retrain\w*(\?|$)", path):
        return "table"
    if re.search(r"/messages(/|\?|$)", path) or re.search(r"/(azure-webjobs|webjobs)-blobtrigger", path):
        return "queue"
    if "comp=list" in path:
        return "blob list"
    return "blob write" if method in ("PUT", "POST", "DELETE") else "blob read"


@contextlib.contextmanager
def servers(logs: Path, *, counting: bool = False, keep: Path | None = None) -> Iterator[Servers]:
    """Run them on free ports; runs are accepted and held, none is trained."""
    own = Path(tempfile.mkdtemp(prefix="servers-", dir=logs))  # whoever waits for a log's words must not find old ones
    log = own / "azurite.log"
    with contextlib.ExitStack() as stack:
        storage = azurite.start(log, logs_requests=counting, keep=keep)
        stack.enter_context(storage.child)
        places = list[Place]()
        for which, authority in (("plain", None), ("tls", trustme.CA())):
            place = stack.enter_context(
                workspace(f"workspace-{which}", storage.connection_string, own, authority=authority)
            )
            control(place, "settings", {"engine": "hold"})
            places.append(place)
        yield Servers(storage.connection_string, places[0], places[1], log if counting else None)


def control(place: Place, what: str, body: Any) -> None:
    """Order something of a workspace."""
    verify = str(place.authority) if place.authority else True
    requests.post(f"{place.url}/_control/{what}", json=body, verify=verify, timeout=30).raise_for_status()
