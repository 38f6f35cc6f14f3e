"""A worker that dies, fails or stops at one step of an arrival's way: the other process of the crash matrix.

    python -m tests.crash_worker     loads the application once, and forks a fresh worker for each job on stdin

A job is a line of JSON; the answers are lines of JSON on stdout: `reached` when the worker stands still at its step (a
line on stdin lets it go on), then `ended`. The worker wires the application anew and carries out one action of the
flow. The steps are wrapped from outside, in the forked process alone: the application has no hooks for this. What is
faked is a clock that runs ahead, pauses between the storage SDK's tries, and answers of storage that are lost or
faults.

Forking is sound here: the parent has one thread, no connection and no client. Never used but by tests.
"""

import functools
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
import requests
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.pipeline.transport._requests_basic import RequestsTransportResponse
from azure.storage.blob import BlobClient
from urllib3.connection import HTTPConnection

from local.workspace.state import PATH
from shared import identity
from shared.app import App, build
from shared.errors import RetrainError, StorageError
from shared.flow import search
from shared.flow.arrive import arrive
from shared.flow.lookout import Lookout
from shared.flow.poison import bury
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.ledger.table import Ledger
from shared.operate.calls import Call, request
from shared.operate.redrive import redrive
from shared.pipelines.batch import BatchEndpoint
from shared.pipelines.calls import Caller
from shared.pipelines.component import ComponentJob
from shared.pipelines.published import PublishedEndpoint
from shared.rules.arrival import Source
from shared.settings import model
from shared.settings.model import LedgerTable, Pipeline, PipelineEndpoint, Settings
from shared.storage.datastores import Datastore
from tests import queued, samples

PATIENCE_S = 30  # a worker that hangs is ended after so long


class Point(NamedTuple):
    """A place on the way: right before or after one call of the application."""

    owner: Any
    method: str
    before: bool = False
    only: Callable[..., bool] = lambda *_, **__: True
    """Which calls of the method are meant."""
    storage: tuple[Any, str] | None = None
    """During which call storage answers wrongly, when it is not the call above."""
    requests: str = ""
    """Which requests to storage are meant: a pattern that is searched in method and URL."""


def _says(state: State | None) -> Callable[..., bool]:
    """Tell calls of Ledger.move apart: to `sending`, or (None) to anything else."""
    return lambda _ledger, _row, to, **_: (to == State.SENDING) == (state == State.SENDING)


def _submits(method: str, url: str) -> bool:
    """Tell whether a request starts a run: of the pipelines service, of a batch endpoint, or a component's."""
    return "Submit" in url or (method == "POST" and url.startswith("/batch/")) or (method == "PUT" and "/jobs/" in url)


POINTS = {
    "received": Point(Datastore, "look", before=True),
    "properties": Point(BlobClient, "get_blob_properties"),
    "claimed": Point(Ledger, "enter"),
    "picked": Point(Ledger, "get"),
    "marked": Point(Ledger, "move", only=_says(State.SENDING)),
    # The whole request has left, and no answer has been read.
    "sent": Point(HTTPConnection, "request", only=lambda _connection, method, url, *_, **__: _submits(method, url)),
    "answered": Point(Caller, "_once"),
    "recorded": Point(Ledger, "move", only=_says(None)),
    "looked": Point(Lookout, "find"),
    "read": Point(PublishedEndpoint, "runs"),
    "read of a batch endpoint": Point(BatchEndpoint, "runs"),
    "read of a component": Point(ComponentJob, "runs"),
    "listed": Point(search.Finder, "feed", before=True, storage=(search, "search_one"), requests="comp=list"),
    "searched": Point(search, "save_search"),
    "buried": Point(Ledger, "bury"),
    "noted": Point(Ledger, "note_redriven"),
}


class Site(msgspec.Struct, kw_only=True):
    """What the application is set up with."""

    url: str
    table: str
    folder: str
    """The rule watches the CSV files in it."""
    on_uncertain: Literal["auto", "resubmit", "hold"] = "auto"

    def settings(self) -> Settings:
        """Return the settings, like those of the shipped retrain.toml."""
        rule = msgspec.structs.replace(samples.RULE, path=f"{self.folder}/*.csv")
        common: Any = {"url": self.url, "experiment": "income-retrain", "on_uncertain": self.on_uncertain}
        pipeline: Pipeline = PipelineEndpoint(version="1", **common)
        if "/batch/" in self.url:
            pipeline = model.BatchEndpoint(workspace=PATH, deployment="income-1", **common)
        elif "/pipelines/" not in self.url:
            pipeline = model.ComponentJob(workspace=PATH, component="azureml:income_train:1", **common)
        table = LedgerTable(table=self.table)
        return samples.settings(rules=(rule,), ledger=table, pipelines={"income": pipeline})


class Action(msgspec.Struct, kw_only=True):
    """One thing that the platform or an operator has the application do."""

    name: Literal["arrive", "event", "request", "tick", "bury", "bury_event", "redrive"]
    path: str = ""
    etag: str = ""
    key: str = ""

    def do(self, app: App) -> None:
        """Do it. Raises what the application raises."""
        match self.name:
            case "arrive":
                arrive(app, "training", self.path, Source.BLOB_SCAN)
            case "event":
                queued.take(app, queued.encoded(queued.grid(queued.url_of(app, self.path))))
            case "request":
                request(app, Call(datastore="training", path=self.path))
            case "tick":
                tick(app)
            case "bury":
                bury(app, "training", self.path, self.etag, samples.WRITTEN)
            case "bury_event":
                queued.bury(app, queued.encoded(queued.cloud(queued.url_of(app, self.path), self.etag)))
            case "redrive":
                redrive(app, self.key)


