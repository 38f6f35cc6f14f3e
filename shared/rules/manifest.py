"""Reads a manifest: the file in which a writer lists what a complete folder holds.

There is no standard for it, so the forms that people write are read, as long as each entry can mean one blob only:

    names           one a line, quoted or not; between them blank lines and comments (`# ...`)
    JSON lines      a text, or an object with a name, on each line
    JSON            a list of such, or an object with one list of them
    CSV             a heading with a column of names; separated by comma, semicolon, tab or bar

A name is relative to the folder, or begins with the folder's own path, or is the URL of a blob in the folder. Never
guesses: what could mean another blob, or none, is an error that names the line. Never reads the files that are listed.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from shared.errors import BadRequestError, masked, shown
from shared.rules.arrival import checked_path

LARGEST = 32 * 2**20
"""Bytes; what is larger is no list of names. Who reads a manifest reads one byte more, so that none is cut unseen."""

# Keys of a name and of a list of names; see `_key`.
_NAMES = {"path", "name", "file", "filename", "filepath", "blob", "blobname", "key", "uri", "url"}
_LISTS = {f"{key}s" for key in _NAMES} | {"entries", "items"}
_COMMENT = re.compile(r"#(?:[#!\s]|$)")
_SCALAR = re.compile(r"null|true|false|NaN|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?(.*)", re.DOTALL)
_DATASTORE = re.compile(r"(?:.*?/)??datastores/[^/]+/paths/(.+)", re.DOTALL)
_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:/")
_LOCAL = re.compile(r"[^.]*|[0-9.]+")  # hosts of the storage emulator, where the account is in the path
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def names(content: bytes, folder: str) -> list[str]:
    """Return the full names of the blobs that a manifest lists, each once, in its order.

    `folder` is the path of the folder that the manifest is in, without a slash at either end. Raises ValueError, which
    names the line of what cannot be read without doubt.
    """
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    text = _decoded(content)
    found = dict[str, None]()
    for line, entry in _document(text) if text.lstrip()[:1] in ("[", "{") else _lines(text):
        try:
            found[_meant(entry, folder)] = None
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from error
    if not found:
        raise ValueError("line 1: it lists nothing")
    return list(found)


def _decoded(content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: it is not {'UTF-16' if wide else 'UTF-8'}") from error


def _document(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a JSON document, each with its line. Several documents, one a line, are lines."""
    start = _skip(text, 0)
    try:
        whole, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: its JSON is cut or broken ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists in lists in lists
        raise ValueError("line 1: its JSON cannot be read") from error
    if _skip(text, end) < len(text):
        return _lines(text)
    if isinstance(whole, list):
        return _elements(text, start)
    line = text.count("\n", 0, start) + 1
    try:
        key = _list_key(whole)
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error
    return iter([(line, whole)]) if key is None else _elements(text, _value_at(text, start, key))


def _list_key(whole: dict[str, Any]) -> str | None:
    """Return which key of an object holds the list of names; None: it is an entry itself."""
    lists = [key for key, value in whole.items() if isinstance(value, list)]
    known = [key for key in lists if _key(key) in _LISTS]
    if not known and any(_key(key) in _NAMES for key in whole):
        return None
    if len(known or lists) > 1 or (known and any(_key(key) == "path" for key in whole)):
        raise ValueError(f"it is not clear which of {', '.join(map(repr, whole))} has the names")
    return next(iter(known or lists), None)


def _value_at(text: str, start: int, wanted: str) -> int:
    """Return where the value of a key begins, in the object that begins at `start`."""
    at, found = start, start
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, _skip(text, at + 1))
        value = _skip(text, _skip(text, at) + 1)
        if key == wanted:  # given twice, the last one counts, as it does everywhere
            found = value
        at = _skip(text, _DECODER.raw_decode(text, value)[1])
    return found


def _elements(text: str, start: int) -> Iterator[tuple[int, Any]]:
    """Yield the elements of the list that begins at `start`, each with its line."""
    line, counted, at = 1, 0, _skip(text, start + 1)
    while text[at] != "]":
        line, counted = line + text.count("\n", counted, at), at
        value, at = _DECODER.raw_decode(text, at)
        yield line, value
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    """Return where the next character is that is not blank."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the entry of each line that has one. The first may be a heading; the others are rows then."""
    heading: tuple[str, list[str]] | None = None
    first = True
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = raw.strip()
        if not line or _COMMENT.match(line):
            continue
        try:
            if first and (heading := _heading(line)):
                continue
            entry = _row(line, *heading) if heading else _entry(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        finally:
            first = False
        yield number, entry


def _heading(line: str) -> tuple[str, list[str]] | None:
    """Return delimiter and columns of a CSV when the line is its heading: one column is called like a name."""
    for delimiter in ",;\t|":
        columns = _cells(line, delimiter, strict=False)
        if any(_key(column) in _NAMES for column in columns):
            if len(set(columns)) < len(columns):
                raise ValueError("the heading has a column twice")
            return delimiter, columns
    return None


def _row(line: str, delimiter: str, columns: list[str]) -> dict[str, str]:
    cells = _cells(line, delimiter)
    if len(cells) != len(columns):
        raise ValueError(f"it has {len(cells)} columns, and the heading {len(columns)}")
    return dict(zip(columns, cells, strict=True))


def _cells(line: str, delimiter: str, strict: bool = True) -> list[str]:
    try:
        [cells] = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=strict)
    except csv.Error as error:
        raise ValueError(f"its quotes do not match ({error})") from error
    return [cell.strip() for cell in cells]


