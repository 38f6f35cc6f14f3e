"""Looks for a key among the runs at the endpoint, for one tick: each list is read once, whoever asks.

Never concludes that a run is absent before the grace period of its submission is over.
"""

import logging
import threading
from datetime import datetime, timedelta

import msgspec

from shared.events import log
from shared.ledger import Entry
from shared.pipelines.base import Run
from shared.wiring import App


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """The key was found nowhere."""

    certain: bool
    """Long enough after the submission that it would be there."""
    reason: str


class _Listing(msgspec.Struct, frozen=True):
    read_at: datetime
    runs: dict[str, Run]
    """By our key."""
    all_runs: dict[str, Run]
    """By the run's id."""


class Lookout:
    """What the endpoints say during one tick; safe to share between threads."""

    def __init__(self, app: App) -> None:
        """Look with the pipelines of `app`."""
        self._app, self._lock = app, threading.Lock()
        self._listings = dict[tuple[str, str], _Listing]()

    def find(self, entry: Entry) -> Run | Absent:
        """Find the run of an entry: in its version's list of runs, then, once the grace is over, in run history.

        Raises EndpointError when the endpoint cannot be read.
        """
        listing = self._listing(entry.pipeline, entry.version)
        if run := listing.runs.get(entry.key):
            return run
        sent_at = entry.sent_at or entry.claimed_at
        # By the time of the reading, not of the question: a list from before says nothing about now.
        if listing.read_at < sent_at + self._app.settings.grace:
            return Absent(certain=False, reason="Not seen yet.")
        if run := self._app.pipelines[entry.pipeline].search(entry.key, entry.retrain_request().experiment):
            return run
        minutes = (listing.read_at - sent_at) / timedelta(minutes=1)
        return Absent(certain=True, reason=f"{minutes:.1f} minutes after it was sent no run has its key.")

    def learn(self, entry: Entry) -> None:
        """Learn, from a run that is known, whether the list would show a run by its key: that is what absence means.

        Raises EndpointError when the endpoint cannot be read.
        """
        if self._app.knows_about_keys(entry.pipeline):
            return
        listing = self._listing(entry.pipeline, entry.version)
        if run := listing.all_runs.get(entry.run_id):
            self._app.learn(entry.pipeline, run.key == entry.key, entry.run_id)
        elif entry.sent_at and listing.read_at > entry.sent_at + self._app.settings.grace:
            self._app.learn(entry.pipeline, False, entry.run_id)

    def _listing(self, pipeline: str, version: str) -> _Listing:
        with self._lock:
            if (pipeline, version) not in self._listings:
                read_at = self._app.ledger.now()
                runs, listed = dict[str, Run](), self._app.pipelines[pipeline].runs(version)
                for run in listed:
                    if run.key is None:
                        continue
                    if (other := runs.setdefault(run.key, run)).run_id != run.run_id:
                        log("doubled", logging.ERROR, key=run.key, runs=f"{other.run_id} {run.run_id}")
                self._listings[pipeline, version] = _Listing(read_at, runs, {run.run_id: run for run in listed})
            return self._listings[pipeline, version]
