"""Functions for odd input: a blob function that fails with the blob's name, a queue, routes, and answers that are none.

The app's own lines of the log and its exceptions repeat what came from outside, as careless apps do.
"""

import json
import logging
import os

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient

app = func.FunctionApp()


def record(**seen: object) -> None:
    with open(os.environ["RECORD"], "a") as file:  # noqa: PTH123 - one write, so that processes do not mix lines
        file.write(json.dumps(seen) + "\n")


@app.blob_trigger(
    arg_name="client", path="%CONTAINER%/{name}", connection="DataStorage", source=func.BlobSource.EVENT_GRID
)
def announced(client: BlobClient) -> None:
    record(function="announced", name=client.blob_name)
    if "failing" in client.blob_name:
        logging.getLogger("careless").warning(f"looking at {client.blob_name}")
        raise RuntimeError(f"cannot read {client.blob_name}")


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="")
def work(message: func.QueueMessage) -> None:
    record(function="work", body=message.get_body().decode())


@app.route("echo/{*rest}")
def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(dict(req.route_params)), mimetype="application/json")


ANSWERS = {
    "status-of-five-digits": {"status_code": 99999},
    "status-zero": {"status_code": 0},
    "status-of-a-beginning": {"status_code": 100},
    "name-with-a-blank": {"headers": {"X Y": "1"}},
    "value-beyond-latin": {"headers": {"X": "\u2028"}},
    "value-with-a-nul": {"headers": {"X": "a\x00b"}},
    "value-of-two-lines": {"headers": {"X": "a\r\nSet-Cookie: b=1"}},
    "length-that-is-not": {"headers": {"Content-Length": "50"}},
    "no-content-with-a-body": {"status_code": 204},
}


@app.route("answers/{kind}")
def answers(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", **ANSWERS[req.route_params["kind"]])  # type: ignore[arg-type]
