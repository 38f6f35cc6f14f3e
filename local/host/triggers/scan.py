"""Blob detection by listing: finds new versions in a container and queues each once for each function.

Many hosts may scan the same container; receipts keep them apart. A version known to be queued costs one comparison
in memory, no request. Never scans for a trigger whose source is Event Grid.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched, groupby
from os.path import commonprefix

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobProperties, BlobType

from local.host.bindings import BlobTrigger
from local.host.storage import Account, Storage
from local.host.tasks import finish
from local.host.triggers.blob import BlobTriggers, BlobVersion, quoted
from local.host.triggers.receipts import Receipts

log = logging.getLogger("host.scan")

AT_ONCE = 8  # versions queued at the same time; half of the storage threads stay free for the listeners
REST = 4.0  # a scan rests this many times as long as its listing took: a fifth of a core, however full the container


class Scanner:
    """Scans one container for the functions that watch it."""

    def __init__(
        self,
        triggers: Sequence[BlobTrigger],
        blobs: BlobTriggers,
        storage: Storage,
        host_account: Account,
        host_id: str,
        interval_s: float,
    ) -> None:
        """Start nothing yet. `triggers` have the same connection and container."""
        self._triggers, self._blobs, self._storage, self._interval_s = triggers, blobs, storage, interval_s
        self._host_account, self._host_id = host_account, host_id
        self._container_name = triggers[0].pattern.container
        self._container = storage.account(triggers[0].connection).blobs.get_container_client(self._container_name)
        self._prefix = commonprefix([trigger.pattern.prefix for trigger in triggers])  # noqa: RUF071 - by character
        self._known: dict[str, dict[str, str]] = {trigger.function.name: {} for trigger in triggers}
        self._completed: dict[str, set[str]] = {}  # receipts found at the start, needed for the first scan only
        self._receipts: Receipts | None = None
        self._told_absent = False
        self._listing_s = 0.0

    async def run(self) -> None:
        """Scan until cancelled."""
        while True:
            self._listing_s = 0.0
            try:
                await self._scan()
            except ResourceNotFoundError:
                if not self._told_absent:
                    log.info("container %s does not exist yet; waiting for it", self._container_name)
                self._told_absent = True
            except AzureError as error:
                log.error("cannot scan container %s, trying again: %s", self._container_name, error)  # noqa: TRY400
            await asyncio.sleep(max(self._interval_s, REST * self._listing_s))

    async def _scan(self) -> None:
        """List the container page by page; queue what is new; forget what is gone."""
        if self._receipts is None:
            self._receipts = await self._storage.run(Receipts, self._host_account, self._host_id)
            for trigger in self._triggers:
                name = trigger.function.name
                self._completed[name] = await self._storage.run(self._receipts.completed, name)
        listed: set[str] = set()
        pages = self._container.list_blobs(name_starts_with=self._prefix or None).by_page()
        while (page := await self._next_page(pages)) is not None:
            self._told_absent = False
            listed.update(blob.name for blob in page)
            new = [
                (
                    trigger,
                    BlobVersion(self._container_name, blob.name, quoted(blob.etag), BlobType(blob.blob_type).value),
                )
                for blob in page
                for trigger in self._triggers
                if self._is_new(trigger, blob)
            ]
            for some in batched(new, AT_ONCE, strict=False):
                await finish(asyncio.gather(*(self._queue(self._receipts, *one) for one in some)))
        for name, known in self._known.items():
            self._known[name] = {blob: etag for blob, etag in known.items() if blob in listed}
        self._completed.clear()

    async def _next_page(self, pages: Iterator[Iterator[BlobProperties]]) -> list[BlobProperties] | None:
        """Return the next page of a listing, None after the last; a page may be empty before that."""
        began = time.monotonic()
        page = await self._storage.run(lambda: None if (found := next(pages, None)) is None else list(found))
        self._listing_s += time.monotonic() - began
        return page

    def _is_new(self, trigger: BlobTrigger, blob: BlobProperties) -> bool:
        name = str(blob.name)
        if self._known[trigger.function.name].get(name) == quoted(blob.etag):
            return False
        return trigger.pattern.captures(self._container_name, name) is not None

    async def _queue(self, receipts: Receipts, trigger: BlobTrigger, version: BlobVersion) -> None:
        """Queue one version unless somebody has; a version that another host is at comes back in the next scan."""
        function = trigger.function.name
        receipt = receipts.name(function, version)
        if receipt not in self._completed.get(function, ()):
            claimed = await self._storage.run(receipts.claim, receipt)
            if claimed is None:
                return
            if claimed:
                await self._blobs.enqueue(trigger, version)
                await self._storage.run(receipts.complete, receipt, claimed)
        self._known[function][version.blob] = version.etag


def scanners(
    triggers: Iterable[BlobTrigger],
    blobs: BlobTriggers,
    storage: Storage,
    host_account: Account,
    host_id: str,
    interval_s: float,
) -> list[Scanner]:
    """Return one scanner for each container that some trigger scans."""

    def place(trigger: BlobTrigger) -> tuple[str, str]:
        return trigger.connection.string, trigger.pattern.container

    scanned = sorted((trigger for trigger in triggers if trigger.scans), key=place)
    groups = [list(group) for _, group in groupby(scanned, place)]
    return [Scanner(group, blobs, storage, host_account, host_id, interval_s) for group in groups]
