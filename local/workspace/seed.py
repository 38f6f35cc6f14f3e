"""What a fresh workspace holds: datastore `training` and endpoint `income`, whose two versions train differently.

Fixed ids, so that configuration written once stays right; further endpoints of the same kind are made on demand.
Never touches storage.
"""

from collections.abc import Sequence

from local.workspace.batch.catalog import BatchEndpoint, Deployment, component_of
from local.workspace.catalog import (
    DataParameter,
    Endpoint,
    GradientBoosting,
    LogisticRegression,
    Parameter,
    Publication,
)
from local.workspace.state import Datastore, Workspace

ENDPOINT_ID = "11111111-1111-4111-8111-111111111111"
BATCH_ENDPOINT = "income-batch"
COMPONENT = "income_train"
PIPELINE_IDS = ("22222222-2222-4222-8222-222222222220", "22222222-2222-4222-8222-222222222221")

DATASTORE = Datastore(name="training", container="training-data")
PARAMETERS = (
    Parameter(name="test_fraction", type="Double", default=0.25),
    Parameter(name="seed", type="Int", default=0),
    Parameter(name="country", type="String", default="us"),
)
INPUT = DataParameter(name="input_data", datastore=DATASTORE.name, path="income/us/adult.csv")


def seed(workspace: Workspace) -> None:
    """Bring the workspace back to its first state."""
    workspace.clear()
    workspace.datastores[DATASTORE.name] = DATASTORE
    for number, pipeline_id in enumerate(PIPELINE_IDS):
        workspace.publish(_income("income", number), pipeline_id)
    endpoint = workspace.add_endpoint("income", PIPELINE_IDS[0], "Income prediction", ENDPOINT_ID)
    endpoint.versions["1"] = PIPELINE_IDS[1]
    add_batch_endpoint(workspace, BATCH_ENDPOINT, COMPONENT, PIPELINE_IDS)


def make_pipeline_endpoint(workspace: Workspace, name: str, versions: int) -> Endpoint:
    """Make an endpoint with so many versions, the first its default, each an income pipeline of its own."""
    pipelines = [workspace.publish(_income(name, number)) for number in range(versions)]
    endpoint = workspace.add_endpoint(name, pipelines[0].id, "Income prediction")
    endpoint.versions = {str(number): pipeline.id for number, pipeline in enumerate(pipelines)}
    return endpoint


def make_batch_endpoint(workspace: Workspace, name: str, deployments: int) -> BatchEndpoint:
    """Make a batch endpoint with so many deployments, the first its default, each of a component of its own."""
    pipelines = [workspace.publish(_income(name, number)).id for number in range(deployments)]
    return add_batch_endpoint(workspace, name, f"{name}_train", pipelines)


def add_batch_endpoint(workspace: Workspace, name: str, component: str, pipeline_ids: Sequence[str]) -> BatchEndpoint:
    """Add a batch endpoint with a deployment for each published pipeline, the first its default."""
    deployments = dict[str, Deployment]()
    for number, pipeline_id in enumerate(pipeline_ids):
        made = component_of(component, str(number), workspace.pipeline(pipeline_id))
        deployments[f"income-{number}"] = Deployment(f"income-{number}", made)
    workspace.batch_endpoints[name] = BatchEndpoint(name, deployments, "income-0")
    return workspace.batch_endpoints[name]


def _income(name: str, number: int) -> Publication:
    """Return what is published as version `number` of an endpoint: linear models and boosted trees by turns."""
    return Publication(
        name=f"{name}-{number}",
        description="Predicts from census data whether a person's income exceeds 50K.",
        version=f"{number + 1}.0",
        parameters=PARAMETERS,
        data_paths=(INPUT,),
        model=GradientBoosting() if number % 2 else LogisticRegression(),
    )
