"""Connections to the storage account: clients for containers, tables and queues, from a Functions connection's name.

Never downloads a blob. A fault of the account becomes a StorageError that says what was being done.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient
from azure.storage.blob import ContainerClient, ExponentialRetry
from requests.adapters import HTTPAdapter

from shared import identity
from shared.errors import ConfigurationError, StorageError
from shared.storage.transactions import Table

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient

# A storage request is small: what takes longer than this is lost. The platform gives an HTTP function 230 s in all.
_TIMEOUTS = {"connection_timeout": 5, "read_timeout": 20}


def container_client(connection: str, container: str, environ: Mapping[str, str] = os.environ) -> ContainerClient:
    """Return a client for a container; nothing is sent yet. Raises ConfigurationError when the connection has gaps."""
    options: dict[str, Any] = {
        **_TIMEOUTS,
        "transport": _Transport(),
        # Three retries within about 5 s: what lasts longer is for the caller, who comes again.
        "retry_policy": ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=3),
    }
    if text := _setting(connection, environ):
        with _sound(connection):
            return ContainerClient.from_connection_string(text, container, **options)
    url, credential = _by_identity(connection, "blob", environ)
    return ContainerClient(url, container, credential=credential, **options)


def table_client(connection: str, table: str, environ: Mapping[str, str] = os.environ) -> TableClient:
    """Return a client for a table; nothing is sent yet. Raises ConfigurationError when the connection has gaps."""
    # Three retries within about 3 s, of what was answered; a connection that breaks is for the ledger, which looks.
    options: dict[str, Any] = {**_TIMEOUTS, "transport": _Transport(), "retry_total": 3, "retry_backoff_factor": 0.5}
    if text := _setting(connection, environ):
        with _sound(connection):
            return Table.from_connection_string(text, table, **options)
    url, credential = _by_identity(connection, "table", environ)
    return Table(url, table, credential=credential, **options)


def queue_client(connection: str, queue: str, environ: Mapping[str, str] = os.environ) -> "QueueClient":
    """Return a client for a queue; nothing is sent yet. Raises ConfigurationError when the connection has gaps.

    For operators' commands: the package is not deployed, the app's queues are the host's business.
    """
    from azure.storage.queue import ExponentialRetry as Retry
    from azure.storage.queue import QueueClient

    options: dict[str, Any] = {**_TIMEOUTS, "retry_policy": Retry(initial_backoff=1, increment_base=2, retry_total=3)}
    if text := _setting(connection, environ):
        with _sound(connection):
            return QueueClient.from_connection_string(text, queue, **options)
    url, credential = _by_identity(connection, "queue", environ)
    return QueueClient(url, queue, credential=credential, **options)


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the storage SDKs raise into a StorageError that begins with what was being done."""
    try:
        yield
    except AzureError as error:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        code = getattr(error, "error_code", None)
        told = f"{status or ''} {getattr(code, 'value', code) or type(error).__name__}".strip()
        raise StorageError(f"{doing}: {told}: {str(error.message).splitlines()[0]}", status) from error


class _Transport(RequestsTransport):  # type: ignore[misc] # the package has no type for it
    """A transport with a connection for each thread that may use it: the worker's and the timer's.

    An operation may be given a list as `sendings`; each sending is noted in it. Where there was more than one, a
    conflict may be with what an earlier one, whose answer was lost, has done.
    """

    def __init__(self) -> None:
        session = requests.Session()
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=64))
        super().__init__(session=session, session_owner=True)

    def send(self, request: Any, *, sendings: list[Any] | None = None, **options: Any) -> Any:
        """Send once."""
        if sendings is not None:
            sendings.append(request)
        return super().send(request, **options)


def _setting(connection: str, environ: Mapping[str, str]) -> str | None:
    """Return the connection string; the exact name beats the prefixed one, as in Functions."""
    return environ.get(connection) or environ.get(f"AzureWebJobs{connection}")


@contextmanager
def _sound(connection: str) -> Iterator[None]:
    """Turn what the SDKs say of a connection string that is none into a fault of the app setting."""
    try:
        yield
    except ValueError as error:
        raise ConfigurationError([f"app setting {connection!r}: it is no connection string: {error}"]) from error


def _by_identity(connection: str, service: str, environ: Mapping[str, str]) -> tuple[str, TokenCredential]:
    """Return the service's URL and a credential from the settings `<connection>__...` (identity-based connection)."""
    for prefix in (connection, f"AzureWebJobs{connection}"):
        account = environ.get(f"{prefix}__accountName")
        url = environ.get(f"{prefix}__{service}ServiceUri") or environ.get(f"{prefix}__serviceUri")
        if url and f".{service}." not in url and not environ.get(f"{prefix}__{service}ServiceUri"):
            url = None  # __serviceUri names one service: the one in its host name
        url = url or (f"https://{account}.{service}.core.windows.net" if account else None)
        if url:
            return url, identity.credential(environ.get(f"{prefix}__clientId"))
    raise ConfigurationError(
        [
            f"app setting {connection!r}: expected a connection string, or {connection}__{service}ServiceUri, "
            f"or {connection}__accountName"
        ]
    )
