"""Microsoft's own SDK, unmodified, against the local workspace: the referee of what it speaks.

The SDK needs Python <= 3.11, so it runs in an environment of its own, kept in .retrain/referee. Skips, with the reason,
only where there is no such Python or the packages cannot be installed.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.workspace.sample_data import generate
from local.workspace.seed import PIPELINE_IDS
from tests.environments import python_of
from tests.fixtures_workspace import LocalWorkspace

REFEREE = Path(__file__).parent / "referee"


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The Python of the SDK's environment, built when its requirements are new."""
    return python_of(REFEREE / "requirements.txt", ("python3.11", "python3.10", "python3.9", "python3.8"))


@pytest.fixture
def verdict(workspace: LocalWorkspace, sdk_python: Path) -> dict[str, Any]:
    """What the SDK saw."""
    data = generate("us", 600, 1)
    workspace.upload("referee/us.csv", data)
    workspace.upload("income/us/adult.csv", data)
    command = [str(sdk_python), str(REFEREE / "referee.py"), workspace.base_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_unmodified_sdk_works_against_the_stand_in(verdict: dict[str, Any]) -> None:
    """Reading, pinned submission, status, lists, filters, tags, cancel and versions come out as with Azure."""
    assert verdict["low"] == {
        "endpoint": ["income", True, "0", "0"],
        "pinned_pipeline": PIPELINE_IDS[1],
        "run_pipeline": PIPELINE_IDS[1],
        "parameters": {"test_fraction": ["1", "0.25"], "seed": ["0", "0"], "country": ["3", "us"]},
        "data_paths": {"input_data": "income/us/adult.csv"},
        "status": "3",
        "detail": None,
        "created": True,
        "tags": {"key": "low-1"},
        "properties": {"retrain.key": "low-1"},
        "listed": True,
        "refusal": {
            "status": 404,
            "text": "(NotFound) There is no version '7' of pipeline endpoint 'income'.",
            "code": "NotFound",
        },
    }
    assert verdict["high"] == {
        "datastore": ["training", "AzureBlob", "devstoreaccount1", "training-data"],
        "same": True,
        "versions": ["0", "1"],
        "pipelines": list(PIPELINE_IDS),
        "statuses": ["Finished", "Finished"],
        "history_status": "Completed",
        "default_pipeline": PIPELINE_IDS[0],
        "pinned_pipeline": PIPELINE_IDS[1],
        "by_tag": True,
        "by_tag_presence": True,
        "by_wrong_tag": [],
        "by_property": True,
        "by_type": 3,
        "by_status": True,
        "by_time": 3,
        "by_later_time": 0,
        "of_pipeline": 3,
        "canceled": "Canceled",
        "default_version": "1",
        "disabled": "Disabled",
        "endpoints": ["income"],
        "published": 2,
    }
