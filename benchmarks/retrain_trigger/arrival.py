"""One arrival through `flow`, as the blob trigger does it."""

from shared.app import app
from shared.flow.arrive import arrive
from shared.ledger.entries import State
from shared.rules.arrival import Source

app().prepare()


def act(path: str) -> str:
    """Let a blob arrive; return the key. Raises RuntimeError unless it was submitted."""
    [outcome] = arrive(app(), "training", path, Source.BLOB_EVENT)
    if outcome.entry is None or outcome.entry.state != State.SUBMITTED:
        raise RuntimeError(f"not submitted: {outcome}")
    return outcome.key
