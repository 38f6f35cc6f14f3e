"""Text from outside in the logs of the local servers: a record is a line, and what belongs to it is set in."""

import http.client
import logging
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.printable import Lines, handler
from tests.apps.running import eventually
from tests.fixtures_workspace import LocalWorkspace

HOSTILE = "a\nINFO x: FORGED\r\u2028\u2029\x85\x9b31m\x1b[2J\u202e\u2066\u200f\ud800"


def shown(message: str, *args: Any, raised: Exception | None = None, stack: str | None = None) -> list[str]:
    """Return the lines that a record becomes."""
    exc_info = (type(raised), raised, None) if raised else None
    record = logging.LogRecord("x", logging.INFO, "", 0, message, args, exc_info)
    record.stack_info = stack
    return handler("%(levelname)s %(name)s: %(message)s").format(record).split("\n")


@pytest.mark.parametrize("value", [HOSTILE, ValueError(HOSTILE)])
def test_hostile_argument(value: str | Exception) -> None:
    """It stays in its line, as JSON in ASCII; the record itself is not changed."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "got %s, %d", (value, 5), None)
    line = handler("%(levelname)s %(name)s: %(message)s").format(record)
    assert line.startswith('INFO x: got "a\\nINFO x: FORGED\\r\\u2028\\u2029\\u0085\\u009b31m\\u001b[2J\\u202e')
    assert line.endswith('\\ud800", 5')
    assert line.isprintable()
    assert record.args == (value, 5)


@pytest.mark.parametrize("text", ["income/ü 100%.csv", "日本/データ.csv", "🎈.csv", 'say "x"'])
def test_argument_that_can_be_printed(text: str) -> None:
    """It is shown as it is."""
    assert shown("got %s", text) == [f"INFO x: got {text}"]


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (HOSTILE, ()),
        ("%s", (Lines(HOSTILE),)),
        ("%(of)s", ({"of": HOSTILE},)),
        ("%s", (type("O", (), {"__str__": lambda _: HOSTILE})(),)),
    ],
)
def test_lines_of_a_message(message: str, args: tuple[Any, ...]) -> None:
    """All but the first are set in, and what cannot be printed is escaped, however it came into the message."""
    first, second = shown(message, *args)
    assert (first, second.startswith("    INFO x: FORGED\\r\\u2028\\u2029\\u0085\\u009b31m\\u001b[2J")) == (
        "INFO x: a",
        True,
    )
    assert second.isprintable()


def test_traceback_of_a_hostile_exception() -> None:
    """Each of its lines is set in and can be printed; so are those of a stack."""
    _, *lines = shown("failed", raised=ValueError(HOSTILE), stack=f"Stack\n{HOSTILE}")
    assert len(lines) == 5
    assert all(line.startswith("    ") and line.isprintable() for line in lines)


def test_surrogate_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It is written, as all else; no record is lost to a fault of encoding."""
    record = logging.LogRecord("x", logging.INFO, "", 0, HOSTILE, (), None)
    made = handler("%(message)s")
    assert isinstance(made, logging.StreamHandler)
    made.setStream(sys.stderr)
    made.handle(record)
    assert "\\ud800" in capsys.readouterr().err


def test_workspaces_log_of_a_hostile_address(workspace: LocalWorkspace) -> None:
    """A path is decoded by the server; where it is refused, the log has it in one line."""
    connection = http.client.HTTPConnection(urlsplit(workspace.base_url).netloc, timeout=10)
    connection.putrequest("GET", "/hostile%0AWARNING%20FORGED%E2%80%A8%C2%85%E2%80%AE", skip_host=True)
    connection.putheader("Host", b"evil\x85")
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()
    [line] = eventually(lambda: [line for line in workspace.child.log.read_text().split("\n") if "hostile" in line])
    assert line.startswith('WARNING loopback: refused GET "/hostile\\nWARNING FORGED\\u2028\\u0085\\u202e": ')
    assert line.isprintable()
