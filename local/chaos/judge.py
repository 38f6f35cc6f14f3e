"""The report, and the judgement: what the workspace accepted, held against what was uploaded and what was configured.

Pure: asks nobody, and believes the ledger only about what it says it still has to do.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.chaos.configuration import Target

# What a blob without a run may be: it will have one, or somebody will look at it.
ON_THE_LIST = frozenset({"queued", "deferred", "sending", "uncertain", "held"})

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""Accepted submissions, as /_control/runs tells them, by the blob they are about."""


class ChaosError(RuntimeError):
    """The judgement cannot be made; the message says why."""


@dataclass
class Report:
    """What came of it; the names are those of `--json`."""

    arrivals: int
    submissions: int = 0
    lost: list[str] = field(default_factory=list)
    """Blobs without a run that the app does not hold either."""
    doubled: list[str] = field(default_factory=list)
    """Blobs with more than one run."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Runs that went where nobody was configured to send, with what is known of each."""
    uncertain: int = 0
    held: int = 0
    kills: int = 0
    faults: int = 0
    changes: int | None = None
    """New configurations and losses of the role; None without --changes."""
    settle_s: float = 0
    seed: int = 0

    @property
    def bad(self) -> dict[str, list[str]]:
        """What must not be."""
        found = {"lost": self.lost, "doubled": self.doubled, "wrong": list(self.wrong)}
        return {what: names for what, names in found.items() if names}

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        counted = {what: len(value) if isinstance(value, list | dict) else value for what, value in vars(self).items()}
        counted["settle_s"] = round(self.settle_s, 1)
        return {what: value for what, value in counted.items() if value is not None}


@dataclass
class Life:
    """One process of an app, from before its start until after its end, in seconds since 1970."""

    target: Target
    """Where it was configured to send."""
    begun: float
    ended: float = math.inf

    def may_send(self, moment: float, in_flight_s: float) -> bool:
        """Tell whether what is accepted at a moment can be from this process."""
        return self.begun <= moment <= self.ended + in_flight_s


def target_of(run: Mapping[str, Any]) -> Target:
    """Return where a run went."""
    return Target(run["endpoint_id"], run["version"], run["experiment"])


def judge(
    report: Report,
    blobs: Sequence[str],
    *,
    before: Runs,
    after: Runs,
    states: Mapping[str, str],
    lives: Sequence[Life],
    in_flight_s: float,
) -> None:
    """Write down what is lost, doubled and wrong.

    `before`, `after`: the runs before and after every blob was announced once more, which told its state. Raises
    ChaosError when there are runs for what was never uploaded.
    """
    unknown = sorted({*after} - {*blobs})
    if unknown:
        raise ChaosError(f"There are runs for what was never uploaded: {', '.join(unknown[:5])}.")
    report.lost = [name for name in blobs if name not in before and states[name] not in ON_THE_LIST]
    report.doubled = [name for name in blobs if len(after.get(name, ())) > 1]
    runs = [run for found in after.values() for run in found]
    for run in runs:
        target, moment = target_of(run), run["accepted_at"]
        possible = {life.target for life in lives if life.may_send(moment, in_flight_s)}
        if target not in possible:
            pinned = " or ".join(f"{one.version} in {one.experiment}" for one in sorted(possible))
            about = f"run {run['run_id']}: version {target.version} in {target.experiment}, pinned was then {pinned}"
            report.wrong[run["run_id"]] = about
    report.submissions = len(runs)
    counted = Counter(states.values())
    report.held, report.uncertain = counted["held"], counted["uncertain"]
