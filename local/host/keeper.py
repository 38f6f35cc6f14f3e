"""Keeps leases alive from a thread of its own, so that a busy event loop or busy functions cannot lose one.

Never gives up on a lease by itself: a failed renewal is logged and tried again at the next turn.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

log = logging.getLogger("host.leases")


@dataclass
class _Lease:
    what: str
    renew: Callable[[], None]
    every_s: float
    due: float


class Keeper:
    """The thread and the leases it renews."""

    def __init__(self) -> None:
        """Start the thread."""
        self._by_id: dict[int, _Lease] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="leases", daemon=True).start()

    @contextmanager
    def keep(self, what: str, renew: Callable[[], None], every_s: float) -> Iterator[None]:
        """Call `renew` every `every_s` seconds, in the keeper's thread, until the block is left."""
        lease = _Lease(what, renew, every_s, time.monotonic() + every_s)
        with self._changed:
            self._by_id[id(lease)] = lease
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._by_id[id(lease)]

    def _run(self) -> None:
        while True:
            with self._changed:
                lease = min(self._by_id.values(), key=lambda one: one.due, default=None)
                wait_s = None if lease is None else lease.due - time.monotonic()
                if lease is None or (wait_s is not None and wait_s > 0):
                    self._changed.wait(wait_s)
                    continue
                lease.due = time.monotonic() + lease.every_s
            try:
                lease.renew()
            except Exception as error:  # noqa: BLE001 - one lease's fault must not end the thread that keeps the others
                log.warning("cannot renew the lease on %s: %s", lease.what, error)
