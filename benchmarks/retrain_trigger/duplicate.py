"""A delivery of an arrival that has come to a run already."""

from shared.app import app
from shared.flow.arrive import arrive
from shared.rules.arrival import Source

app().prepare()


def act(path: str) -> str:
    """Deliver it again; return the key. Raises RuntimeError unless it was known."""
    [outcome] = arrive(app(), "training", path, Source.BLOB_EVENT)
    if not outcome.duplicate:
        raise RuntimeError(f"started again: {outcome}")
    return outcome.key
