"""Durations as people write them: `30s`, `10m`, `2h`, `1d`. Never guesses a unit."""

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read a duration such as `30s`, `10m`, `2h` or `1d`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not found:
        raise ValueError(f"expected a number and a unit (s, m, h, d), such as '10m'; got {text!r}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
