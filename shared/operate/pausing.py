"""An operator's word that nothing is to be sent for a while, of one rule or of all; and that it may go on.

What arrives meanwhile gets its row and waits in the queue; what runs is followed. Never cancels anything.
"""

from shared.app import App
from shared.errors import NotFoundError
from shared.ledger.entries import clipped
from shared.ledger.pauses import ALL, Pause
from shared.ledger.pauses import pause as mark
from shared.ledger.pauses import resume as unmark
from shared.log import log

LONGEST_REASON = 1000


def pause(app: App, rule: str | None, reason: str = "") -> Pause:
    """Let a rule send nothing, or all of them (None). Raises NotFoundError, StorageError."""
    name = app.settings.rule_names(rule)[0] if rule else ALL
    mark(app.ledger, name, clipped(reason, LONGEST_REASON), app.ledger.now())
    log("paused", rule=name, reason=reason or None)
    return _marks(app)[name]


def resume(app: App, rule: str | None) -> None:
    """Let it go on: the timer sends what waits. Raises NotFoundError when just this is not paused; StorageError."""
    name, marks = rule or ALL, _marks(app)
    if name not in marks:
        what = f"Rule {rule!r} is not paused by its name" if rule else "There is no pause of all rules"
        known = ", ".join(f"{one!r}" if one != ALL else "all rules (resume them without a name)" for one in marks)
        raise NotFoundError(f"{what}; paused: {known or 'nothing'}.")
    unmark(app.ledger, name)
    _marks(app)
    log("resumed", rule=name)


def _marks(app: App) -> dict[str, Pause]:
    """Read what is paused, for this process, too."""
    app.rule_names()
    return app.memory.pauses[1]
