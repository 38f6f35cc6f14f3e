"""Storage accounts by connection: the blob and queue clients of the official SDK, called from a few threads.

Never blocks the event loop, and retries a call only briefly: whoever calls has a loop that comes back.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import requests
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, LinearRetry
from azure.storage.queue import LinearRetry as QueueRetry
from azure.storage.queue import QueueServiceClient
from requests.adapters import HTTPAdapter

from local.host.errors import SettingsError, StorageError
from local.host.settings import Connection

THREADS = 16  # more than the blob trigger runs at once, so that polling never waits behind the work


class Account:
    """The clients of one storage account, sharing one pool of HTTP connections."""

    def __init__(self, connection: Connection) -> None:
        """Make no request yet."""
        self._connection = connection
        session = requests.Session()
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS + 1))
        session.mount("https://", HTTPAdapter(pool_maxsize=THREADS + 1))
        self._transport = RequestsTransport(session=session, session_owner=False)

    @cached_property
    def blobs(self) -> BlobServiceClient:
        """The blob service."""
        return BlobServiceClient.from_connection_string(
            self._connection.string,
            transport=self._transport,
            retry_policy=LinearRetry(backoff=1, retry_total=2, random_jitter_range=0),
        )

    @cached_property
    def queues(self) -> QueueServiceClient:
        """The queue service."""
        return QueueServiceClient.from_connection_string(
            self._connection.string,
            transport=self._transport,
            retry_policy=QueueRetry(backoff=1, retry_total=2, random_jitter_range=0),
        )


class Storage:
    """All accounts in use, and the threads that talk to them."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._accounts: dict[str, Account] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")

    def account(self, connection: Connection) -> Account:
        """Return the account of a connection; the same object for the same connection string."""
        if connection.string not in self._accounts:
            account = Account(connection)
            try:
                _ = account.blobs, account.queues
            except ValueError as error:
                raise SettingsError(f"{connection.setting} is no storage connection string: {error}") from error
            self._accounts[connection.string] = account
        return self._accounts[connection.string]

    async def run[**P, R](self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a storage call in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))

    async def check(self, connection: Connection) -> None:
        """Raise StorageError when the account does not answer."""
        account = self.account(connection)
        try:
            await self.run(account.queues.get_service_properties)
        except AzureError as error:
            raise StorageError(f"the storage account of {connection.setting} does not answer: {error}") from error
