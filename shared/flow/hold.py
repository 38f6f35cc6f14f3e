"""What cannot be sent as retrain.toml is now (its rule or datastore is gone) waits for a person, and goes on when that
is mended. Never touches what was sent: that is followed to its end from its row, whatever retrain.toml says.
"""

import logging

from shared.app import App
from shared.ledger.entries import Row, State, Work
from shared.log import log


def hold(app: App, work: Work, reason: str) -> None:
    """Hold a request that is not sent. Raises StorageError, ConflictError."""
    row = app.ledger.get(work.key, [work.rule])
    if row and row.entry.state == work.state:
        hold_row(app, row, reason)


def hold_row(app: App, row: Row, reason: str) -> None:
    """Hold a request that surely is at no endpoint. Raises StorageError, ConflictError."""
    app.ledger.move(row, State.HELD, target=None, version="", unsent=True, reason=reason)
    log("held", logging.ERROR, key=row.entry.key, rule=row.entry.rule, was=row.entry.state, reason=reason)


def release(app: App, work: Work) -> None:
    """Let a held request that was never sent go on, when it can be sent again. Raises StorageError, ConflictError."""
    if isinstance(app.destination(work.rule, work.datastore), str):
        return
    row = app.ledger.get(work.key, [work.rule])
    if row and row.entry.state == State.HELD and row.entry.unsent:
        app.ledger.move(row, State.QUEUED, unsent=False, reason="Held, and let go on.", due_at=app.ledger.now())
        log("released", key=work.key, rule=work.rule)
