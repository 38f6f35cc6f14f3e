"""Serves the workspace on loopback with uvicorn, and lets the application hang up without an answer.

Never listens on another interface: the controls ask no one who they are.
"""

import logging
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from local.printable import handler
from local.workspace.app import create_app
from local.workspace.faults import HANG_UP

HOST = "127.0.0.1"


class _Protocol(H11Protocol):
    """HTTP/1.1 with one ASGI extension: closing the connection at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[HANG_UP] = self.transport.abort
            await inner(scope, receive, send)

        self.app = app


class Server(uvicorn.Server):
    """A uvicorn server that says on stdout when it serves."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self.announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then print the one line."""
        await super().startup(sockets)
        if self.started:
            print(self.announcement, flush=True)


def listen(port: int) -> socket.socket:
    """Return a listening socket on loopback; port 0 is any free one. Raises OSError when the port is taken."""
    # Named as TCP, or asyncio leaves Nagle's algorithm on and each answer waits for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":  # there it would let two processes share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


def serve(
    listener: socket.socket,
    storage: str,
    identity_header: str | None = None,
    keep: Path | None = None,
    certificate: Path | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; over TLS with a `certificate`, a file that has its key, too."""
    base_url = f"{'https' if certificate else 'http'}://{HOST}:{listener.getsockname()[1]}"
    app = create_app(storage, base_url, identity_header=identity_header, keep=keep)
    logging.basicConfig(level=logging.WARNING, handlers=[handler("%(levelname)s %(name)s: %(message)s")])
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate,
    )
    Server(config, f"workspace ready {base_url}").run(sockets=[listener])