def _entry(line: str) -> Any:
    """Return what a line without a heading says: a name or an object."""
    if _SCALAR.fullmatch(line):
        raise ValueError(f"{line} is no name; if a file is called so, write './{line}'")
    if line[0] in "[{":
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its JSON is cut or broken; if a file is called so, write './{line[:20]}...'") from error
    if line[0] == "#":
        raise ValueError(f"is it a comment or a name? Write '# {line[1:20]}...' or './{line[:20]}...'")
    if line[0] == line[-1] == "'" and len(line) > 2:
        return line[1:-1]
    return _unquoted(line) if line[0] == '"' else line


def _unquoted(line: str) -> str:
    """Return the text of a quoted line: as JSON, or, where that makes no name of it, as in a CSV."""
    try:
        text = json.loads(line)
    except ValueError:
        text = ""
    if text and min(text) >= " ":  # no control characters, as of `"sub\new.csv"`
        return str(text)
    cells = _cells(line, ",")
    if len(cells) > 1:
        raise ValueError("it has several columns, and no heading says which one is the name")
    return cells[0]


def _meant(entry: Any, folder: str) -> str:
    """Return the full name of the blob that an entry means."""
    if isinstance(entry, str):
        return _full(entry, folder)
    if not isinstance(entry, dict):
        raise ValueError(f"expected a name, or an object with one; got {masked(json.dumps(entry))[:40]}")
    named = {key: value for key, value in entry.items() if _key(key) in _NAMES}
    named = {key: value for key, value in named.items() if _key(key) == "path"} or named  # which leaves no doubt
    if not named:
        raise ValueError(masked(f"no 'path' among {', '.join(map(repr, entry))}")[:200])
    for key, value in named.items():
        if not isinstance(value, str):
            raise ValueError(f"{key!r} is {masked(json.dumps(value))[:40]}, which is no name")
    *others, longest = sorted({_full(value, folder) for value in named.values()}, key=len)
    for other in others:  # `a.csv` beside `sub/a.csv` is the same file's
        if not longest.endswith(other.removeprefix(folder)):
            raise ValueError(f"{', '.join(map(repr, named))} name different files")
    return longest


def _full(text: str, folder: str) -> str:
    """Return the full name that a name or URL means."""
    url = _URL.fullmatch(text)
    path = _path_of(*url.groups()) if url else text.replace("\\", "/")
    segments = path.split("/")
    if not path.strip():
        raise ValueError("expected a name; there is none")
    if segments[-1] in ("", ".") or path.strip("/") == folder:
        raise ValueError(f"{shown(text)} is a directory; only files are listed")
    if ".." in segments:
        raise ValueError(f"{shown(text)} has a '..' segment")
    absolute = url or _ABSOLUTE.match(path)
    path = "/".join(segment for segment in segments if segment != ".").removeprefix("/")
    if not path.startswith(f"{folder}/"):
        if absolute:
            raise ValueError(f"{shown(text)} is not in this folder, {folder!r}")
        path = f"{folder}/{path}"
    try:
        return checked_path(path)
    except BadRequestError as error:
        raise ValueError(str(error)) from error


def _path_of(scheme: str, host: str, rest: str) -> str:
    """Return the path below the container's root that a URL means."""
    match scheme.lower():
        case "abfss" | "abfs" | "wasbs" | "wasb":  # container@account/path
            return rest
        case "azureml":  # [...]/datastores/NAME/paths/path
            if found := _DATASTORE.fullmatch(f"{host}/{rest}"):
                return found[1]
        case "https" | "http":  # account/container/path
            before = 2 if _LOCAL.fullmatch(host.partition(":")[0]) else 1
            return unquote("/".join(re.split("[?#]", rest)[0].split("/")[before:]), errors="strict")
    raise ValueError(f"{scheme}://{host}/... is no URL of a blob that is known here")


def _key(text: str) -> str:
    """Return a key or column as it is compared: `File_Name` is `filename`."""
    return re.sub(r"[\s_-]", "", text).lower()
