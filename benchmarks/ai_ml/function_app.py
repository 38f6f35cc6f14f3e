"""The same two triggers with azure-ai-ml, as its documentation invokes a batch endpoint.

It knows no pipeline endpoints. A delivery that is repeated starts another run. Never deployed; `./retrain bench`
compares with it.
"""

import functools
import os

import azure.functions as func
from azure.ai.ml import Input, MLClient
from azure.identity import ManagedIdentityCredential

DEPLOYMENT = "income-1"
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@functools.cache
def client() -> MLClient:
    """Return the workspace's client, in a cloud whose management address is the stand-in's: the only difference."""
    url = os.environ["WORKSPACE_URL"]
    _, _, subscription, _, group, _, _, _, name = os.environ["WORKSPACE_PATH"].split("/")
    cloud = {
        "resource_manager": url,
        "azure_portal": url,
        "active_directory": url,
        "aml_resource_id": "https://ml.azure.com/",
        "storage_endpoint": "core.windows.net",
        "registry_discovery_endpoint": url,
    }
    options = {"cloud": "stand-in", "cloud_metadata": cloud, "enable_telemetry": False}
    return MLClient(ManagedIdentityCredential(), subscription, group, name, **options)


def submit(path: str) -> str:
    """Start a job on a blob; return its name."""
    data = Input(type="uri_file", path=f"azureml://datastores/training/paths/{path}")
    job = client().batch_endpoints.invoke(
        "income-batch", deployment_name=DEPLOYMENT, inputs={"input_data": data}, experiment_name="income-retrain"
    )
    return str(job.name)


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
