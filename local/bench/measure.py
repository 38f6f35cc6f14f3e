"""What a measure is: a function that returns figures and tables. Never measures anything itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple


class Sample(NamedTuple):
    """The middle of several values, and how far they spread."""

    median: float
    low: float
    """A quarter of the values is below it."""
    high: float
    """A quarter is above it."""
    of: int
    """How many they were."""

    def told(self, scale: float = 1, digits: int = 1) -> str:
        """Return it for people, each value times `scale`."""
        middle, low, high = (f"{value * scale:,.{digits}f}" for value in self[:3])
        return f"{middle} ({low} to {high})" if self.of > 1 else middle


def sample(values: Sequence[float]) -> Sample:
    """Return the middle and the quartiles of values, at least one."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Sample(median(values), low, high, len(values))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return where half, nine tenths and all but a hundredth of values end, at least two, and the largest."""
    parts = quantiles(values, n=100, method="inclusive")
    return {"median": parts[49], "p90": parts[89], "p99": parts[98], "longest": max(values)}


def ratios(values: Sequence[float], others: Sequence[float]) -> Sample:
    """Return what each value is of the other of the same turn: a slow moment of the machine is in both."""
    return sample([value / other for value, other in zip(values, others, strict=True)])


@dataclass(frozen=True)
class Table:
    """For people."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()
    """Sentences that belong to it."""


@dataclass
class Result:
    """What a measure found out."""

    tables: list[Table] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    """By name; what is not there could not be measured, and `missing` says why."""
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """How a measure is to be taken."""

    quick: bool
    """Fewer turns, smaller sizes: to see that it works."""
    logs: Path
    """A folder of this run."""
    say: Callable[[str], object]

    def of(self, full: int, quick: int) -> int:
        """Return how many turns, or how large."""
        return quick if self.quick else full


class Measure(NamedTuple):
    """One of those that the command knows."""

    title: str
    run: Callable[[Bench], Result]
