"""What the figures are held against, and why one is missed where it is. Never measures, never moves a goal to fit."""

from collections.abc import Mapping
from typing import NamedTuple

from local.bench import environments as who
from local.bench.contestant import word


class Goal(NamedTuple):
    """A figure, and the most that it may be."""

    measure: str
    figure: str
    what: str
    at_most: float
    unit: str = ""
    why: str = ""
    """Said where it is missed."""


class Verdict(NamedTuple):
    """How a goal stands."""

    goal: Goal
    value: float | None
    """None: not measured in this run."""

    @property
    def met(self) -> bool:
        """Whether the figure is at most what it may be."""
        return self.value is not None and self.value <= self.goal.at_most

    def told(self) -> str:
        """Return it for people."""
        if self.value is None:
            return "not measured"
        if self.met:
            return "held"
        over = self.value / self.goal.at_most
        return f"missed: {over:.2f} times what it may be. {self.goal.why}".strip()


SDK = (
    "The SDKs' pipelines are most of the rest, two for the table, one for the blob, the credential's: their retries, "
    "tracing and checks are what raw requests do not have."
)
GOALS = (
    Goal(
        "cold",
        "import_against_base.compiled",
        "import of function_app, compiled, against the four base packages",
        1.15,
        "x",
        "azure-data-tables, msgspec, re2 and the blob binding come on top, and the app's own modules.",
    ),
    Goal(
        "cold",
        f"indexed_against.{word(who.CORE)}",
        "worker library to functions indexed, against azureml-pipeline-core",
        0.55,
        "x",
        "The packages that both have are most of it: an app of the bare packages is not far below either.",
    ),
    Goal(
        "cold",
        f"indexed_against.{word(who.AI_ML)}",
        "the same against azure-ai-ml",
        0.33,
        "x",
        "The packages that both have are most of it: an app of the bare packages is not far below either.",
    ),
    Goal(
        "arrival",
        f"wall_against.{word(who.SHORTEST)}",
        "one warm arrival against the shortest function, wall",
        1.0,
        "x",
    ),
    Goal(
        "arrival",
        f"cpu_against.{word(who.SHORTEST)}",
        "the same, CPU",
        1.0,
        "x",
        "Rules, states and the log are what it does more; its rows have all that the timer needs.",
    ),
    Goal("arrival", f"wall_against.{word(who.RAW)}", "against signed raw requests, wall", 1.5, "x", SDK),
    Goal("arrival", f"cpu_against.{word(who.RAW)}", "the same, CPU", 2.0, "x", SDK),
    Goal("arrival", f"round_trips.{word(who.OURS)}", "round trips of an arrival, token warm", 4),
    Goal("arrival", "round_trips.duplicate", "round trips of a duplicate", 2),
    Goal("large", "peak_ratio", "memory for a 5 GB blob against a 5 KB blob", 1.05, "x"),
    Goal(
        "rows",
        "rows.arrival_cpu_growth_net",
        "CPU of an arrival with 100,000 rows against 100, over the growth of raw requests",
        1.05,
        "x",
    ),
    Goal(
        "blobs",
        "ticks.cpu_growth",
        "ticks with 100,000 blobs against an empty container, CPU on average over a day",
        2,
        "x",
        "Passes over the whole listing are in it; other ticks cost the same.",
    ),
    Goal("growth", "tick.open_1000.requests", "requests of a tick with 1,000 open runs, nothing new", 10),
    Goal("growth", "tick.open_1000.wall_ms", "the same, time", 2_000, "ms"),
    Goal("growth", "tick.queued.requests", "requests of a tick with 2,000 that wait for a full rule", 10),
    Goal("webhook", "alone.p99_ms", "webhook: call to answer, 99th percentile", 250, "ms"),
    Goal("webhook", "ticking.p99_ms", "the same while the timer ticks over 1,000 open runs", 250, "ms"),
    Goal(
        "growth", "match_us.1000", "match() with 1,000 rules", 1_000, "us", "So little more that a machine decides it."
    ),
    Goal("growth", "skip_lines.1000", "log lines of a blob that none of 1,000 rules takes", 1),
)


def verdicts(figures: Mapping[str, Mapping[str, float]]) -> list[Verdict]:
    """Return how each goal stands, by the figures of each measure."""
    return [Verdict(goal, figures.get(goal.measure, {}).get(goal.figure)) for goal in GOALS]
