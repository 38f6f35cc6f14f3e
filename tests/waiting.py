"""Waiting for what happens elsewhere, with an end. Holds no tests."""

import time
from collections.abc import Callable


def until[T](happened: Callable[[], T], timeout_s: float = 30) -> T:
    """Return what `happened` returns as soon as it is true. Fails the test when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not (result := happened()):
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.05)
    return result
