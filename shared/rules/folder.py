"""What is in a folder, and the request that it makes.

`Content` takes the blobs of a listing one by one and keeps a few bytes of each, so that a folder of 100,000 files costs
little memory. Never lists anything itself, and never judges whether the folder is complete: `complete.py` does.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from shared.rules.arrival import Arrival, Source
from shared.rules.decision import RetrainRequest, Skip
from shared.rules.fill import request_of
from shared.rules.patterns import Pattern, Value
from shared.rules.rule import Rule
from shared.rules.take import Captures, announced, member


class Content:
    """What a folder holds, as a rule sees it. Fed by `add`; all else reads."""

    def __init__(self, rule: Rule, folder: str) -> None:
        """Begin with nothing; `folder` is its path, without a slash at either end."""
        self.rule, self.folder = rule, folder
        self.files, self.size = 0, 0
        """How many blobs are data to the rule, and their bytes."""
        self.newest: datetime | None = None
        """When the latest of these was written."""
        self.marker: Arrival | None = None
        self.manifest: Arrival | None = None
        self.not_yet: tuple[str, str] | None = None
        """The first file by name that is no data yet, and why."""
        self.first, self.captures = "", Captures()
        """The first of the data by name, and what the rule's captures hold in it."""
        # Of each file: name below the folder NUL ETag NUL size NUL what it is known by, where that is not the ETag. No
        # name has a NUL, which sorts before all else; and UTF-8 sorts as the names do.
        self._data, self._others = list[bytes](), list[bytes]()
        self._sorted = True

    def add(self, arrival: Arrival) -> None:
        """Take in one blob of a listing, in any order; blobs of other folders do no harm."""
        if arrival.datastore != self.rule.datastore or not arrival.path.startswith(f"{self.folder}/"):
            return
        captures = member(self.rule, self.folder, arrival)
        if captures is not None and not arrival.not_yet:
            self.count(arrival, captures)
            return
        self._others.append(self._short(arrival.path))
        if captures is not None:
            waited_for = (arrival.path, arrival.not_yet)
            self.not_yet = min(self.not_yet or waited_for, waited_for)
        elif not arrival.not_yet and not arrival.is_folder:
            self._announce(arrival)

    def count(self, arrival: Arrival, captures: Captures) -> None:
        """Count a blob as data of the folder, whatever the rule says of it."""
        self.files += 1
        self.size += arrival.size
        self.newest = max(self.newest or arrival.last_modified, arrival.last_modified)
        if not self.first or arrival.path < self.first:
            self.first, self.captures = arrival.path, captures
        known_by = arrival.content_md5 if self.rule.identity == "content" else ""
        columns = (arrival.etag, str(arrival.size), known_by)
        self._data.append(b"\0".join((self._short(arrival.path), *(text.encode() for text in columns))))
        self._sorted = False

    def _announce(self, arrival: Arrival) -> None:
        """Keep the folder's marker or manifest; where the case of names does not count there may be several."""
        found = announced(self.rule, arrival.path)
        if not found or not self.rule.settle or arrival.path.rpartition("/")[0] != self.folder:
            return
        if found[0] == self.rule.settle.marker:
            self.marker = _newer(self.marker, arrival)
        else:
            self.manifest = _newer(self.manifest, arrival)

    def _short(self, path: str) -> bytes:
        return path[len(self.folder) + 1 :].encode("utf-8", "surrogatepass")

    def _entries(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield path, ETag, size and Content-MD5 of the data, by name."""
        if not self._sorted:
            self._data.sort()
            self._sorted = True
        for item in self._data:
            name, etag, size, md5 = item.rsplit(b"\0", 3)
            yield f"{self.folder}/{name.decode('utf-8', 'surrogatepass')}", etag.decode(), int(size), md5.decode()

    def digest(self, by_md5: bool = False) -> str:
        """Return the content's identity: SHA-256 over the names and ETags of the data, sorted by name.

        `by_md5`: over the names and Content-MD5, where a file has one and the rule asks for it.
        """
        digest, between = hashlib.sha256(b"["), b""
        for path, etag, _, md5 in self._entries():
            digest.update(between + msgspec.json.encode((path, (by_md5 and md5) or etag)))
            between = b","
        digest.update(b"]")
        return digest.hexdigest()

    def absent(self, names: Iterable[str]) -> list[str]:
        """Return which of these blobs' names are not in the folder at all, sorted; what is no data counts as there."""
        missing = set(names)
        for items in (self._data, self._others):
            for item in items:
                missing.discard(f"{self.folder}/{item.partition(b'\0')[0].decode('utf-8', 'surrogatepass')}")
        return sorted(missing)

    def lines(self) -> bytes:
        """Return the list that is handed over with grain "manifest": the data by name, a JSON object on each line."""
        lines = ({"path": path, "size": size, "etag": etag} for path, etag, size, _ in self._entries())
        return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _newer(known: Arrival | None, other: Arrival) -> Arrival:
    return other if known is None or other.last_modified > known.last_modified else known


def folder_request(rule: Rule, folder: str, datastore: str, source: Source, content: Content) -> RetrainRequest | Skip:
    """Decide what a complete folder starts; `source` is who told of it.

    The content's identity is its digest: the same content never starts twice, another one does. The time in the key is
    that of the newest file.
    """
    if content.newest is None:
        return Skip(rule=rule.name, reason=f"nothing in {folder!r} is data to the rule")
    whole = Arrival(
        datastore=datastore,
        path=folder,
        etag=content.digest(),
        last_modified=content.newest,
        size=content.size,
        source=source,
        is_folder=True,
        content_md5=content.digest(by_md5=True) if rule.identity == "content" else "",
    )
    inside = {capture.name for capture in Pattern.parse(rule.folder_path(), rule.case_sensitive).captures}
    values: dict[str, Value] = {
        "folder": folder,
        "name": folder.rpartition("/")[2],
        "datastore": datastore,
        "files": content.files,
        "size": whole.size,
        "last_modified": whole.last_modified,
        **{name: value for name, value in content.captures.items() if name in inside},
    }
    return request_of(rule, whole, values, {})
