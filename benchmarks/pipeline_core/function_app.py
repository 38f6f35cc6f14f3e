"""The same two triggers with azureml-pipeline-core, as its documentation submits a pipeline endpoint.

A delivery that is repeated starts another run. Never deployed; `./retrain bench` compares with it.
"""

import azure.functions as func
from azureml.core import Datastore
from azureml.data.datapath import DataPath
from azureml.pipeline.core import PipelineEndpoint
from place import workspace

VERSION = "1"
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


def submit(path: str) -> str:
    """Start a run on a blob; return its id."""
    ws = workspace()
    endpoint = PipelineEndpoint.get(ws, name="income")
    parameters = {"input_data": DataPath(Datastore.get(ws, "training"), path)}
    run = endpoint.submit("income-retrain", pipeline_parameters=parameters, pipeline_version=VERSION)
    return str(run.id)


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
