"""Blob functions that scan: by reference, with content, one that fails, and the poison queue's function.

Each invocation is written to the file that RECORD names, one JSON line.
"""

import json
import os
import time

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient

app = func.FunctionApp()


def record(**seen: object) -> None:
    with open(os.environ["RECORD"], "a") as file:  # noqa: PTH123 - one write, so that processes do not mix lines
        file.write(json.dumps(seen) + "\n")


@app.blob_trigger(arg_name="client", path="%CONTAINER%/reference/{name}.csv", connection="DataStorage")
def by_reference(client: BlobClient, context: func.Context) -> None:
    properties = client.get_blob_properties()
    record(function=context.function_name, name=client.blob_name, etag=properties.etag, at=time.time())


@app.blob_trigger(arg_name="stream", path="%CONTAINER%/content/{name}", connection="DataStorage")
async def with_content(stream: func.InputStream) -> None:
    record(
        function="with_content",
        name=stream.name,
        length=stream.length,
        uri=stream.uri,
        content=stream.read().decode(),
        metadata=stream.metadata,  # type: ignore[attr-defined] # the abstract class is what the SDK exports
        kind=stream.blob_properties["ContentType"],  # type: ignore[attr-defined]
    )


@app.blob_trigger(arg_name="client", path="%CONTAINER%/failing/{name}", connection="DataStorage")
def failing(client: BlobClient) -> None:
    record(function="failing", name=client.blob_name)
    raise RuntimeError("on purpose")


@app.blob_trigger(arg_name="client", path="%CONTAINER%/slow/{name}", connection="DataStorage")
def slow(client: BlobClient) -> None:
    record(function="slow", name=client.blob_name, pid=os.getpid())
    time.sleep(float(os.environ.get("SLOW_S", "0")))
    record(function="slow-done", name=client.blob_name, pid=os.getpid())


@app.queue_trigger(arg_name="message", queue_name="webjobs-blobtrigger-poison", connection="DataStorage")
def bury(message: func.QueueMessage) -> None:
    record(function="bury", message=json.loads(message.get_body()))
