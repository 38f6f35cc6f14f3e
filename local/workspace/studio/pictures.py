"""Where the points and bars of the pictures stand: a run's ROC curve, and a metric by version and data set.

Numbers only; the templates draw. Never reads anything but finished runs.
"""

from collections.abc import Iterable
from typing import Any

from local.workspace.runs import Run, RunStatus

SIZE, EDGE = 320, 36  # of the ROC curve, in the picture's own units
ROW, LABEL, WIDTH = 26, 330, 620  # of the bars
MOST = 20  # data sets in a picture, the newest


def roc(run: Run) -> dict[str, Any] | None:
    """Return the curve's line; None when the run has none."""
    if not run.roc:
        return None
    span = SIZE - 2 * EDGE
    points = [(EDGE + wrong * span, SIZE - EDGE - right * span) for wrong, right in run.roc]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return {"size": SIZE, "edge": EDGE, "end": SIZE - EDGE, "line": line}


def by_version(runs: Iterable[Run], metric: str = "accuracy") -> dict[str, Any] | None:
    """Return a bar for the newest finished run of each version on each data path; None when there is none."""
    newest: dict[tuple[str, str], Run] = {}
    for run in runs:  # in the order of acceptance
        if run.status is RunStatus.Finished and run.metrics and metric in run.metrics and not run.removed:
            newest[run.data.path, run.version or run.pipeline.content.name] = run
    shown = sorted(list(newest.items())[-MOST:], key=lambda item: item[0])
    bars = [
        {
            "run": run,
            "label": f"{path}, version {version}",
            "y": number * ROW,
            "width": round((run.metrics or {})[metric] * (WIDTH - LABEL - 60), 1),
            "value": f"{(run.metrics or {})[metric]:.3f}",
        }
        for number, ((path, version), run) in enumerate(shown)
    ]
    size = {"width": WIDTH, "height": len(bars) * ROW, "left": LABEL, "bar": ROW - 8}
    return {"metric": metric, "bars": bars, **size} if bars else None
