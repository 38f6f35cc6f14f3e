"""Values that several tests begin with. Holds no tests."""

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.arrival import Arrival, Source
from shared.rules import DataPathParameter, RetrainRequest, Rule, match
from shared.settings import Datastore, PipelineEndpoint, Settings

ENDPOINT_URL = (
    "http://127.0.0.1:7081/pipelines/v1.0/subscriptions/s/resourceGroups/g"
    "/providers/Microsoft.MachineLearningServices/workspaces/w/PipelineRuns/PipelineEndpointSubmit/Id/e"
)
WRITTEN = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
RULE = Rule(
    name="income-files",
    datastore="training",
    path="income/**/*.csv",
    pipeline="income",
    data_path=DataPathParameter(parameter="input_data"),
)
PINS = {"income": "1"}


def arrival(path: str = "income/us/a.csv", **changes: Any) -> Arrival:
    """Return an arrival of a blob of its own version."""
    values = {"datastore": "training", "path": path, "etag": uuid.uuid4().hex, "last_modified": WRITTEN, "size": 1}
    return Arrival(**{**values, "source": Source.BLOB_SCAN, **changes})


def retrain_request(rule: str | None = None, **changes: Any) -> RetrainRequest:
    """Return the request that RULE (or one of another name) makes of an arrival of its own."""
    rule_ = msgspec.structs.replace(RULE, name=rule or RULE.name)
    [decision] = match([rule_], PINS, arrival(**changes), {})
    assert isinstance(decision, RetrainRequest)
    return decision


def settings(url: str = ENDPOINT_URL, **changes: Any) -> Settings:
    """Return settings like those of the shipped retrain.toml."""
    pipeline = PipelineEndpoint(url=url, version="1", experiment="income-retrain")
    values: dict[str, Any] = {
        "datastores": {"training": Datastore(container="training-data", connection="TrainingStorage")},
        "pipelines": {"income": pipeline},
        "rules": (RULE,),
        "blob_source": "LogsAndContainerScan",
    }
    return Settings(**{**values, **changes})
