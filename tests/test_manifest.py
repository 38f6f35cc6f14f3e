"""Manifests: every form that people write one in, and what could mean something else."""

import codecs
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules.manifest import LARGEST, names

FOLDER = "income/us"
A, B, DEEP, SPACE = (f"{FOLDER}/{name}" for name in ("a.csv", "b.csv", "sub/ä b#1%20.csv", "c d.csv"))
HOST = "https://account.blob.core.windows.net"
WORKSPACE = "subscriptions/s/resourcegroups/g/workspaces/w"


@pytest.mark.parametrize(
    "text",
    [
        "a.csv\nb.csv",
        "a.csv\nb.csv\n",
        "a.csv\r\nb.csv\r\n",
        "a.csv\rb.csv\r",
        "\n\n  a.csv  \n\t\nb.csv\n\n",
        "# 2 files\n#\n## of today\n#!\na.csv\n # and\nb.csv",
        "./a.csv\n././b.csv",
        ".\\a.csv\n.\\b.csv",
        '"a.csv"\n"b.csv"',
        "'a.csv'\n'b.csv'",
        '"a.csv"\n"\\u0062.csv"',
        "income/us/a.csv\nincome\\us\\b.csv",
        "/income/us/a.csv\n\\income\\us\\b.csv",
        "./income/us/a.csv\nb.csv",
        "a.csv\nb.csv\na.csv\n./b.csv",
    ],
)
def test_names_one_a_line(text: str) -> None:
    """Whatever ends the lines and stands between them; relative to the folder or from the container's root."""
    assert names(text.encode(), FOLDER) == [A, B]


def test_names_are_taken_as_they_are() -> None:
    """Spaces, Unicode, `#`, `%`, `,` and braces are part of a name; an escape is one in a URL only."""
    text = "sub/ä b#1%20.csv\nc d.csv\nx,y;z|.csv\na{1}.csv\n./#1.csv\n./null\n./[1].csv\n./path\n"
    listed = ["sub/ä b#1%20.csv", "c d.csv", "x,y;z|.csv", "a{1}.csv", "#1.csv", "null", "[1].csv", "path"]
    assert names(text.encode(), FOLDER) == [f"{FOLDER}/{name}" for name in listed]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('"c d.csv"', "c d.csv"),
        ('"c ""d"".csv"', 'c "d".csv'),
        ('"c \\"d\\".csv"', 'c "d".csv'),
        ('"sub\\new.csv"', "sub/new.csv"),
        ('"sub\\data.csv"', "sub/data.csv"),
        ('"17"', "17"),
        ("'", "'"),
        ("o'x.csv", "o'x.csv"),
    ],
)
def test_quoted_name(line: str, name: str) -> None:
    """As JSON or as a CSV quotes; where a backslash would make no name of it, it is a separator."""
    assert names(line.encode(), FOLDER) == [f"{FOLDER}/{name}"]


@pytest.mark.parametrize(
    "encoded",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode(),
    ],
)
@pytest.mark.parametrize("text", ["a.csv\r\nsub/ä b#1%20.csv\r\n", '["a.csv", "sub/ä b#1%20.csv"]'])
def test_encodings(encoded: Any, text: str) -> None:
    """UTF-8 with and without its mark, and what some Windows tools write."""
    assert names(encoded(text), FOLDER) == [A, DEEP]


@pytest.mark.parametrize(
    "key",
    ["path", "Path", "name", "file", "filename", "fileName", "file_name", "file-path", "blob", "blob name", "key"],
)
def test_json_lines(key: str) -> None:
    """Under any key that means a name, with others beside it."""
    lines = [json.dumps({"size": 3, key: "a.csv"}), "", json.dumps({key: "b.csv", "etag": "0x8", "parts": [1]})]
    assert names("\n".join(lines).encode(), FOLDER) == [A, B]


@pytest.mark.parametrize("key", ["uri", "url", "URL"])
def test_json_lines_of_urls(key: str) -> None:
    """They mean the blob in this folder."""
    lines = [json.dumps({key: f"{HOST}/training/income/us/{name}"}) for name in ("a.csv", "b.csv")]
    assert names("\n".join(lines).encode(), FOLDER) == [A, B]


