"""`./retrain bench --quick`: the harness lives. Counts are asserted, times never are.

The command runs once, as people run it, with the measures that need no other environment than the app's own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.__main__ import MEASURES
from local.bench import command, prices
from local.bench.cold import spent
from local.bench.goals import GOALS, Verdict, verdicts
from local.bench.measure import Result, Table, ratios, sample
from local.bench.money import Bill
from local.bench.package import pack
from local.bench.page import markdown, page
from local.bench.servers import service_of
from local.environments import ROOT, UnavailableError, python_of


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the command says. Skips where the app's packages cannot be installed into an environment of their own."""
    try:
        python_of(ROOT / "requirements.txt")
    except UnavailableError as error:
        pytest.skip(str(error))
    line = [sys.executable, "-m", "local", "bench", "--quick", "--json", "--only", "money"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_requests_of_an_arrival_and_of_an_idle_tick(told: dict[str, Any]) -> None:
    """One look at the blob, one submission; claim and record, and what following the run takes; an idle tick is few."""
    figures = told["measures"]["money"]
    assert (figures["arrival_requests.blob read"], figures["arrival_requests.submit"]) == (1, 1)
    assert 2 <= figures["arrival_requests.table"] <= 7
    assert sum(value for name, value in figures.items() if name.startswith("tick_requests.")) <= 7


def test_object_for_programs(told: dict[str, Any]) -> None:
    """The machine, the figures and each goal; what was not measured is neither held nor missed."""
    assert told["ok"]
    assert told["missing"] == {}
    assert set(told) == {"ok", "machine", "measures", "goals", "missing"}
    assert [goal["what"] for goal in told["goals"]] == [goal.what for goal in GOALS]
    assert {goal["met"] for goal in told["goals"]} == {None}


def test_measures_that_there_are() -> None:
    """The command line knows those that the command has, and each goal is about one of them."""
    assert list(MEASURES) == list(command.MEASURES)
    assert {goal.measure for goal in GOALS} <= set(MEASURES)


def test_what_is_deployed(tmp_path: Path) -> None:
    """The app, and nothing of what is for development; compiled where that is asked for."""
    plain, compiled = pack(tmp_path / "plain", compiled=False), pack(tmp_path / "compiled", compiled=True)
    assert {"function_app.py", "functions", "shared"} < {file.name for file in plain.iterdir()}
    assert list(plain.rglob("*.pyc")) == []
    modules = {file.stem for file in compiled.rglob("*.py")}
    assert {file.name.partition(".")[0] for file in compiled.rglob("*.pyc")} == modules


def test_middle_and_spread() -> None:
    """Of one value, of several, and of values against those of the same turn."""
    assert sample([2.0])[:3] == (2, 2, 2)
    assert sample([1.0, 2.0, 3.0, 4.0, 100.0])[:3] == (3, 2, 4)
    assert ratios([2.0, 20.0], [1.0, 10.0])[:3] == (2, 2, 2)
    assert sample([0.0015]).told(1000) == "1.5"


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("HEAD", "/devstoreaccount1/training-data/income/us/a.csv", "blob read"),
        ("PUT", "/devstoreaccount1/training-data/income/us/a.csv", "blob write"),
        ("GET", "/devstoreaccount1/training-data?restype=container&comp=list&prefix=income%2F", "blob list"),
        ("POST", "/devstoreaccount1/$batch", "table"),
        ("GET", "/devstoreaccount1/retrains()?$filter=PartitionKey", "table"),
        ("GET", "/devstoreaccount1/retrains(PartitionKey='r',RowKey='h')", "table"),
        ("POST", "/devstoreaccount1/Tables", "table"),
        ("GET", "/devstoreaccount1/azure-webjobs-blobtrigger-x/messages?numofmessages=8", "queue"),
    ],
)
def test_services_are_told_apart(method: str, path: str, service: str) -> None:
    """By the requests that Azurite logs: they have different prices."""
    assert service_of(method, path) == service


def test_reading_the_account_of_imports() -> None:
    """A package's own line has all that it brought; its own modules are counted beside it."""
    report = "\n".join(
        [
            "import time: self [us] | cumulative | imported package",
            "import time:       100 |        100 |     requests.api",
            "import time:       500 |        700 |   requests",
            "import time:        50 |         50 | other",
        ]
    )
    assert spent(report) == {"requests": (0.7, 0.6)}


def test_goals_that_are_held_missed_and_not_measured() -> None:
    """A missed one says by how much, and why; one that was not measured says so."""
    [first] = [goal for goal in GOALS if goal.figure == "wall_against.raw-requests"]
    by_figure = {one.goal.figure: one for one in verdicts({"arrival": {first.figure: 3.0}})}
    assert by_figure[first.figure].told() == f"missed: 2.00 times what it may be. {first.why}"
    assert by_figure["round_trips.duplicate"].told() == "not measured"
    assert Verdict(first, 1.5).told() == "held"


def test_what_a_bill_comes_to() -> None:
    """By the units that prices are of."""
    assert Bill("", [(prices.TABLE, 10_000), (prices.BLOB_LIST, 20_000)]).usd == pytest.approx(0.00036 + 0.1)
    assert all(price.source.startswith("azure.microsoft.com/pricing/details/") for price in prices.ALL)


def test_page_has_goals_tables_and_what_is_missing() -> None:
    """All of it is of one run."""
    table = Table("A table", ("a", "b"), [("1", "x|y")], ("A note.",))
    assert markdown(table) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n\nA note.\n"
    found = {"cold": Result([table], {"import_against_base.compiled": 2.0})}
    text = page(
        {"date": "2026-01-01"}, {"cold": "Cold start"}, found, verdicts({"cold": found["cold"].figures}), {"x": "no"}
    )
    for words in ("## Cold start", "### A table", "missed: 1.74 times", "not measured", "* no", "2026-01-01"):
        assert words in text
