"""Drives Microsoft's worker library (azure_functions_runtime) in this process: index the app, invoke its functions.

Only the coroutines in the library's `__all__` are used. It keeps its state in module globals, so one app a process.

Never decides when a function runs or what a failure means; that is the triggers' part.
"""

import asyncio
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime

from local.host.errors import IndexingError, SettingsError
from local.host.messages import PROTOS, Message, StatusResult
from local.printable import Lines

log = logging.getLogger("host.worker")

PROJECT_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Function:
    """One function as the worker library reports it; `bindings` are its raw bindings, parsed."""

    name: str
    id: str
    bindings: tuple[Mapping[str, Any], ...]
    has_retry_policy: bool


@dataclass(frozen=True)
class Outcome:
    """What came of an invocation; `value` is the typed data returned, if any."""

    invocation_id: str
    ok: bool
    value: Message | None
    error: str


class FunctionFailedError(Exception):
    """A function raised; it has been logged, with its traceback, by the worker."""


class Worker:
    """The app of one folder, loaded once."""

    def __init__(self, app_dir: Path) -> None:
        """Prepare for the app in `app_dir`; nothing is imported before `start`."""
        self._app_dir = app_dir.resolve()
        self._running: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> list[Function]:
        """Import and index the app. Raises IndexingError with the app's own traceback when that fails."""
        self._enter_app_dir()
        script = os.environ.get("PYTHON_SCRIPT_FILE_NAME") or "function_app.py"
        if not (self._app_dir / script).is_file():
            raise SettingsError(f"{self._app_dir}: no {script}, so there is no function app here")
        runtime.start_threadpool_executor()
        request = SimpleNamespace(
            request=SimpleNamespace(
                worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(self._app_dir))
            ),
            properties={"protos": PROTOS, "host": "127.0.0.1"},
        )
        answer = await runtime.worker_init_request(request)
        if answer.result.status != StatusResult.Success:
            raise IndexingError(answer.result.exception.stack_trace)
        self._refuse_other_app(script)
        if "HttpUri" in answer.capabilities:
            raise SettingsError("HTTP streaming (azurefunctions-extensions-http-fastapi) is not done by this host")
        listing = (await runtime.functions_metadata_request(None)).function_metadata_results
        if not listing:
            raise SettingsError(f"{self._app_dir / script}: the app declares no functions")
        return [
            Function(
                item.name, item.function_id, tuple(map(json.loads, item.raw_bindings)), item.retry_options is not None
            )
            for item in listing
        ]

    def _enter_app_dir(self) -> None:
        """Make the app importable as the platform does: its folder comes last on the path, so any package wins."""
        ours = {PROJECT_ROOT, self._app_dir}
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in ours]
        sys.path.append(str(self._app_dir))
        os.chdir(self._app_dir)

    def _refuse_other_app(self, script: str) -> None:
        """Say so when a module of the same name elsewhere on the path was loaded instead of the app."""
        loaded = Path(sys.modules[Path(script).stem].__file__ or "").resolve()
        if loaded.parent != self._app_dir:
            raise SettingsError(f"{script} of {self._app_dir} is hidden by {loaded}, which comes first on the path")

    async def invoke(
        self,
        function: Function,
        inputs: Mapping[str, Message],
        metadata: Mapping[str, Message],
        *,
        reason: str,
        trace_parent: str = "",
    ) -> Outcome:
        """Run `function` once and log one line about it. Never raises for what the function does."""
        invocation_id = str(uuid.uuid4())
        request = SimpleNamespace(
            invocation_id=invocation_id,
            function_id=function.id,
            input_data=[_parameter(name, data) for name, data in inputs.items()],
            trigger_metadata=metadata,
            trace_context=SimpleNamespace(trace_parent=trace_parent, trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        self._running.add(f"{function.name} ({invocation_id})")
        self._idle.clear()
        token = runtime.invocation_id_cv.set(invocation_id)
        began = time.perf_counter()
        try:
            answer = await runtime.invocation_request(
                SimpleNamespace(request=SimpleNamespace(invocation_request=request))
            )
        finally:
            runtime.invocation_id_cv.reset(token)
            self._running.discard(f"{function.name} ({invocation_id})")
            if not self._running:
                self._idle.set()
        took_ms = (time.perf_counter() - began) * 1000
        ok = answer.result.status == StatusResult.Success
        error = "" if ok else answer.result.exception.message
        if ok:
            log.info("%s succeeded, id=%s, %.0f ms, %s", function.name, invocation_id, took_ms, reason)
        else:
            trace = answer.result.exception.stack_trace.rstrip()
            log.error("%s failed, id=%s, %.0f ms, %s\n%s", function.name, invocation_id, took_ms, reason, Lines(trace))
        return Outcome(invocation_id, ok, answer.get("return_value"), error)

    async def drain(self, timeout_s: float) -> None:
        """Wait until no invocation runs, or the time is over; then say which ones are left behind."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("still running, abandoned: %s", ", ".join(sorted(self._running)))


def _parameter(name: str, data: Message) -> SimpleNamespace:
    """Return one input of an invocation in the shape of ParameterBinding."""
    return SimpleNamespace(name=name, data=data, WhichOneof=lambda _group: "data")
