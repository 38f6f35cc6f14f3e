"""Was a submission without an answer accepted? Looks for its key where it was sent, whatever retrain.toml says by now.

Found: it is the run. Not found within the grace period: it may still show up. After that `on_uncertain` decides whether
it is sent again or held. Never sends anything itself.
"""

import logging
from datetime import timedelta

from shared.app import App
from shared.errors import EndpointError
from shared.flow.lookout import Absent, Lookout
from shared.ledger import learned
from shared.ledger.entries import Row, State, Work
from shared.log import log
from shared.pipelines.base import Evidence, Run
from shared.pipelines.target import Target

DOES = {Evidence.KEYS: "gives keys back", Evidence.REPEATS: "refuses a second job of a name"}
NOT_SEEN = {Evidence.KEYS: "no run was seen yet", Evidence.REPEATS: "that was not seen yet"}
HOLD_AFTER = timedelta(days=3)
"""How long an endpoint that cannot be read is asked; then a person has to look."""


def reconcile(app: App, lookout: Lookout, work: Work) -> bool:
    """Settle one submission; True when it surely was not accepted and is to be sent again.

    Raises EndpointError while the endpoint cannot be read, StorageError, ConflictError.
    """
    row = app.ledger.get(work.key, [work.rule])
    if row is None or row.entry.state != work.state or row.entry.tries != work.tries:
        return False  # somebody else was first
    target = row.entry.target
    assert target is not None  # only what says where it was sent is looked for
    try:
        found = lookout.find(row.entry, target)
    except EndpointError as error:
        if app.ledger.now() - (row.entry.sent_at or app.ledger.now()) < HOLD_AFTER or work.state == State.HELD:
            raise
        hold(app, row, f"It was sent to {target.place}, which cannot be read for days: {error}")
        return False
    if isinstance(found, Run):
        changes = {"run_id": found.run_id, "run_url": found.run_url, "due_at": app.ledger.now(), "reason": ""}
        app.ledger.move(row, State.SUBMITTED, **changes)
        log("found", key=work.key, rule=work.rule, run=found.run_id, was=work.state)
        return False
    if not target.experiment:
        hold(app, row, "An older version of the app sent it, and did not keep to which experiment.")
        return False
    return found.certain and work.state != State.HELD and may_be_sent_again(app, row, target, found)


def may_be_sent_again(app: App, row: Row, target: Target, found: Absent) -> bool:
    """Tell whether what is found nowhere may be sent again; if not, it is held."""
    pipeline, evidence = app.pipeline_of(row.entry.rule), app.endpoint(target).evidence
    policy, was_seen = pipeline.on_uncertain if pipeline else "auto", learned.seen(app.ledger, evidence, target.place)
    if policy == "resubmit" or (policy == "auto" and was_seen):
        log("resubmitting", logging.WARNING, key=row.entry.key, rule=row.entry.rule, reason=found.reason)
        return True
    seen = {None: NOT_SEEN[evidence], False: "it does not", True: "it does"}[was_seen]
    reason = f"{found.reason} Whether this endpoint {DOES[evidence]}: {seen}; on_uncertain is {policy!r}."
    hold(app, row, f"{reason} {row.entry.reason}".strip())
    return False


def hold(app: App, row: Row, reason: str) -> None:
    """Leave it to a person. Should its run show up in the list after all, it is found."""
    app.ledger.move(row, State.HELD, reason=reason)
    key, cure = row.entry.key, f"look for its run in the studio; then redrive {row.entry.key}, or close it"
    log("held", logging.ERROR, key=key, rule=row.entry.rule, reason=reason, cure=cure)
