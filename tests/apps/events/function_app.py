"""Blob functions whose source is Event Grid: nothing runs for them unless somebody announces a blob."""

import json
import os

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient

app = func.FunctionApp()


@app.blob_trigger(
    arg_name="client", path="%CONTAINER%/{name}", connection="DataStorage", source=func.BlobSource.EVENT_GRID
)
def announced(client: BlobClient) -> None:
    with open(os.environ["RECORD"], "a") as file:  # noqa: PTH123 - one write, so that processes do not mix lines
        file.write(json.dumps({"function": "announced", "name": client.blob_name}) + "\n")
