"""One arrival, as the app's blob trigger acts on it. Never started as a function app."""

from function_app import submit


def act(path: str) -> str:
    """Let a blob arrive; return the run's id."""
    return submit(path)
