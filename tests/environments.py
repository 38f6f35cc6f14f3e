"""Environments of their own, for tests that need packages which must bind nobody. Skips where there is none."""

from pathlib import Path

import pytest

from local import environments


def python_of(requirements: Path) -> Path:
    """Return the Python of an environment with these packages. Skips the test, with the reason, where there is none."""
    try:
        return environments.python_of(requirements)
    except environments.UnavailableError as error:
        pytest.skip(str(error))
