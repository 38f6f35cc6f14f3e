"""The deployed package before Microsoft's worker library, in an environment that has only what is deployed.

    python -m tests.package_worker FOLDER

Indexes the app of the unpacked package, asks GET /api/status twice, and prints one JSON object. The log is set up as
the platform's worker does it, everything from INFO on. Holds no tests, and judges nothing.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from local.host.messages import http
from local.host.worker import Worker


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = list[logging.LogRecord]()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.kept.append(record)


async def ask(folder: Path) -> dict[str, Any]:
    """Return what the app has and answers, what it logged, and which of its modules had to be compiled."""
    compiled = list[str]()

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event == "compile" and str(details[1]).startswith(str(folder)):
            compiled.append(str(details[1]))

    sys.addaudithook(note)
    records = Records()
    logging.basicConfig(level=logging.INFO, handlers=[records], force=True)
    worker = Worker(folder)
    functions = {function.name: function for function in await worker.start()}
    request = http(method="GET", url="http://h/api/status", headers={}, params={}, query={}, body=b"")
    answers = list[Any]()
    for _ in range(2):
        outcome = await worker.invoke(functions["status"], {"req": request}, {}, reason="test")
        answers.append(outcome.value and outcome.value.get("http"))
    await worker.drain(1)
    return {
        "functions": list(functions),
        "answers": [{"status": one.status_code, "body": json.loads(one.body.bytes)} for one in answers],
        "modules": [
            name for name, one in sys.modules.items() if str(getattr(one, "__file__", "")).startswith(str(folder))
        ],
        "compiled": compiled,
        "logged": [{"logger": one.name, "level": one.levelname, "message": one.getMessage()} for one in records.kept],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(Path(sys.argv[1]).resolve()))))
