"""The admin endpoints an operator or a test uses: run a function now, and ask how the host is.

Never asks for a key, as Core Tools does not; the host listens on loopback only.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from azure.core.exceptions import HttpResponseError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.host.bindings import BlobTrigger, HttpTrigger, QueueTrigger, TimerTrigger, Trigger
from local.host.triggers.blob import BlobTriggers
from local.host.triggers.queue import QueueFunction
from local.host.triggers.timer import TimerFunction
from local.printable import printable

log = logging.getLogger("host.admin")

_REFUSALS = (400, 413, 414)  # of storage, for a name or a message that cannot be
_SHOWN = 200  # characters of what was given
_LONGEST_PATH = 63 + 1 + 1024  # characters of a container's name and a blob's


class Admin:
    """Answers for the functions of one app."""

    def __init__(
        self,
        host_id: str,
        triggers: Mapping[str, Trigger],
        blobs: BlobTriggers | None,
        queues: Mapping[str, QueueFunction],
        timers: Mapping[str, TimerFunction],
    ) -> None:
        """Hold the triggers by function name."""
        self._host_id, self._triggers = host_id, triggers
        self._blobs, self._queues, self._timers = blobs, queues, timers
        self._fired: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Return the admin routes."""
        return [
            Route("/admin/host/status", self._status),
            Route("/admin/host/ping", self._ping, methods=["GET", "POST"]),
            Route("/admin/functions", self._list),
            Route("/admin/functions/{name}", self._run, methods=["POST"]),
            Route("/admin/functions/{name}/status", self._function_status),
        ]

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "id": self._host_id,
                "state": "Running",
                "version": f"local.host on azure-functions-runtime {version('azure-functions-runtime')}",
                "functions": sorted(self._triggers),
            }
        )

    async def _ping(self, _request: Request) -> Response:
        return Response()

    async def _list(self, _request: Request) -> Response:
        return JSONResponse([_described(trigger) for trigger in self._triggers.values()])

    async def _function_status(self, request: Request) -> Response:
        if request.path_params["name"] not in self._triggers:
            return _problem(404, "no such function")
        return JSONResponse({"errors": None})

    async def _run(self, request: Request) -> Response:
        trigger = self._triggers.get(request.path_params["name"])
        if trigger is None:
            return _problem(404, "no such function")
        try:
            return await self._run_with(trigger, _input(await request.body()))
        except ValueError as error:
            return _problem(400, str(error))
        except HttpResponseError as error:
            if error.status_code not in _REFUSALS:
                raise
            return _problem(400, f'storage refuses "input": {error.reason}')

    async def _run_with(self, trigger: Trigger, given: str) -> Response:
        match trigger:
            case BlobTrigger():
                return await self._run_blob(trigger, given)
            case QueueTrigger():
                await self._queues[trigger.function.name].put(given)
            case TimerTrigger():
                task = asyncio.create_task(self._timers[trigger.function.name].fire_now())
                self._fired.add(task)  # the loop itself holds tasks only weakly
                task.add_done_callback(self._fired.discard)
            case HttpTrigger():
                return _problem(400, f"{trigger.function.name} is an HTTP function; call its route /{trigger.route}")
        return Response(status_code=202)

    async def _run_blob(self, trigger: BlobTrigger, given: str) -> Response:
        assert self._blobs is not None, "an app with a blob trigger has this"
        container, _, blob = given.partition("/")
        if not container or not blob:
            return _problem(400, f'"input" is {given[:_SHOWN]!r}; expected container/blob')
        if len(given) > _LONGEST_PATH:
            return _problem(
                400, f'"input" has {len(given):,} characters; no blob\'s path has more than {_LONGEST_PATH:,}'
            )
        found = await self._blobs.find(trigger, container, blob)
        if found is None:
            return _problem(404, f"there is no blob {given[:_SHOWN]}")
        await self._blobs.enqueue(trigger, found)
        return Response(status_code=202)


def _input(body: bytes) -> str:
    """Read the body of a call. Raises ValueError when it is no object with a text as its input."""
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError('the body is no JSON object; expected {"input": "text"}')
    given = content.get("input") or ""
    if not isinstance(given, str):
        raise ValueError(f'"input" is a JSON {type(given).__name__}; expected text')
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError('"input" has half a surrogate pair; expected text') from None
    return given


def _described(trigger: Trigger) -> dict[str, Any]:
    return {"name": trigger.function.name, "config": {"bindings": list(trigger.function.bindings)}, "isDisabled": False}


def _problem(status: int, text: str) -> Response:
    log.warning("admin request refused: %s", text)
    return PlainTextResponse(printable(text), status_code=status)
