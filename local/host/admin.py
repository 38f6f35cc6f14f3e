"""The admin endpoints an operator or a test uses: run a function now, and ask how the host is.

Never asks for a key, as Core Tools does not; the host listens on loopback only.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.host.bindings import BlobTrigger, HttpTrigger, QueueTrigger, TimerTrigger, Trigger
from local.host.triggers.blob import BlobTriggers
from local.host.triggers.queue import QueueFunction
from local.host.triggers.timer import TimerFunction

log = logging.getLogger("host.admin")


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
            content = json.loads(await request.body() or b"{}")
            given = content.get("input") or ""
        except (ValueError, AttributeError, RecursionError):
            return _problem(400, 'the body is no JSON object; expected {"input": "text"}')
        if not isinstance(given, str):
            return _problem(400, f'"input" is a JSON {type(given).__name__}; expected text')
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
            return _problem(400, f'"input" is {given!r}; expected container/blob')
        found = await self._blobs.find(trigger, container, blob)
        if found is None:
            return _problem(404, f"there is no blob {given}")
        await self._blobs.enqueue(trigger, found)
        return Response(status_code=202)


def _described(trigger: Trigger) -> dict[str, Any]:
    return {"name": trigger.function.name, "config": {"bindings": list(trigger.function.bindings)}, "isDisabled": False}


def _problem(status: int, text: str) -> Response:
    log.warning("admin request refused: %s", text)
    return PlainTextResponse(text, status_code=status)
