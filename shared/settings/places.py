"""Where in retrain.toml a key is, so that a fault names line and column.

The parser gives no places. So the file is cut into statements, each the shortest run of lines that the parser takes by
itself, and a statement with its table's header in front tells which keys it sets. Never judges what is written there.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

Keys = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, from 1."""


def places(text: str) -> dict[Keys, Place]:
    """Return where each key of sound TOML is, and where each table begins; what comes first counts."""
    found = dict[Keys, Place]()
    for keys, place in _places(text):
        found.setdefault(keys, place)
    return found


def nearest(found: dict[Keys, Place], where: str) -> Place | None:
    """Return the place of a key such as `rules[0] (income).settle.quiet`.

    Of one that is not there, the place of the table that lacks it; None when that is nowhere, either.
    """
    wanted = _keys(where)
    while wanted and wanted not in found:
        wanted = wanted[:-1]
    return found.get(wanted)


def _keys(where: str) -> Keys:
    """Return the keys that a fault names, with the numbers of lists."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", re.sub(r" \([^)]*\)", "", where))
    return tuple(int(number) if number else name for number, name in parts)


def _places(text: str) -> Iterator[tuple[Keys, Place]]:
    header, path, depth, counts = "", Keys(), 0, dict[Keys, int]()
    for first, statement in _statements(text.splitlines()):
        if statement.lstrip().startswith("["):
            header = statement
            path, depth = _path(tomllib.loads(header), counts)
            yield path, _place(first, statement, ())
            continue
        for leaf in _leaves(tomllib.loads(f"{header}\n{statement}")):
            for length in range(depth + 1, len(leaf) + 1):
                yield path + leaf[depth:length], _place(first, statement, leaf[depth:length])


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the number of its first line and the text of each header and each key with its value."""
    begun, first = "", 0
    for number, line in enumerate(lines, 1):
        if not begun and (not line.strip() or line.lstrip().startswith("#")):
            continue
        first, begun = (first, f"{begun}\n{line}") if begun else (number, line)
        try:
            tomllib.loads(begun)
        except tomllib.TOMLDecodeError:
            continue
        yield first, begun
        begun = ""


def _path(header: Any, counts: dict[Keys, int]) -> tuple[Keys, int]:
    """Return the keys of a parsed header, with the numbers of lists as the whole file has them, and how deep it nests.

    `counts` has the number of the last table of each list, by its keys.
    """
    path, depth = Keys(), 0
    while header:
        depth += 1
        if isinstance(header, list):  # [[rules]]: one more
            counts[path] = counts.get(path, -1) + 1
            path, header = (*path, counts[path]), header[0]
            continue
        [(key, header)] = header.items()
        path += (key,)
        if path in counts and isinstance(header, dict):  # [rules.settle]: of the last one
            path += (counts[path],)
    return path, depth


def _leaves(data: Any, above: Keys = ()) -> Iterator[Keys]:
    """Yield the keys of each value."""
    items = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    if not items:
        yield above
    for key, value in items:
        yield from _leaves(value, (*above, key))


def _place(first: int, statement: str, keys: Keys) -> Place:
    """Return where in a statement a key is written, as far as its name tells; else where the statement begins."""
    names = [key for key in keys if isinstance(key, str)]
    number = next((key for key in reversed(keys) if isinstance(key, int)), 0)
    written = rf"(?<![\w-])[\"']?{re.escape(names[-1])}[\"']?\s*[=.]" if names else "$^"
    found = list(re.finditer(written, statement))
    at = found[min(number, len(found) - 1)].start() if found else len(statement) - len(statement.lstrip())
    return first + statement.count("\n", 0, at), at - statement.rfind("\n", 0, at)
