"""An operator's word that nothing is to be sent for a while, of one rule or of all; and that it may go on.

What arrives meanwhile gets its row and waits in the queue; what runs is followed. Never cancels anything.
"""

from shared.app import App
from shared.ledger.entries import clipped
from shared.ledger.pauses import ALL, Pause, rules_and_pauses
from shared.ledger.pauses import pause as mark
from shared.ledger.pauses import resume as unmark
from shared.log import log

LONGEST_REASON = 1000


def pause(app: App, rule: str | None, reason: str = "") -> Pause:
    """Let a rule send nothing, or all of them (None). Raises NotFoundError, StorageError."""
    name = app.settings.rule_names(rule)[0] if rule else ALL
    mark(app.ledger, name, clipped(reason, LONGEST_REASON), app.ledger.now())
    log("paused", rule=name, reason=reason or None)
    return rules_and_pauses(app.ledger)[1][name]


def resume(app: App, rule: str | None) -> None:
    """Let it go on: what waits is sent by the timer. Nothing happens where nothing was paused. Raises StorageError."""
    unmark(app.ledger, rule or ALL)
    log("resumed", rule=rule or ALL)
