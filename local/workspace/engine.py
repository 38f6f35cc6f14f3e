"""Takes accepted runs to their end: trains them in worker processes, ends them at once, or holds them.

A worker is started when it is first needed and kept warm; `training.py` is what runs in it, so that this process
imports no pandas and stays responsive. Never decides whether a run is accepted.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from local.workspace.runs import Run, RunStatus
from local.workspace.state import Workspace

ROOT = Path(__file__).parents[2]
OUTPUTS = "azureml"  # container for what runs write
WORKERS = 2
LINE_LIMIT = 2**20


class WorkerEndedError(Exception):
    """The worker process ended in the middle of a job."""


class _Worker:
    """One training process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls) -> "_Worker":
        """Start a worker; it is ready when it answers its first job."""
        command = (sys.executable, "-m", "local.workspace.training")
        pipe = asyncio.subprocess.PIPE
        env = {**os.environ, "OMP_NUM_THREADS": "1"}  # small tables: threads cost more than they bring
        # Ctrl-C is for the parent, which ends its workers.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, cwd=ROOT, env=env, limit=LINE_LIMIT, start_new_session=True
        )
        return cls(process)

    async def train(self, job: dict[str, Any], on_step: Callable[[str], None]) -> dict[str, Any]:
        """Do one job. Returns the last event: finished or failed. Raises WorkerEndedError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise WorkerEndedError("The training process has ended before the job began.") from error
        while line := await self.process.stdout.readline():
            event: dict[str, Any] = json.loads(line)
            if event["event"] != "step":
                return event
            on_step(event["step"])
        code = await self.process.wait()
        raise WorkerEndedError(f"The training process ended with code {code}; its log says why.")

    async def kill(self) -> None:
        """End the process now."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class Engine:
    """The workspace's compute."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._slots = asyncio.Semaphore(WORKERS)
        self._idle: list[_Worker] = []  # the warmest last
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def take(self, run: Run) -> None:
        """Take over an accepted run, in the way the `engine` setting says."""
        match self._workspace.settings.engine:
            case "instant":
                run.start()
                run.end(RunStatus.Finished)
            case "hold":
                run.held = True
            case "train":
                task = asyncio.create_task(self._train(run), name=f"run {run.id}")
                self._tasks[run.id] = task
                task.add_done_callback(lambda _: self._tasks.pop(run.id, None))

    def drop(self, run: Run) -> None:
        """Stop working on a run, if it is being worked on."""
        if task := self._tasks.get(run.id):
            task.cancel()

    def drop_all(self) -> None:
        """Stop working on every run."""
        for task in self._tasks.values():
            task.cancel()

    async def stop(self) -> None:
        """Stop everything and end the workers."""
        self.drop_all()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for worker in self._idle:
            await worker.kill()
        self._idle.clear()

    async def _train(self, run: Run) -> None:
        """Wait for a worker, and bring the run to its end with it."""
        job = self._job(run)
        if isinstance(job, str):
            run.start()
            run.end(RunStatus.Failed, error=job)
            return
        async with self._slots:
            try:
                worker = self._idle.pop() if self._idle else await _Worker.start()
            except OSError as error:
                run.end(RunStatus.Failed, error=f"The training process could not be started: {error}.")
                return
            run.start()
            try:
                event = await worker.train(job, lambda step: setattr(run, "step", step))
            except WorkerEndedError as error:
                run.end(RunStatus.Failed, error=str(error))
                return
            except asyncio.CancelledError:
                await worker.kill()
                raise
            self._idle.append(worker)
            if event["event"] == "failed":
                run.end(RunStatus.Failed, error=event["reason"])
            else:
                roc = tuple((wrong, right) for wrong, right in event["roc"])
                run.end(RunStatus.Finished, metrics=event["metrics"], outputs=tuple(event["outputs"]), roc=roc)

    def _job(self, run: Run) -> dict[str, Any] | str:
        """Return what the worker needs to know, or why the run cannot be trained."""
        datastore = self._workspace.datastores.get(run.data.datastore)
        if datastore is None:
            return f"There is no datastore named '{run.data.datastore}' in the workspace."
        stores, outputs = self._workspace.datastores, run.submission.outputs.values()
        if unknown := [one.datastore for one in outputs if one.datastore not in stores]:
            return f"There is no datastore named '{unknown[0]}' in the workspace."
        return {
            "run_id": run.id,
            "storage": self._workspace.storage,
            "datastore": datastore.name,
            "container": datastore.container,
            "path": run.data.path,
            "parameters": run.parameters,
            "model": msgspec.to_builtins(run.pipeline.content.model),
            "output_container": OUTPUTS,
            "output_locations": [[stores[one.datastore].container, one.path] for one in outputs],
        }
