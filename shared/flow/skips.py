"""Why something started nothing: one line in the log, and one more in the counts. Never decides it."""

from collections.abc import Sequence

from shared.app import App
from shared.flow.outcome import Outcome
from shared.ledger.skips import Skipped
from shared.log import log
from shared.metrics import record
from shared.rules.decision import Skip

TOLD = 3  # reasons of a blob that many rules skip


def skipped(app: App, skips: Sequence[Skip], datastore: str, path: str) -> list[Outcome]:
    """Write down why a blob or folder starts nothing, for however many rules at once."""
    if skips:
        rule, reason = (skips[0].rule, skips[0].reason) if len(skips) == 1 else (None, _joined(skips))
        log("skipped", datastore=datastore, path=path, rule=rule, reason=reason)
        record("retrain.skips", rule=rule or "")
        one = Skipped(at=app.ledger.now(), datastore=datastore, path=path, rule=rule or "", reason=reason)
        app.memory.skips.note(app.ledger, one)
    return [Outcome(rule=skip.rule or "", skip=skip) for skip in skips]


def _joined(skips: Sequence[Skip]) -> str:
    more = f"; and {len(skips) - TOLD:,} more" if len(skips) > TOLD else ""
    return f"{len(skips):,} rules: {'; '.join(f'{skip.rule}: {skip.reason}' for skip in skips[:TOLD])}{more}"
