"""Drives the worker alone, in a process of its own: `python -m tests.apps.drive <app>`, one JSON object on stdout.

The worker library and the worker change process-wide state (import path, folder, module globals), so tests do not use
them in their own process.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from local.host.messages import Message, blob_reference, http, json_text, text
from local.host.worker import Function, Worker

APPS = Path(__file__).parent


async def drive(app: str) -> dict[str, Any]:
    """Index an app and call what it has of the functions known here."""
    worker = Worker(APPS / app)
    functions = {function.name: function for function in await worker.start()}
    results = {}
    for name, (inputs, metadata) in _calls().items():
        if name in functions:
            outcome = await worker.invoke(functions[name], inputs, metadata, reason="test")
            value = outcome.value and outcome.value.get("http")
            results[name] = {
                "ok": outcome.ok,
                "error": outcome.error,
                "status": value and value.status_code,
                "body": value and value.body.bytes.decode("latin-1"),
            }
    await worker.drain(1)
    return {"functions": [_described(one) for one in functions.values()], "results": results, "path": sys.path}


def _calls() -> dict[str, tuple[dict[str, Message], dict[str, Message]]]:
    request = http(
        method="GET", url="http://h/api/x?a=1", headers={"x-h": "1"}, params={"p": "q"}, query={"a": "1"}, body=b""
    )
    about_blob = {
        "BlobTrigger": text("c/content/a"),
        "Uri": json_text("http://h/c/content/a"),
        "Properties": json_text({"ContentLength": 3, "ContentType": "text/plain"}),
        "Metadata": json_text({"k": "v"}),
    }
    return {
        "anything": ({"req": request}, {}),
        "fails": ({"req": request}, {}),
        "fails_async": ({"req": request}, {}),
        "announced": ({"client": blob_reference("DataStorage", "c", "ü/a b.csv")}, {}),
        "with_content": ({"stream": Message(bytes=b"abc")}, about_blob),
        "asked": ({"timer": Message(json='{"ScheduleStatus": {"Last": "then"}, "IsPastDue": true}')}, {}),
    }


def _described(function: Function) -> dict[str, Any]:
    return {"name": function.name, "id": function.id, "bindings": function.bindings}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drive(sys.argv[1]))))
