"""What an operator has paused: a rule, or all of them. A mark each, beside the names of all rules that ever were.

One read gives both, so that the timer, which needs the names, learns the marks for nothing. Never sends anything, and
never keeps anything from being sent: `flow/` does.
"""

from datetime import datetime

import msgspec

from shared.ledger.entries import plain
from shared.ledger.table import RULES, Ledger

ALL = "*"  # no rule is called so
_PREFIX = "pause|"  # no rule's name has a '|'


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A mark."""

    rule: str
    """`*`: all of them."""
    since: datetime
    reason: str = ""

    def told(self) -> str:
        """Return it in a sentence."""
        what = "Everything is" if self.rule == ALL else "The rule is"
        return f"{what} paused since {self.since:%Y-%m-%d %H:%M} UTC{f': {self.reason}' if self.reason else ''}."


def rules_and_pauses(ledger: Ledger) -> tuple[list[str], dict[str, Pause]]:
    """Return the names of all rules that ever were, and all marks, by rule."""
    names, marks = list[str](), dict[str, Pause]()
    for row in ledger.rows(RULES, "", "~", "rules"):
        name = row["RowKey"].removeprefix(_PREFIX)
        if name == row["RowKey"]:
            names.append(name)
        else:
            marks[name] = Pause(rule=name, since=plain(row["Since"]), reason=row.get("Reason", ""))
    return names, marks


def pause(ledger: Ledger, rule: str, reason: str, now: datetime) -> None:
    """Make a mark; one that is there keeps its time."""
    ledger.insert({"PartitionKey": RULES, "RowKey": f"{_PREFIX}{rule}", "Since": now, "Reason": reason}, "pause")


def resume(ledger: Ledger, rule: str) -> None:
    """Take a mark away."""
    ledger.remove(RULES, f"{_PREFIX}{rule}", "resume")
