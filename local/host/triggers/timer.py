"""Timer triggers: one loop a function, and a state blob that lets one of several hosts fire a tick.

The state blob (`azure-webjobs-hosts/timers/<host id>/<function>`) is only ever changed on condition that nobody else
changed it: it says which tick was fired last, and until when somebody is running. Who dies while running stops
renewing, so the next tick is held up by RUNNING_S at most. Times are UTC.

Never runs a function beside itself, and never makes up for a failed tick: the next one comes.
"""

import asyncio
import json
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobClient
from croniter import croniter

from local.host.bindings import TimerTrigger
from local.host.keeper import Keeper
from local.host.messages import Message
from local.host.storage import Account, Storage
from local.host.tasks import finish
from local.host.worker import Worker

log = logging.getLogger("host.timer")

CONTAINER = "azure-webjobs-hosts"
RUNNING_S = 5.0  # a claim to be running lasts this long unless renewed; hosts share a machine, and so a clock
_MONITORED_FROM = timedelta(minutes=1)  # the platform makes up for missed ticks only of schedules as slow as this


@dataclass
class _State:
    """What the state blob says, and its ETag (empty: there is none yet)."""

    last: datetime | None
    running_until: float
    etag: str


class TickLock:
    """The state blob of one timer; used from threads."""

    def __init__(self, account: Account, host_id: str, function: str) -> None:
        """Make no request yet."""
        self._blobs, self._what = account.blobs, f"timer {function}"
        self._blob: BlobClient = account.blobs.get_blob_client(CONTAINER, f"timers/{host_id}/Host.Functions.{function}")
        self._state = _State(None, 0, "")
        self._held = False
        self._guard = threading.Lock()  # a renewal may be under way while the run ends

    def create(self) -> None:
        """Make the container unless it is there."""
        try:
            self._blobs.create_container(CONTAINER)
        except ResourceExistsError:
            log.debug("container %s is there already", CONTAINER)

    def last(self) -> datetime | None:
        """Return the tick fired last by any host."""
        with self._guard:
            self._read()
            return self._state.last

    def acquire(self, tick: datetime) -> bool:
        """Claim a tick; False when it was fired already, or the function is running somewhere."""
        with self._guard:
            self._read()
            fired = self._state.last is not None and self._state.last >= tick
            if fired or self._state.running_until > time.time():
                return False
            self._held = self._write(tick, time.time() + RUNNING_S)
            return self._held

    def renew(self) -> None:
        """Go on claiming to be running."""
        self._claim(time.time() + RUNNING_S)

    def release(self) -> None:
        """Say that nobody is running."""
        self._claim(0)

    def _claim(self, running_until: float) -> None:
        with self._guard:
            if not self._held:
                return
            self._held = running_until > 0
            if not self._write(self._state.last, running_until):
                self._held = False
                log.warning("%s: another host took over while the function ran here", self._what)

    def _read(self) -> None:
        try:
            download = self._blob.download_blob()
            content = json.loads(download.readall())
        except ResourceNotFoundError:
            self._state = _State(None, 0, "")
            return
        last = datetime.fromisoformat(content["last"]) if content["last"] else None
        self._state = _State(last, content["runningUntil"], download.properties.etag)

    def _write(self, last: datetime | None, running_until: float) -> bool:
        content = json.dumps({"last": last and last.isoformat(), "runningUntil": running_until})
        try:
            if self._state.etag:
                written = self._blob.upload_blob(
                    content, overwrite=True, etag=self._state.etag, match_condition=MatchConditions.IfNotModified
                )
            else:
                written = self._blob.upload_blob(content, overwrite=False)
        except (ResourceExistsError, ResourceModifiedError):
            return False  # another host was quicker
        self._state = _State(last, running_until, written["etag"])
        return True


class TimerFunction:
    """One function and its schedule."""

    def __init__(self, trigger: TimerTrigger, worker: Worker, storage: Storage, lock: TickLock, keeper: Keeper) -> None:
        """Start nothing yet."""
        self._trigger, self._worker, self._storage = trigger, worker, storage
        self._lock, self._keeper = lock, keeper
        self._what = f"timer {trigger.function.name}"
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Fire at each tick until cancelled."""
        if self._trigger.run_on_startup:
            await finish(self._fire(_now(), past_due=False))
        elif await self._missed_a_tick():
            await finish(self._fire(_now(), past_due=True))
        while True:
            tick = self._after(_now())
            while (left := (tick - _now()).total_seconds()) > 0:
                await asyncio.sleep(left)
            await finish(self._fire(tick, past_due=False))

    async def fire_now(self) -> None:
        """Run the function because an operator says so; no tick is used up."""
        await self._invoke(_now(), past_due=False)

    def _after(self, moment: datetime) -> datetime:
        # Where both are restricted, NCRONTAB wants day of month and day of week.
        schedule = croniter(self._trigger.schedule, moment, second_at_beginning=True, day_or=False)
        found: datetime = schedule.get_next(datetime)
        return found

    async def _missed_a_tick(self) -> bool:
        """Tell whether a tick passed while no host was there (only monitored timers, as on the platform)."""
        now = _now()
        following = self._after(self._after(now)) - self._after(now)
        if not self._trigger.use_monitor or following < _MONITORED_FROM:
            return False
        try:
            last = await self._storage.run(self._lock.last)
        except AzureError as error:
            log.error("%s: cannot tell whether a tick was missed: %s", self._what, error)  # noqa: TRY400
            return False
        return last is not None and self._after(last) < now

    async def _fire(self, tick: datetime, *, past_due: bool) -> None:
        try:
            if not await self._storage.run(self._lock.acquire, tick):
                log.debug("%s: another host has the tick of %s", self._what, tick)
                return
            with self._keeper.keep(self._what, self._lock.renew, RUNNING_S / 3):
                await self._invoke(tick, past_due=past_due)
            await self._storage.run(self._lock.release)
        except AzureError as error:
            log.error("%s: trouble around the tick of %s: %s", self._what, tick, error)  # noqa: TRY400

    async def _invoke(self, tick: datetime, *, past_due: bool) -> None:
        status = {"Last": tick.isoformat(), "Next": self._after(tick).isoformat(), "LastUpdated": _now().isoformat()}
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        data = Message(json=json.dumps(info))
        reason = f"timer {self._trigger.schedule}"
        async with self._one_at_a_time:
            await self._worker.invoke(self._trigger.function, {self._trigger.parameter: data}, {}, reason=reason)


def _now() -> datetime:
    return datetime.now(UTC)
