"""The HTTP API is what its OpenAPI document says: schemathesis gets no other answer from it, and never a 5xx."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import requests

from functions import asked, document
from functions.answers import Problem
from functions.http import STATUS, TYPES
from local.stack import Ports
from shared.ledger.entries import State
from shared.operate.redrive import REDRIVEN
from tests.environments import python_of
from tests.stacks import INCOME, Started, start
from tests.test_app import HTTP
from tests.waiting import until

SCHEMATHESIS = Path(__file__).parent / "schemathesis" / "requirements.txt"
# Not asked: what the host answers by itself (methods, keys), and whether all that has the right form makes sense
# (a datastore that there is none of is a 400 or 404).
NOT_ASKED = "unsupported_method,allow_header_conformance,ignored_auth,positive_data_acceptance"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The whole stack."""
    with start(Ports.free(), tmp_path_factory.mktemp("stack") / "log") as made:
        yield made


def test_document_in_docs_is_the_one_of_the_code() -> None:
    """`python -m functions.document` makes it anew."""
    assert document.FILE.read_text(encoding="utf-8") == document.text()


def test_document_has_every_operation() -> None:
    """What the app is indexed with, and nothing else."""
    paths = json.loads(document.text())["paths"]
    found = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    assert found == {(f"/api/{route}", method) for route, *methods in HTTP.values() for method in methods}


def test_document_explains_its_members() -> None:
    """Every type has a description, and so has what a name alone does not tell."""
    schemas = json.loads(document.text())["components"]["schemas"]
    assert [name for name, one in schemas.items() if "properties" in one and not one.get("description")] == []
    assert "proof of the pin" in schemas["View"]["properties"]["pipeline_id"]["description"]
    assert "proof of the pin" in schemas["Accepted"]["properties"]["pipeline_id"]["description"]


def test_types_of_problems_are_told_apart() -> None:
    """A program goes by them; docs/http.md lists them."""
    kinds = [kind for _, kind in STATUS.values()]
    assert len(set(kinds)) == len(kinds)
    docs = (Path(__file__).parents[1] / "docs" / "http.md").read_text()
    told = set(re.findall(rf"`{TYPES}([a-z-]+)`", docs))
    assert told >= {*kinds, "too-large", "cross-site"}


def test_states_that_may_be_redriven_are_those_of_the_command() -> None:
    """One list, written down twice: a type has to be."""
    assert get_args(asked.Redrivable) == tuple(map(str, REDRIVEN))
    assert set(get_args(asked.Redrivable)) <= set(State)


@pytest.mark.parametrize("query", ["state=null", "rule=null", "since=null", "limit=null", "after=null"])
def test_null_is_no_value_of_a_query(stack: Started, query: str) -> None:
    """A word that is no value is refused; of a rule it is a name like others."""
    answer = requests.get(f"{stack.url}/api/retrains?{query}", timeout=30)
    assert answer.status_code == (404 if query.startswith("rule") else 400)
    problem = answer.json()
    assert set(problem) == {field for field in Problem.__struct_fields__ if field != "faults"}
    assert problem["type"].startswith(TYPES)


def test_api_answers_what_its_document_says(stack: Started, tmp_path: Path) -> None:
    """Hundreds of requests, right and wrong ones, also about a request that is there: all as documented, no 5xx."""
    stack.container.upload_blob("income/us/a.csv", INCOME)
    [entry] = until(lambda: requests.get(f"{stack.url}/api/retrains", timeout=30).json()["retrains"], timeout_s=60)
    (tmp_path / "schemathesis.toml").write_text(f'[parameters]\nkey = "{entry["key"]}"\n')
    line = [str(python_of(SCHEMATHESIS)), "-m", "schemathesis.cli", "run", f"{stack.url}/api/openapi.json"]
    line += ["--max-examples", "5", "--seed", "1", "--exclude-checks", NOT_ASKED, "--phases", "coverage,fuzzing"]
    line += ["--continue-on-failure", "--report", "junit", "--report-junit-path", "told.xml"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout
    told: Any = re.search(r"(\d+) generated", done.stdout)
    assert int(told[1]) > 200


@pytest.mark.parametrize(("method", "path", "member"), [("GET", "retrains", "state"), ("POST", "redrive", "state")])
def test_word_that_is_none_is_answered_with_those_that_there_are(
    stack: Started, method: str, path: str, member: str
) -> None:
    """Of a query and of a body."""
    url, wish = f"{stack.url}/api/{path}", {member: "odd"}
    answer = (
        requests.get(url, params=wish, timeout=30)
        if method == "GET"
        else requests.post(url, json={"rule": "income-files", **wish}, timeout=30)
    )
    assert answer.status_code == 400
    assert re.search("'odd'.* there are: .*refused", answer.json()["detail"])


def test_docs_name_every_function_that_has_a_key() -> None:
    """Whoever gives out keys for reading and for acting must know which is which."""
    docs = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    section = docs.partition("## Callers\n")[2].partition("\n## ")[0]
    reading, acting = (set(re.findall(r"`(\w+)`", part)) for part in section.split(", and `retrain`")[:2])
    reads = {name for name, (_, *methods) in HTTP.items() if methods == ["GET"]}
    assert reading & set(HTTP) == reads
    assert acting & set(HTTP) | {"retrain"} >= set(HTTP) - reads
