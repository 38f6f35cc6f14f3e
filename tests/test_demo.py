"""The demo as people run it: the real command, all parts real processes on free ports."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_demo() -> None:
    """Two uploads become two finished runs, at the pinned version, on different data; stdout is one JSON object."""
    command = [sys.executable, str(ROOT / "retrain"), "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["ok"] is True

    us, abroad = outcome["uploads"]
    config = tomllib.loads((ROOT / "retrain.toml").read_text())
    for upload, folder in ((us, "income/us/"), (abroad, "income/non-us/")):
        assert upload["blob"].startswith(folder)
        assert upload["data_path"] == {"datastore": "training", "path": upload["blob"]}
        assert upload["rule"] == config["rules"][0]["name"]
        assert upload["version"] == config["pipelines"]["income"]["version"]
        assert upload["status"] == "Finished"
        assert -1 < upload["upload_to_submit_s"] < 60  # the trigger may see a blob before the upload has been answered
        assert 0.5 < upload["metrics"]["accuracy"] < 1
    assert us["run_id"] != abroad["run_id"]
    assert us["metrics"] != abroad["metrics"]
    assert "accepted 2 submissions" in done.stderr


@pytest.mark.parametrize(
    ("kind", "versions"), [("batch", ["income-1"] * 2), ("both", ["1", "1", "income-1", "income-1"])]
)
def test_demo_over_a_batch_endpoint(kind: str, versions: list[str]) -> None:
    """The same story over the successor, and over both at once: each run at its pin, once for each rule."""
    command = [sys.executable, str(ROOT / "retrain"), "demo", "--kind", kind, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    uploads = json.loads(done.stdout)["uploads"]
    assert [one["version"] for one in uploads] == versions
    assert {one["status"] for one in uploads} == {"Finished"}
    assert all(one["data_path"] == {"datastore": "training", "path": one["blob"]} for one in uploads)


def test_demo_is_asked_for_what_it_does_not_know() -> None:
    """The command says so and starts nothing; exit code 2."""
    command = [sys.executable, str(ROOT / "retrain"), "demo", "--xml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--xml" in done.stderr
