"""What a fresh workspace holds: datastore `training` and endpoint `income`, whose two versions train differently.

Fixed ids, so that configuration written once stays right. Never touches storage.
"""

from local.workspace.catalog import DataParameter, GradientBoosting, LogisticRegression, Parameter, Publication
from local.workspace.state import Datastore, Workspace

ENDPOINT_ID = "11111111-1111-4111-8111-111111111111"
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
    models: tuple[LogisticRegression | GradientBoosting, ...] = (LogisticRegression(), GradientBoosting())
    for number, (pipeline_id, model) in enumerate(zip(PIPELINE_IDS, models, strict=True)):
        content = Publication(
            name=f"income-{number}",
            description="Predicts from census data whether a person's income exceeds 50K.",
            version=f"{number + 1}.0",
            parameters=PARAMETERS,
            data_paths=(INPUT,),
            model=model,
        )
        workspace.publish(content, pipeline_id)
    endpoint = workspace.add_endpoint("income", PIPELINE_IDS[0], "Income prediction", ENDPOINT_ID)
    endpoint.versions["1"] = PIPELINE_IDS[1]
