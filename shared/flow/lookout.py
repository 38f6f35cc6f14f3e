"""What the endpoints list, for one tick: each list is read once, whoever asks, also when reading it fails.

Never concludes that a run is absent before the grace period of its submission is over.
"""

import logging
import threading
from datetime import datetime, timedelta

import msgspec

from shared.app import App
from shared.errors import EndpointError
from shared.ledger import learned
from shared.ledger.entries import NEVER, Entry, Work
from shared.log import log
from shared.pipelines.base import Evidence, Run
from shared.pipelines.target import Target

LEARN_AGAIN = timedelta(minutes=10)


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """The key was found nowhere."""

    certain: bool
    """Long enough after the submission that it would be there."""
    reason: str


class Listing(msgspec.Struct, frozen=True):
    """The runs of one endpoint's version, as they were listed."""

    read_at: datetime
    by_key: dict[str, Run]
    by_id: dict[str, Run]


class Lookout:
    """What the endpoints say during one tick; safe to share between threads."""

    def __init__(self, app: App) -> None:
        """Look with the endpoints of `app`."""
        self._app, self._lock = app, threading.Lock()
        self._listings = dict[object, Listing | EndpointError]()
        self._locks = dict[object, threading.Lock]()

    def listing(self, target: Target) -> Listing:
        """Return the runs of a target's version. Raises EndpointError, the same one to all who ask in this tick."""
        with self._lock:
            own = self._locks.setdefault(target.pin, threading.Lock())
        with own:  # the lists of other endpoints are read meanwhile
            if target.pin not in self._listings:
                self._listings[target.pin] = self._read(target)
            found = self._listings[target.pin]
        if isinstance(found, EndpointError):
            raise found
        return found

    def find(self, entry: Entry, target: Target) -> Run | Absent:
        """Find the run of an entry: in the list of where it was sent, then, once the grace is over, in run history.

        Raises EndpointError when the endpoint cannot be read.
        """
        listing = self.listing(target)
        if run := listing.by_key.get(entry.key):
            return run
        sent_at = entry.sent_at or entry.claimed_at
        # By the time of the reading, not of the question: a list from before says nothing about now.
        if listing.read_at < sent_at + self._app.settings.grace:
            return Absent(certain=False, reason="Not seen yet.")
        if not target.experiment:
            return Absent(certain=False, reason="Which experiment it went to is not known.")
        if run := self._app.endpoint(target).search(entry.key, target.experiment):
            return run
        minutes = (listing.read_at - sent_at) / timedelta(minutes=1)
        return Absent(certain=True, reason=f"{minutes:.1f} minutes after it was sent no run has its key.")

    def learn(self, work: Work, target: Target) -> None:
        """Learn, from a run that is known, whether the list would show a run by its key: that is what absence means.

        Raises EndpointError when the endpoint cannot be read.
        """
        now, memory = self._app.ledger.now(), self._app.memory
        if now - memory.knows_keys.get(target.place, NEVER) < LEARN_AGAIN:
            return
        listing = self.listing(target)
        run = listing.by_id.get(work.run_id)
        late = work.sent_at is not None and listing.read_at > work.sent_at + self._app.settings.grace
        if run or late:
            given_back = run is not None and run.key == work.key
            learned.learn(self._app.ledger, Evidence.KEYS, target.place, given_back, work.run_id)
            memory.knows_keys[target.place] = now

    def _read(self, target: Target) -> Listing | EndpointError:
        read_at = self._app.ledger.now()
        try:
            runs = self._app.endpoint(target).runs(target.version)
        except EndpointError as error:
            return error
        by_key = dict[str, Run]()
        for run in runs:
            if run.key is not None and (other := by_key.setdefault(run.key, run)).run_id != run.run_id:
                log("doubled", logging.ERROR, key=run.key, runs=f"{other.run_id} {run.run_id}")
        return Listing(read_at, by_key, {run.run_id: run for run in runs})
