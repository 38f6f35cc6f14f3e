"""Values that several tests begin with. Holds no tests."""

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from shared.rules.arrival import Arrival, Source
from shared.rules.decision import RetrainRequest
from shared.rules.match import match
from shared.rules.rule import DataPathParameter, Rule, Settle

if TYPE_CHECKING:  # the rules' own tests need no settings
    from shared.ledger.table import Ledger
    from shared.settings.model import Settings

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
# A rule for folders: a day's parts, complete with a marker and all that a manifest lists.
DAY = "in/us/2026-01-31"
FOLDERS = msgspec.structs.replace(
    RULE,
    name="folders",
    path="in/{country}/{day:date}/part-{n:int}.csv",
    data_path=DataPathParameter(parameter="input_data", grain="folder"),
    parameters={"country": "{country}", "day": "{day:%Y%m%d}", "files": "{files}", "size": "{size}", "of": "{name}"},
    settle=Settle(marker="_SUCCESS", manifest="files.json"),
    ignore=["**/_*"],
)
# The app settings that the shipped retrain.toml names.
ENVIRON = {
    "TRAINING_CONTAINER": "training-data",
    "TrainingStorage": "UseDevelopmentStorage=true",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "INCOME_ENDPOINT_URL": ENDPOINT_URL,
}


def changed(**changes: Any) -> Rule:
    """Return RULE with changes."""
    return msgspec.structs.replace(RULE, **changes)


def arrival(path: str = "income/us/a.csv", **changes: Any) -> Arrival:
    """Return an arrival of a blob of its own version."""
    values = {"datastore": "training", "path": path, "etag": uuid.uuid4().hex, "last_modified": WRITTEN, "size": 1}
    return Arrival(**{**values, "source": Source.BLOB_SCAN, **changes})


def retrain_request(rule: str | None = None, **changes: Any) -> RetrainRequest:
    """Return the request that RULE (or one of another name) makes of an arrival of its own."""
    rule_ = msgspec.structs.replace(RULE, name=rule or RULE.name)
    [decision] = match([rule_], arrival(**changes), {})
    assert isinstance(decision, RetrainRequest)
    return decision


def open_states(ledger: "Ledger", rule: str = RULE.name) -> dict[str, str]:
    """Return the state of each open request of a rule, by key."""
    work = ledger.open(rule)
    return {one.key: str(one.state) for one in [*work.active, *work.held, *work.queued]}


def settings(url: str = ENDPOINT_URL, **changes: Any) -> "Settings":
    """Return settings like those of the shipped retrain.toml."""
    from shared.settings.model import Datastore, PipelineEndpoint, Settings

    pipeline = PipelineEndpoint(url=url, version="1", experiment="income-retrain")
    values: dict[str, Any] = {
        "datastores": {"training": Datastore(container="training-data", connection="TrainingStorage")},
        "pipelines": {"income": pipeline},
        "rules": (RULE,),
        "blob_source": "LogsAndContainerScan",
    }
    return Settings(**{**values, **changes})