@pytest.mark.parametrize(
    "record",
    [
        {"path": "sub/x.csv", "name": "x.csv"},
        {"path": "sub/x.csv", "key": "17", "name": "yesterday"},
        {"name": "x.csv", "url": f"{HOST}/training/income/us/sub/x.csv"},
        {"file": "sub/x.csv", "blob": "income/us/sub/x.csv"},
        {"path": "sub/x.csv", "key": 17},
    ],
)
def test_several_keys_that_agree(record: dict[str, Any]) -> None:
    """`path` leaves no doubt; the others may say the same in more or fewer words."""
    assert names(json.dumps(record).encode(), FOLDER) == [f"{FOLDER}/sub/x.csv"]


ENTRIES = ["a.csv", {"path": "b.csv", "size": 1}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "document",
    [
        ENTRIES,
        [{"name": "income/us/a.csv", "properties": {"etag": "x"}}, {"name": "income/us/b.csv"}],
        {"files": ENTRIES},
        {"entries": ENTRIES, "count": 2},
        {"paths": ENTRIES, "columns": ["x", "y"]},
        {"version": 1, "name": "export 17", "File_Names": ENTRIES, "total": {"files": ["no"]}},
        {"whatever": ENTRIES},
    ],
)
def test_json_document(document: Any, indent: int | None) -> None:
    """A list, or an object with one list, on one line or pretty-printed."""
    assert names(json.dumps(document, indent=indent).encode(), FOLDER) == [A, B]


def test_json_document_of_one_entry() -> None:
    """Pretty-printed, so that it is no JSON line."""
    assert names(json.dumps({"path": "a.csv", "parts": [1]}, indent=1).encode(), FOLDER) == [A]


@pytest.mark.parametrize(
    "text",
    [
        "path,size\na.csv,1\nb.csv,2\n",
        "size;File Name\r\n1;a.csv\r\n2;b.csv\r\n",
        "rows\tfile\n1\ta.csv\n2\tb.csv\n",
        "size|filename\n1|a.csv\n2|b.csv",
        ',path,size\n0,a.csv,"1,0"\n1,"b.csv",2\n',
        '"path","size"\n"a.csv","1"\n"b.csv","2"\n',
        "# export 17\n\npath, size\n\na.csv, 1\n# half\nb.csv, 2\n",
        "path\na.csv\nb.csv\n",
        "name,url\na.csv,https://account.blob.core.windows.net/c/income/us/a.csv\nb.csv,/income/us/b.csv\n",
    ],
)
def test_csv_with_a_heading(text: str) -> None:
    """A column called like a name, wherever it stands, and any others."""
    assert names(text.encode(), FOLDER) == [A, B]


@pytest.mark.parametrize(
    "url",
    [
        f"{HOST}/training/income/us/sub/%C3%A4%20b%231%2520.csv",
        f"{HOST}:443/training/income/us/sub/%c3%a4%20b%231%2520.csv?sv=2024&sig=a%2Fb#x",
        "https://account.dfs.core.windows.net/training/income/us/sub/ä b%231%2520.csv",
        "HTTP://127.0.0.1:10000/devstoreaccount1/training/income/us/sub/ä b%231%2520.csv",
        "http://azurite:10000/devstoreaccount1/training/income/us/sub/ä b%231%2520.csv",
        "abfss://training@account.dfs.core.windows.net/income/us/sub/ä b#1%20.csv",
        "abfs:///income/us/sub/ä b#1%20.csv",
        "wasbs://training@account.blob.core.windows.net/income/us/sub/ä b#1%20.csv",
        "azureml://datastores/training/paths/income/us/sub/ä b#1%20.csv",
        f"azureml://{WORKSPACE}/datastores/training/paths/income/us/sub/ä b#1%20.csv",
    ],
)
def test_urls_of_blobs_in_the_folder(url: str) -> None:
    """Of any of the services that show the container; only those of the web are percent-encoded."""
    assert names(url.encode(), FOLDER) == [DEEP]


def test_path_of_a_datastore_may_have_any_segments() -> None:
    """The first `/paths/` after the datastore's name is the one that counts."""
    url = "azureml://datastores/training/paths/datastores/x/paths/a.csv"
    assert names(url.encode(), "datastores/x/paths") == ["datastores/x/paths/a.csv"]


