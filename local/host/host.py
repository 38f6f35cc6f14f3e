"""The host: loads the app, starts a trigger for each function, serves until told to stop.

The order of a start: settings, the app's own code, its bindings, storage, triggers, HTTP; whatever is wrong is found
before anything runs. The order of an end: no new work, running invocations get GRACE_S, then the process ends.

Never knows what the app does: all it does follows from the bindings the app declares.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from local.host import bindings, settings
from local.host.admin import Admin
from local.host.bindings import BlobTrigger, HttpTrigger, QueueTrigger, TimerTrigger, Trigger
from local.host.keeper import Keeper
from local.host.queues import IDLE_S, Listener, Queues, Rules
from local.host.server import ADDRESS, Server, listen
from local.host.settings import Connection, Settings
from local.host.storage import Storage
from local.host.triggers import http, scan, webhook
from local.host.triggers.blob import BlobTriggers
from local.host.triggers.queue import QueueFunction
from local.host.triggers.timer import TickLock, TimerFunction
from local.host.worker import Worker
from local.loopback import guards
from local.printable import Lines

log = logging.getLogger("host")

GRACE_S = 5.0


class Host:
    """One app, one process."""

    def __init__(self, config: Settings, *, scan_interval_s: float, lease_s: float) -> None:
        """Start nothing yet."""
        self._config, self._scan_interval_s, self._lease_s = config, scan_interval_s, lease_s
        self._worker = Worker(config.app_dir)
        self._storage, self._keeper = Storage(), Keeper()
        self._queues = Queues(self._storage)
        self._listeners: list[Listener] = []
        self._loops: list[Callable[[], Coroutine[None, None, None]]] = []  # ended by cancelling
        self._stop = asyncio.Event()

    async def run(self, port: int, ready: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT; call `ready` with the base URL once everything answers. Raises HostError."""
        self._end_on_signals()
        with listen(port) as listening:
            port = listening.getsockname()[1]
            os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
            os.environ["WEBSITE_HOSTNAME"] = f"{ADDRESS}:{port}"
            url = f"http://{ADDRESS}:{port}"
            routes = await self._load(url)
            await self._serve(routes, listening, url, ready)

    async def _load(self, base_url: str) -> list[Route]:
        """Index the app, prepare all triggers and return all HTTP routes."""
        config = self._config
        functions = [function for function in await self._worker.start() if not settings.disabled(function.name)]
        triggers = bindings.triggers(functions)
        listed = "".join(f"\n    {self._listed(trigger, base_url)}" for trigger in triggers)
        log.info("functions:%s", Lines(listed))
        http_triggers = [trigger for trigger in triggers if isinstance(trigger, HttpTrigger)]
        routes = http.routes(http_triggers, self._worker, config.route_prefix, config.body_limit)
        for function in functions:
            if function.has_retry_policy:
                log.warning("function %s: its retry policy is not done by this host", function.name)
        if len(http_triggers) == len(triggers):
            return [*Admin(config.host_id, _by_name(triggers), None, {}, {}).routes(), *routes]
        blobs, admin = await self._prepare(triggers)
        return [*admin.routes(), webhook.route(blobs), *routes]

    def _listed(self, trigger: Trigger, base_url: str) -> str:
        """Return a line about a function, for the list at the start."""
        name = trigger.function.name
        match trigger:
            case HttpTrigger():
                path = "/".join(part for part in (base_url, self._config.route_prefix, trigger.route) if part)
                return f"{name}: [{','.join(trigger.methods) or 'any method'}] {path}"
            case BlobTrigger():
                source = "scanned" if trigger.scans else f"{base_url}{webhook.PATH}?functionName=Host.Functions.{name}"
                return f"{name}: blobs of {trigger.pattern.container}, {source}"
            case QueueTrigger():
                return f"{name}: queue {trigger.queue}"
            case TimerTrigger():
                return f"{name}: timer {trigger.schedule}"

    async def _prepare(self, triggers: list[Trigger]) -> tuple[BlobTriggers, Admin]:
        """Open storage and prepare what listens, scans and ticks."""
        config = self._config
        host_connection = settings.connection(settings.HOST_STORAGE, "the host")
        for connection in _connections(host_connection, triggers):
            await self._storage.check(connection)
        account = self._storage.account(host_connection)

        blob_triggers = [trigger for trigger in triggers if isinstance(trigger, BlobTrigger)]
        blobs = BlobTriggers(blob_triggers, self._worker, self._storage, self._queues, account, config.host_id)
        if blob_triggers:
            rules = Rules(config.blob_parallelism, config.blob_attempts, 0, self._lease_s)
            self._listeners.append(await blobs.listener(self._keeper, rules))
            scanners = scan.scanners(
                blob_triggers, blobs, self._storage, account, config.host_id, self._scan_interval_s
            )
            self._loops += [scanner.run for scanner in scanners]

        queues: dict[str, QueueFunction] = {}
        idle_s = min(IDLE_S, config.queue_polling_s)
        rules = Rules(
            config.queue_parallelism, config.queue_attempts, config.queue_retry_delay_s, self._lease_s, idle_s
        )
        timers: dict[str, TimerFunction] = {}
        for trigger in triggers:
            name = trigger.function.name
            if isinstance(trigger, QueueTrigger):
                queues[name] = QueueFunction(
                    trigger, self._worker, self._storage, self._queues, as_base64=config.queue_base64
                )
                self._listeners.append(queues[name].listener(self._keeper, rules))
            elif isinstance(trigger, TimerTrigger):
                lock = TickLock(account, config.host_id, name)
                await self._storage.run(lock.create)
                timers[name] = TimerFunction(trigger, self._worker, self._storage, lock, self._keeper)
                self._loops.append(timers[name].run)
        return blobs, Admin(config.host_id, _by_name(triggers), blobs, queues, timers)

    async def _serve(
        self, routes: list[Route], listening: socket.socket, url: str, ready: Callable[[str], None]
    ) -> None:
        app = Starlette(routes=routes, middleware=guards(), exception_handlers={ClientDisconnect: _gone})
        app.router.redirect_slashes = False
        server = Server(app, listening, GRACE_S)
        serving = asyncio.create_task(server.run_until_told())
        answers = asyncio.create_task(server.answers.wait())
        await asyncio.wait([answers, serving], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        listening_tasks = [asyncio.create_task(listener.run()) for listener in self._listeners]
        loops = [asyncio.create_task(loop()) for loop in self._loops]
        ready(url)
        await self._until_stopped_or_broken([serving, *listening_tasks, *loops])

        log.info("ending: no new work, running invocations have %.0f s", GRACE_S)
        for loop in loops:
            loop.cancel()
        for listener in self._listeners:
            listener.stop()
        server.should_exit = True
        deadline = time.monotonic() + GRACE_S
        await asyncio.wait([serving, *listening_tasks, *loops], timeout=GRACE_S)
        await self._worker.drain(deadline - time.monotonic())

    async def _until_stopped_or_broken(self, tasks: list[asyncio.Task[None]]) -> None:
        """Return at a signal; raise what ended a background task, which none does by itself."""
        stop = asyncio.create_task(self._stop.wait())
        ended, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in ended - {stop}:
            await task

    def _end_on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop.set))


async def _gone(request: Request, _error: Exception) -> Response:
    """Say that a caller hung up before it had sent its request; the answer reaches nobody."""
    log.info("%s %s: the caller hung up", request.method, request.url.path)
    return Response(status_code=400)


def _by_name(triggers: list[Trigger]) -> dict[str, Trigger]:
    return {trigger.function.name: trigger for trigger in triggers}


def _connections(host: Connection, triggers: list[Trigger]) -> list[Connection]:
    """Return every connection in use, once."""
    used = [trigger.connection for trigger in triggers if isinstance(trigger, BlobTrigger | QueueTrigger)]
    return list({connection.string: connection for connection in [host, *used]}.values())
