"""The least that starts the pinned version for a blob or a call: no claim, no rules, nothing that looks after a run.

A delivery that is repeated starts another run. Never deployed; `./retrain bench` compares with it.
"""

import os

import azure.functions as func
import requests
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import ContainerClient

VERSION = "1"
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
credential = ManagedIdentityCredential()
session = requests.Session()
container = ContainerClient.from_connection_string(os.environ["TrainingStorage"], os.environ["TRAINING_CONTAINER"])


def submit(path: str) -> str:
    """Start a run on a blob that is there; return its id."""
    container.get_blob_client(path).get_blob_properties()
    token = credential.get_token("https://management.azure.com/.default").token
    body = {
        "ExperimentName": "income-retrain",
        "DataPathAssignments": {"input_data": {"DataStoreName": "training", "RelativePath": path}},
    }
    url = f"{os.environ['INCOME_ENDPOINT_URL']}/{VERSION}?pipelineVersion={VERSION}"
    answer = session.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=(5, 60))
    answer.raise_for_status()
    return str(answer.json()["Id"])


@app.blob_trigger(
    arg_name="blob",
    path="%TRAINING_CONTAINER%/{name}",
    connection="TrainingStorage",
    source=func.BlobSource.EVENT_GRID,
)
def arrive(blob: func.InputStream) -> None:
    """Act on a new blob."""
    submit(str(blob.name).partition("/")[2])


@app.route(route="retrain", methods=["POST"])
def retrain(req: func.HttpRequest) -> func.HttpResponse:
    """Act on a blob that a caller names."""
    return func.HttpResponse(submit(req.get_json()["path"]), status_code=202)