def test_manifest_that_lists_itself_and_the_marker() -> None:
    """They are names like any other: both are in the folder when it is complete."""
    assert names(b"files.txt\n_SUCCESS\na.csv", FOLDER) == [f"{FOLDER}/files.txt", f"{FOLDER}/_SUCCESS", A]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a.csv\n\nnull", 3, "null is no name; if a file is called so, write './null'"),
        ("a.csv\n17", 2, "17 is no name"),
        ("-1.5e3", 1, "is no name"),
        ("true", 1, "is no name"),
        ('{"path": "a.csv"}\n{"size": 3}', 2, "no 'path' among 'size'"),
        ("{}", 1, "no 'path'"),
        ('{"path": null}', 1, "'path' is null"),
        ('{"path": "a.csv"}\n{"path": 3}', 2, "'path' is 3"),
        ('{"path": ""}', 1, "there is none"),
        ('["a.csv", null]', 1, "got null"),
        ('["a.csv", 3]', 1, "got 3"),
        ('[\n  "a.csv",\n\n  ["b.csv"]\n]', 4, 'got ["b.csv"]'),
        ('{\n  "count": 1,\n  "files": [\n    "a.csv",\n    {"size": 1}\n  ]\n}', 5, "no 'path'"),
        ('{"file": "a.csv", "key": "b.csv"}', 1, "'file', 'key' name different files"),
        ('{"file": "a.csv", "name": "sub/xa.csv"}', 1, "name different files"),
        ('{"path": "x", "files": ["a.csv"]}', 1, "not clear which of 'path', 'files'"),
        ('{"files": ["a.csv"], "paths": ["b.csv"]}', 1, "not clear which"),
        ('{"x": ["a.csv"], "y": ["b.csv"]}', 1, "not clear which"),
        ('{"files": {"a.csv": 1}}', 1, "no 'path' among 'files'"),
        ('["a.csv",\n "b.csv"', 2, "cut or broken"),
        ('{"files": ["a.csv", ', 1, "cut or broken"),
        ('{"path": "a.csv"}\n{"path": "b.c', 2, "cut or broken"),
        ('{"path": "a.csv"},\n{"path": "b.csv"}', 1, "cut or broken"),
        ('a.csv\n["b.csv"', 2, "cut or broken"),
        ("[" * 100_000, 1, "cannot be read"),
        ("[" + "1" * 5000 + "]", 1, "cannot be read"),
        ("a.csv\n" + "[" * 100_000, 2, "cut or broken"),
        ("a.csv\n../b.csv", 2, "'..' segment"),
        ("sub/../a.csv", 1, "'..' segment"),
        (f"{HOST}/training/income/us/../de/a.csv", 1, "'..' segment"),
        ("/a.csv", 1, "is not in this folder"),
        ("/income/de/a.csv", 1, "is not in this folder"),
        ("//income/us/a.csv", 1, "is not in this folder"),
        ("\\\\server\\income\\us\\a.csv", 1, "is not in this folder"),
        ("C:\\income\\us\\a.csv", 1, "is not in this folder"),
        ("dbfs:/income/us/a.csv", 1, "is not in this folder"),
        (f"{HOST}/training/income/de/a.csv", 1, "is not in this folder"),
        (f"{HOST}/income/us/a.csv", 1, "is not in this folder"),
        (f"{HOST}/training/x/income/us/a.csv", 1, "is not in this folder"),
        ("abfss://training@account.dfs.core.windows.net/income/usa/a.csv", 1, "is not in this folder"),
        ("azureml://jobs/j/outputs/income/us/a.csv", 1, "no URL of a blob that is known"),
        ("s3://training/income/us/a.csv", 1, "s3://training/... is no URL of a blob that is known"),
        ("file:///income/us/a.csv", 1, "no URL of a blob that is known"),
        (f"{HOST}/training/income/us/%ff.csv", 1, "utf-8"),
        (f"{HOST}/training/income/us/a%5Cb.csv", 1, "backslash"),
        ("a.csv\nsub/", 2, "is a directory"),
        ("sub\\", 1, "is a directory"),
        (".", 1, "is a directory"),
        ("income/us", 1, "is a directory"),
        ("/income/us/", 1, "is a directory"),
        (f"{HOST}/training/income/us/sub/", 1, "is a directory"),
        ("a\tb.csv", 1, "control character"),
        ("a\0.csv", 1, "control character"),
        ('{"path": "a\\nb.csv"}', 1, "control character"),
        ('{"path": "\\ud800"}', 1, "surrogate"),
        ("x" * 1100, 1, "1,110 characters"),
        ("a.csv\n#b.csv", 2, "a comment or a name"),
        ('a.csv\n"b.csv","3"', 2, "no heading says which"),
        ('a.csv\n"b.csv', 2, "quotes do not match"),
        ("path,size\na.csv,1\nb.csv", 3, "it has 1 columns, and the heading 2"),
        ("path,size\na.csv,1\n,2", 3, "there is none"),
        ("file,key\na.csv,17", 2, "name different files"),
        ("path,path\na.csv,b.csv", 1, "a column twice"),
        ('path,size\n"a.csv,1', 2, "quotes do not match"),
        ("", 1, "lists nothing"),
        (" \n\n", 1, "lists nothing"),
        ("# nothing today", 1, "lists nothing"),
        ("path,size", 1, "lists nothing"),
        ("[]", 1, "lists nothing"),
        ('{"files": []}', 1, "lists nothing"),
    ],
)
def test_what_could_mean_anything_is_an_error_with_its_line(text: str, line: int, told: str) -> None:
    """Nothing is waited for, or left out, by a guess."""
    with pytest.raises(ValueError, match=rf"^line {line}: ") as caught:
        names(text.encode(), FOLDER)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a.csv\nb\xff.csv", "line 2: it is not UTF-8"),
        (codecs.BOM_UTF16_LE + b"a\0b", "line 1: it is not UTF-16"),
        ("a.csv".encode("utf-16-le"), "line 1: path .* control character"),
        (b"PAR1\x00\x15\x04\x15", "line 1: .* control character"),
        (b"\x1f\x8b\x08\x00\x00", "line 1: it is not UTF-8"),
    ],
)
def test_other_encodings_are_no_text(content: bytes, told: str) -> None:
    """Neither another encoding nor data that is called like a manifest."""
    with pytest.raises(ValueError, match=told):
        names(content, FOLDER)


