"""The HTTP server of the host: uvicorn on loopback, told by the host when to end.

Never takes the process's signals: the host ends its triggers first, then this.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from local.host.errors import HostError

ADDRESS = "127.0.0.1"  # nothing here asks who is calling


class Server(uvicorn.Server):
    """A server for one app on one socket, which tells when it answers."""

    def __init__(self, app: Starlette, listening: socket.socket, grace_s: float) -> None:
        """Serve nothing yet."""
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=round(grace_s),
            )
        )
        self._socket = listening
        self.answers = asyncio.Event()

    async def run_until_told(self) -> None:
        """Serve until `should_exit` is set."""
        await self.serve(sockets=[self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self.answers.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the host."""
        yield


def listen(port: int) -> socket.socket:
    """Return a listening socket on loopback; port 0 takes any free one. Raises HostError when the port is taken."""
    try:
        listening = socket.create_server((ADDRESS, port), backlog=2048)
    except OSError as error:
        raise HostError(f"cannot listen on {ADDRESS}:{port}: {error}") from error
    # Head and body are written apart, and the second would wait 40 ms for the first's receipt. Connections inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
