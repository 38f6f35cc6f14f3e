"""Looks into a datastore's container: one blob's properties, a listing, a manifest.

Never reads training data, and writes nothing but its own lists of files.
"""

import contextlib
import re
from collections.abc import Iterator
from http import HTTPStatus

import msgspec
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.errors import BadRequestError, NotFoundError
from shared.rules.arrival import Arrival, Source, from_properties
from shared.storage.accounts import storage_errors
from shared.storage.listing import Listing

DOT_AT_END = re.compile(r"\.(/|$)")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some blobs of a listing, and where it goes on."""

    arrivals: list[Arrival]
    marker: str
    """Empty: this is the last page."""


class Datastore:
    """A container under the name that it is registered under. Raises StorageError when the account does not answer."""

    def __init__(self, name: str, container: ContainerClient) -> None:
        """Look into `container`, the datastore `name`."""
        self.name, self.container = name, container

    @property
    def place(self) -> str:
        """Which container this is, in words."""
        return f"container {self.container.container_name!r} of datastore {self.name!r}"

    @property
    def account(self) -> str:
        """The storage account's name; empty where the address does not tell it."""
        return (self.container.account_name or "").partition(".")[0]

    def look(self, path: str, source: Source) -> Arrival:
        """Read a blob's properties. Raises NotFoundError, and BadRequestError when storage takes it for no name."""
        with storage_errors(f"Properties of {path!r} in datastore {self.name!r}"):
            try:
                properties = self.container.get_blob_client(path).get_blob_properties()
            except ResourceNotFoundError as error:
                raise NotFoundError(f"There is no blob {path!r} in {self.place}.") from error
            except HttpResponseError as error:
                if error.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                raise BadRequestError(
                    f"Storage takes {path!r} for no blob's name ({getattr(error, 'error_code', None) or error.reason})."
                ) from error
            # The service may take a name whose segment ends in a dot for the one without: what it lists counts.
            if DOT_AT_END.search(path) and path not in self.container.list_blob_names(name_starts_with=path):
                raise NotFoundError(
                    f"There is no blob {path!r} in {self.place}, but one of another name: see a listing."
                )
        return from_properties(self.name, source, properties)

    def pages(self, prefix: str, marker: str) -> Iterator[Page]:
        """List the blobs below `prefix` page by page, from `marker` on; one that is too old means from the beginning.

        A page may be empty and the listing go on all the same. A container that is not there yet has none.
        """
        listing = Listing(self.name, self.container, prefix, marker)
        while True:
            with storage_errors(f"Listing {prefix!r} in datastore {self.name!r}"):
                try:
                    page = listing.read()
                except ResourceNotFoundError:
                    return
                except HttpResponseError as error:
                    if error.status_code != HTTPStatus.BAD_REQUEST or not marker:
                        raise
                    listing, marker = Listing(self.name, self.container, prefix, ""), ""
                    continue
            yield Page(arrivals=page, marker=listing.marker)
            if not listing.marker:
                return

    def write(self, path: str, content: bytes) -> None:
        """Write a blob of the app's own, unless it is there: its name has the key of what is in it."""
        with storage_errors(f"Writing {path!r} in datastore {self.name!r}"), contextlib.suppress(ResourceExistsError):
            self.container.upload_blob(path, content)

    def manifest(self, path: str) -> bytes:
        """Read a manifest, the one kind of blob that is read: a list of names, and no data."""
        with storage_errors(f"Manifest {path!r} in datastore {self.name!r}"):
            return self.container.download_blob(path).readall()

    def close(self) -> None:
        """Give back all connections."""
        self.container.close()