def test_largest_manifest() -> None:
    """Exactly so many bytes are read; one more may have been cut."""
    content = b"a.csv\n#" + b" " * (LARGEST - 7)
    assert names(content, FOLDER) == [A]
    with pytest.raises(ValueError, match="more than 33,554,432 bytes"):
        names(content + b"\n", FOLDER)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    """Names in the folder, or a ValueError: nothing else comes out."""
    read_or_refused(content)


def read_or_refused(content: bytes) -> None:
    """Read a manifest, and look at what comes out."""
    try:
        found = names(content, FOLDER)
    except ValueError:
        return
    assert all(name.startswith(f"{FOLDER}/") for name in found)
    assert len(set(found)) == len(found)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["path", "files", "name"]), inner),
)


@given(JSONS, st.sampled_from([None, 1]))
def test_any_json_is_read_or_refused(document: Any, indent: int | None) -> None:
    """Also pretty-printed, and however deep."""
    read_or_refused(json.dumps(document, indent=indent).encode())


NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1, max_size=50)


@given(st.lists(NAME.filter(lambda name: name.strip() and name not in (".", "..")), min_size=1, unique=True))
def test_any_names_come_through_as_json(listed: list[str]) -> None:
    """What has a form of its own needs no care with characters."""
    expected = [f"{FOLDER}/{name}" for name in listed]
    assert names(json.dumps([{"path": name} for name in listed]).encode(), FOLDER) == expected
    assert names(json.dumps([f"{FOLDER}/{name}" for name in listed], indent=1).encode(), FOLDER) == expected


@pytest.mark.parametrize(
    ("line", "name"), [("'a b.csv'", "a b.csv"), ("'a.csv", "'a.csv"), ("a.csv'", "a.csv'"), ("''", "''")]
)
def test_quotes_around_a_whole_line_only(line: str, name: str) -> None:
    """What stands at one end, or has nothing between, is part of the name."""
    assert names(f"{line}\nz.csv".encode(), FOLDER) == [f"{FOLDER}/{name}", f"{FOLDER}/z.csv"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\x00\xff", 2),
        ('\n\n[1, "a.csv"]', 3),
        ('\n{"path": null}', 2),
        ("path,size\na.csv,1,2\n", 2),
        ("path,size\na.csv\n", 2),
    ],
)
def test_line_that_is_named_when_the_file_begins_with_blank_ones(text: str, line: int) -> None:
    """Blank lines count; a row of a table has as many cells as its heading."""
    with pytest.raises(ValueError, match=f"line {line}"):
        names(text.encode("latin-1"), FOLDER)


@pytest.mark.parametrize("other", ["uri", "name", "file"])
def test_path_is_the_one_where_an_object_has_several_names(other: str) -> None:
    """It leaves no doubt."""
    assert names(f'{{"{other}": "b.csv", "path": "a.csv"}}'.encode(), FOLDER) == [f"{FOLDER}/a.csv"]