class Job(msgspec.Struct, kw_only=True):
    """What to do, and where which fault strikes."""

    action: Action
    point: str
    fault: Literal["kill", "exception", "5xx", "5xx-done", "cut-done", "pause", "none"]
    """`5xx`: storage does nothing and answers 503, to each try. `5xx-done`: it does as asked and answers 503, once.
    `cut-done`: it does as asked, and the connection breaks. `none`: the fault comes from elsewhere."""
    site: Site
    ahead_s: float = 0
    """How far this worker's clock is ahead."""
    read_s: float = 0
    """How long to wait for the endpoint's answer, when not as long as usual."""
    no_claims: bool = False
    """The ledger takes no claim: what makes an arrival end in the poison queue."""


class Ended(msgspec.Struct, kw_only=True):
    """How a worker ended."""

    how: Literal["done", "raised", "killed"]
    error: str = ""
    struck: int = 0
    """How often the point was reached or, with a fault of storage, a request met it."""


class _Worker:
    """One forked process with one job."""

    def __init__(self, job: Job) -> None:
        self.job, self.struck, self.storage_is_faulty = job, 0, False

    def run(self) -> Ended:
        """Wire the application, put the fault in place, act."""
        app = build(self.job.site.settings())
        app.ledger.now = lambda: datetime.now(UTC) + timedelta(seconds=self.job.ahead_s)
        if self.job.read_s:
            app.endpoints.limits = msgspec.structs.replace(app.endpoints.limits, read_s=self.job.read_s)
        self._wrap()
        try:
            self.job.action.do(app)
        except (RetrainError, _StruckError) as error:
            return Ended(how="raised", error=f"{type(error).__name__}: {error}", struck=self.struck)
        return Ended(how="done", struck=self.struck)

    def _wrap(self) -> None:
        point = POINTS[self.job.point]
        if self.job.fault in ("5xx", "5xx-done", "cut-done"):
            owner, method = point.storage or (point.owner, point.method)
            call = getattr(owner, method)

            @functools.wraps(call)
            def faulty(*arguments: Any, **options: Any) -> Any:
                self.storage_is_faulty = point.only(*arguments, **options)
                try:
                    return call(*arguments, **options)
                finally:
                    self.storage_is_faulty = False

            setattr(owner, method, faulty)
            self._wrap_transport(point.requests)
        elif self.job.fault != "none":
            call = getattr(point.owner, point.method)

            @functools.wraps(call)
            def struck(*arguments: Any, **options: Any) -> Any:
                meant = point.only(*arguments, **options)
                if meant and point.before:
                    self._strike()
                result = call(*arguments, **options)
                if meant and not point.before:
                    self._strike()
                return result

            setattr(point.owner, point.method, struck)
        if self.job.no_claims:

            def no_claim(*_: Any, **__: Any) -> None:
                raise StorageError("the ledger takes no claim")

            Ledger.enter = no_claim  # type: ignore[assignment, method-assign]

    def _strike(self) -> None:
        """Do it, the first time."""
        self.struck += 1
        if self.struck > 1:
            return
        match self.job.fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exception":
                raise _StruckError(f"at {self.job.point}")
            case "pause":
                tell({"reached": self.job.point})
                sys.stdin.readline()

    def _wrap_transport(self, pattern: str) -> None:
        """Let storage answer as the fault says while it is faulty, and the SDK not wait between its tries."""
        send = RequestsTransport.send

        def faulty(transport: RequestsTransport, request: Any, **options: Any) -> Any:
            if not self.storage_is_faulty or not re.search(pattern, f"{request.method} {request.url}"):
                return send(transport, request, **options)
            self.struck += 1
            if self.job.fault == "5xx":
                return _unavailable(request)
            send(transport, request, **options)
            if self.job.fault == "cut-done":
                raise ServiceResponseError("The connection broke before the answer.")
            self.storage_is_faulty = False
            return _unavailable(request)

        RequestsTransport.send = faulty
        RequestsTransport.sleep = lambda _transport, _duration: None


class _StruckError(Exception):
    """The exception that strikes: one that the application does not know."""


def _unavailable(request: Any) -> RequestsTransportResponse:
    response = requests.Response()
    response.status_code, response.reason, response._content = 503, "Server busy", b""
    response.headers["x-ms-error-code"] = "ServerBusy"
    return RequestsTransportResponse(request, response)  # type: ignore[no-untyped-call]


def tell(what: Any) -> None:
    """Write one line of JSON to stdout."""
    os.write(1, msgspec.json.encode(what) + b"\n")


def fork(job: Job) -> Ended | None:
    """Run `job` in a fork of this process; None when that worker has told its end itself."""
    assert threading.active_count() == 1, "a fork would copy the locks of other threads"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python warns when there are threads that it did not start
        child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)
        code = 1
        try:
            tell({"ended": _Worker(job).run()})
            code = 0
        finally:
            if code:
                sys.excepthook(*sys.exc_info())
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        return None
    return Ended(how="killed", error=f"exit code {os.waitstatus_to_exitcode(status)}")


def main() -> None:
    """Carry out jobs until stdin ends."""
    for audience in ("https://management.azure.com", "https://ml.azure.com"):
        identity.Tokens(audience).get()  # workers inherit it, and all that was imported on the way
    identity.credential().close()  # type: ignore[attr-defined]
    while line := sys.stdin.readline():
        if ended := fork(msgspec.json.decode(line, type=Job)):
            tell({"ended": ended})


if __name__ == "__main__":
    main()
