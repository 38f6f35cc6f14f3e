"""JSON and values are read as types through one door, which threads may come to at once."""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shared.reading import convert, decode

ROOT = Path(__file__).parents[1]
FILES = [path for room in ("shared", "functions") for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_reads_past_the_door(path: Path) -> None:
    """msgspec by itself crashes the process when two threads read the same struct first (the next test)."""
    if path.name == "reading.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            is_typed = len(node.args) > 1 or any(one.arg == "type" for one in node.keywords)
            reads = name in ("msgspec.convert", "msgspec.json.Decoder") or (name == "msgspec.json.decode" and is_typed)
            assert not reads, f"line {node.lineno}: read it with shared/reading.py"


FIRST = """
import sys, threading
import msgspec
from shared.reading import decode
sys.setswitchinterval(1e-6)
content = msgspec.json.encode({f"f{number}": 1 for number in range(40)})
for _ in range(ROUNDS):
    inner = msgspec.defstruct("Inner", [("a", int, 0)], namespace={"__module__": __name__})
    globals()["Inner"] = inner
    fields = [(f"f{number}", "int | None | list[int] | dict[str, Inner]", None) for number in range(40)]
    kind = msgspec.defstruct("Kind", fields, namespace={"__module__": __name__})
    barrier = threading.Barrier(4)
    def read():
        barrier.wait()
        READ
    threads = [threading.Thread(target=read) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print("alive")
"""


def first_by_four(read: str, rounds: int) -> subprocess.CompletedProcess[str]:
    """Let four threads read so many new types, all four at once; about one in a hundred ends an unguarded process."""
    command = [sys.executable, "-c", FIRST.replace("READ", read).replace("ROUNDS", str(rounds))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_threads_that_read_the_same_type_first() -> None:
    """All of them do, and the process lives."""
    done = first_by_four("decode(content, kind)", 1000)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a crash is told by another code there")
def test_the_door_is_needed() -> None:
    """Without it the process dies. When this fails, msgspec has mended it: then `shared/reading.py` can go."""
    assert first_by_four("msgspec.json.decode(content, type=kind)", 10_000).returncode < 0


def test_what_is_read() -> None:
    """As by msgspec; what is no such value is its error."""
    assert decode(b"[1, 2]", list[int]) == [1, 2]
    assert convert("2", int, strict=False) == 2
    with pytest.raises(msgspec.ValidationError):
        convert("2", int)
    with pytest.raises(msgspec.DecodeError):
        decode(b"[", list[int])
