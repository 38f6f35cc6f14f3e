"""docs/rules.md: every rule on it is loaded, and does with its examples what they say."""

import re
from pathlib import Path

import msgspec
import pytest

from shared.rules.check import decide, example_faults
from shared.rules.decision import RetrainRequest
from shared.rules.rule import DataPathParameter, Example, FurtherDataPath, Rule, Settle
from shared.settings import read
from tests.samples import ENVIRON

PAGE = (Path(__file__).parent.parent / "docs" / "rules.md").read_text(encoding="utf-8")
HEAD = read.FILE.read_text(encoding="utf-8").partition("[[rules]]")[0]
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def named(block: str) -> str:
    """Return the name of the rule in a block."""
    return block.partition('name = "')[2].partition('"')[0]


def loaded(tmp_path: Path, text: str) -> tuple[Rule, ...]:
    """Return the rules of a file that begins like the shipped one."""
    file = tmp_path / "retrain.toml"
    file.write_text(HEAD + text, encoding="utf-8")
    return read.load(file, ENVIRON).rules


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_rule_of_the_page_does_what_its_examples_say(tmp_path: Path, block: str) -> None:
    """Each has an example, and no block is loaded without being checked."""
    [rule] = loaded(tmp_path, block)
    assert any(not example.skip for example in rule.examples)
    assert example_faults(rule) == []


def test_rules_of_the_page_live_in_one_file(tmp_path: Path) -> None:
    """Their names differ, so that a reader can copy any of them beside any other."""
    assert len(loaded(tmp_path, "".join(BLOCKS))) == len(BLOCKS) > 8


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_examples_would_notice_a_change(tmp_path: Path, block: str) -> None:
    """Turned around, each example is a fault."""
    [rule] = loaded(tmp_path, block)
    for example in rule.examples:
        turned = Example(path=example.path, skip=not example.skip, size=example.size, metadata=example.metadata)
        assert len(example_faults(msgspec.structs.replace(rule, examples=[turned]))) == 1


def test_further_data_paths_of_the_page(tmp_path: Path) -> None:
    """What the examples of that rule do not say."""
    [block] = [block for block in BLOCKS if named(block) == "income-with-reference"]
    [rule] = loaded(tmp_path, block)
    decision = decide(rule, rule.examples[0])
    assert isinstance(decision, RetrainRequest)
    assert [(path.datastore, path.path, path.assignment) for path in decision.data_paths] == [
        ("training", "reference/rates.csv", "data_path"),
        ("lake", "history/us/2026", "dataset"),
    ]


@pytest.mark.parametrize("kind", [Rule, DataPathParameter, FurtherDataPath, Settle, Example])
def test_every_key_of_a_rule_is_on_the_page(kind: type[msgspec.Struct]) -> None:
    """A key that nobody explains does not exist for its users."""
    missing = [key for key in kind.__struct_fields__ if not re.search(rf"\b{key}\b", PAGE)]
    assert missing == []
