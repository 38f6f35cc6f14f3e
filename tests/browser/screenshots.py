"""`python -m tests.browser.screenshots` makes the pictures of the pages that the docs show, from a stack of its own.

Never part of a test run: pictures change with each font.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import sync_playwright

from local.process import HOST
from local.stack import Ports
from local.workspace.sample_data import generate
from local.workspace.seed import ENDPOINT_ID
from tests.stacks import ROOT, Started, start
from tests.waiting import until

IMAGES = ROOT / "docs" / "images"
WIDTH = 1000  # pixels


def fill(stack: Started) -> None:
    """Let things happen that are worth a picture."""
    api, control = f"{stack.url}/api", f"http://{HOST}:{stack.ports.workspace}/_control"

    def upload(path: str, country: str, seed: int) -> None:
        stack.container.upload_blob(path, generate(country, 2000, seed), overwrite=True)
        requests.post(f"{api}/retrain", json={"datastore": "training", "path": path}, timeout=60)

    upload("income/us/2026-10.csv", "us", 1)
    upload("income/non-us/2026-10.csv", "non-us", 2)
    fault: Any = {"error": {"code": "BadRequest", "message": "The pipeline has no such parameter 'input_data'."}}
    requests.post(
        f"{control}/faults", json=[{"on": "submit", "kind": "status", "status": 400, "body": fault}], timeout=30
    )
    upload("income/us/2026-11.csv", "us", 3)
    upload("scratch/readme.txt", "us", 4)

    def ended() -> bool:
        stack.tick()
        runs: list[Any] = requests.get(f"{api}/retrains", timeout=30).json()["retrains"]
        return [run["state"] for run in runs].count("finished") == 2

    until(ended, timeout_s=180)


def main() -> None:
    """Make them."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        start(Ports.free(), Path(folder) / "log") as stack,
        sync_playwright() as driver,
    ):
        fill(stack)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 760})
        studio = f"http://{HOST}:{stack.ports.workspace}"
        [run, *_] = requests.get(f"{studio}/_control/runs", timeout=30).json()
        pages = {
            "status": f"{stack.url}/api/status",
            "studio-endpoint": f"{studio}/endpoints/{ENDPOINT_ID}",
            "studio-run": f"{studio}/runs/{run['run_id']}",
        }
        for name, url in pages.items():
            page.goto(url)
            page.screenshot(path=IMAGES / f"{name}.png")
            print(f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
