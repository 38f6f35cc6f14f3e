"""What submissions meet while the load lasts, and the grace period that all of it has to fit into.

Figures only: never orders anything from the workspace itself.
"""

from typing import Any

FAULTY = 0.2  # of all submissions
TOKEN_LIFE_S = 20


def grace_s(list_lag_s: float) -> int:
    """Return the app's grace period: the time a run may take to show up in the lists after it was sent.

    The app sends within four fifths of it at the latest; an answer that is late by half a second, and the lag of the
    lists, have to fit into what is left.
    """
    return max(10, round(5 * (list_lag_s + 1)))


def fault_mix(grace: float) -> list[dict[str, Any]]:
    """Return what may happen to a submission; `times` says how often, one kind beside the other."""
    late = grace / 5 + 0.5  # the app waits for an answer for a fifth of its grace period
    return [
        {"on": "submit", "kind": "status", "status": 500, "times": 2},
        {"on": "submit", "kind": "status", "status": 503, "times": 2},
        {"on": "submit", "kind": "status", "status": 500, "accept": True, "times": 2},
        {"on": "submit", "kind": "status", "status": 503, "accept": True, "times": 2},
        {"on": "submit", "kind": "drop", "times": 3},
        {"on": "submit", "kind": "accept_then_drop", "times": 3},
        {"on": "submit", "kind": "delay", "delay_s": 0.5, "times": 2},
        {"on": "submit", "kind": "delay", "delay_s": late, "times": 2},
        {"on": "submit", "kind": "status", "status": 429, "retry_after": 1, "times": 2},
    ]


def in_flight_s(grace: float) -> float:
    """Return how long after an app's end a submission of it may still be accepted.

    The app gives a fifth of the grace period each to connecting and to the answer, and the latest answer of the mix
    fits into that.
    """
    return 2 * grace / 5
