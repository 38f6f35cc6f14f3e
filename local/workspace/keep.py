"""Keeps what the workspace has in a file, from one start to the next: what is published, what ran, the switches.

Written when the workspace ends in order. Never keeps the tokens or the faults on order.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from local.workspace.catalog import Endpoint, Pipeline
from local.workspace.runs import Run
from local.workspace.state import Datastore, Settings, Workspace


class Kept(Struct):
    """The file's content."""

    settings: Settings
    datastores: dict[str, Datastore]
    pipelines: dict[str, Pipeline]
    endpoints: dict[str, Endpoint]
    experiments: dict[str, str]
    runs: dict[str, Run]


def save(workspace: Workspace, file: Path) -> None:
    """Write everything down."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = Kept(**{name: getattr(workspace, name) for name in Kept.__struct_fields__})
    file.write_bytes(msgspec.json.encode(kept))


def load(workspace: Workspace, file: Path) -> list[Run]:
    """Read everything back, where it was written; return the runs that were under way. Raises msgspec.DecodeError."""
    if not file.exists():
        return []
    kept = msgspec.json.decode(file.read_bytes(), type=Kept)
    for name in Kept.__struct_fields__:
        setattr(workspace, name, getattr(kept, name))
    for run in workspace.runs.values():
        run.pipeline = workspace.pipelines.get(run.pipeline.id, run.pipeline)
    return [run for run in workspace.runs.values() if not (run.status.ended or run.held or run.removed)]
