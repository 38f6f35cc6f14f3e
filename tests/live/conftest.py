"""The place that is asked: LIVE_AZUREML=1 the one that the settings name, LIVE_AZUREML_REPLAY a recording, else the
stand-in, where runs may be started. Report and recording are written when all is asked.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.workspace.seed import BATCH_ENDPOINT
from shared import identity
from shared.identity import Tokens
from shared.pipelines.calls import new_session
from tests.fixtures_workspace import ROOT, LocalWorkspace
from tests.live.place import Place, new_keys
from tests.live.recording import Recording
from tests.live.report import Report
from tests.live.session import Live

FOLDER = ROOT / ".retrain" / "live"
WRITTEN = pytest.StashKey[Path]()


class NoTokens(Tokens):
    """Where nobody asks for one: a recording."""

    def get(self) -> str:
        return "replayed"


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The place, asked over a session that records."""
    folder = os.environ.get("LIVE_AZUREML_FOLDER")
    replay, real = os.environ.get("LIVE_AZUREML_REPLAY"), os.environ.get("LIVE_AZUREML") == "1"
    with ExitStack() as stack:
        if replay:
            kept = Recording.load(Path(replay))
            stack.enter_context(kept.replayed())
            place, of, pause_s = kept.place, "a recording", 0.0
        elif real:
            try:
                place, of, pause_s = Place.of(os.environ), "the workspace", 3.0
            except ValueError as error:
                pytest.fail(f"docs/live-check.md has the settings: {error}", pytrace=False)
        else:
            place, of, pause_s = stand_in(request, stack), "the stand-in", 0.05
        session = stack.enter_context(new_session())
        made = Live(place, session, NoTokens if replay else Tokens, Report(of), pause_s)
        yield made
    where = Path(folder) if folder else FOLDER if real else tmp_path_factory.mktemp("live")
    made.report.write(where)
    made.recording.save(where / "recording.json")
    if real or folder:
        request.config.stash[WRITTEN] = where


def stand_in(request: pytest.FixtureRequest, stack: ExitStack) -> Place:
    """Return the stand-in as a place; runs are held, so that they can be asked to end."""
    workspace: LocalWorkspace = request.getfixturevalue("workspace_process")
    workspace.control("POST", "reset")
    workspace.control("POST", "settings", {"engine": "hold"})
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for name in ("identity_endpoint", "identity_header"):
        patch.setenv(name.upper(), workspace.info[name])
    identity.credential.cache_clear()
    stack.callback(identity.credential.cache_clear)
    return Place(
        endpoint_url=workspace.endpoint["url"],
        version="1",
        batch_url=f"{workspace.base_url}/batch/{BATCH_ENDPOINT}/jobs",
        workspace=workspace.info["workspace"],
        deployment="income-1",
        experiment="income-retrain",
        datastore="training",
        path="income/us/adult.csv",
        component="income_train:1",
        submit=True,
        keys=new_keys(),
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was learned, and where it is written."""
    if where := config.stash.get(WRITTEN, None):
        terminalreporter.section("live check")
        terminalreporter.write((where / "report.md").read_text(encoding="utf-8"))
        terminalreporter.write_line(f"\n{where}: report.md, report.json, recording.json (without ids and names)")
