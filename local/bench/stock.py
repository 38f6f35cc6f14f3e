"""Storage that has been in use for long: what Azurite keeps on disk, with more of the same documents. It must not run.

Writing a hundred thousand rows through its API takes the emulator most of an hour. The copies are what the app itself
wrote, under other keys; nothing else of the file is touched. Never used for anything but measuring.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Document = dict[str, Any]
TABLES, BLOBS = "__azurite_db_table__.json", "__azurite_db_blob__.json"
ACCOUNT = "devstoreaccount1"
SAVES_S = 5  # so often Azurite writes what has changed


def wait_until_kept() -> None:
    """Wait until what was written just now is on disk."""
    time.sleep(SAVES_S + 1)


class More(NamedTuple):
    """Which documents there are to be more of."""

    file: str
    collection: str
    of: Callable[[Document], bool]
    """Whether a document is one of those; the first such is copied."""
    copies: Callable[[Document], Iterator[Document]]


def multiply(folder: Path, more: More) -> None:
    """Add copies to what Azurite keeps in a folder."""
    file, collection, of, copies = more
    path = folder / file
    kept = json.loads(path.read_text(encoding="utf-8"))
    found = next(one for one in kept["collections"] if one["name"] == collection)
    documents: list[Document] = found["data"]
    number = max(one["$loki"] for one in documents)
    for copy in copies(next(one for one in documents if of(one))):
        number += 1
        documents.append({**copy, "$loki": number})
    found["maxId"] = number
    found["idIndex"] = None
    for name, index in found["binaryIndices"].items():  # positions, in the order of the values
        index |= {"dirty": False, "values": sorted(range(len(documents)), key=lambda at: documents[at][name])}
    path.write_text(json.dumps(kept), encoding="utf-8")


def history(table: str, count: int) -> More:
    """Return so many ended entries: older than the one that is there, each with a key of its own."""

    def copies(first: Document) -> Iterator[Document]:
        template = json.dumps(first | {"properties": first["properties"] | {"State": "finished"}})
        key = first["RowKey"].rpartition("|")[2]
        reverse = int(first["RowKey"].split("|")[1])
        for number in range(count):
            text = template.replace(key, f"20260101T000000Z-{number:064x}"[: len(key)])
            made: Document = json.loads(text.replace(f"h|{reverse:010d}", f"h|{reverse + 1 + number:010d}"))
            yield made

    return More(TABLES, f"{ACCOUNT}${table}", lambda one: str(one["RowKey"]).startswith("h|"), copies)


def blobs(count: int, name: Callable[[int], str]) -> More:
    """Return so many blobs, all with the content of the one that is there."""

    def copies(first: Document) -> Iterator[Document]:
        for number in range(count):
            properties = {**first["properties"], "etag": f'"0x{number + 1:015X}"'}
            yield {**first, "name": name(number), "properties": properties}

    return More(BLOBS, "$BLOBS_COLLECTION$", lambda _one: True, copies)
