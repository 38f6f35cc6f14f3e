"""An arrival's four calls through the storage SDKs, as short as they can be written: properties, claim, submit, record.

Claims, so it could not start the same arrival twice; but it has no rules, settings, limits, states or log, retries no
submission, and nobody looks after what it left behind. Never used for anything but comparison.
"""

import contextlib
import hashlib
import os
import uuid
from datetime import UTC, datetime

import requests
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableClient, UpdateMode
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import ContainerClient

VERSION = "1"
container = ContainerClient.from_connection_string(os.environ["TrainingStorage"], os.environ["TRAINING_CONTAINER"])
table = TableClient.from_connection_string(os.environ["AzureWebJobsStorage"], "shortest")
with contextlib.suppress(ResourceExistsError):  # an earlier process made it
    table.create_table()
credential = ManagedIdentityCredential()
session = requests.Session()
url = f"{os.environ['INCOME_ENDPOINT_URL']}/{VERSION}?pipelineVersion={VERSION}"


def act(path: str) -> str:
    """Let a blob arrive; return the run's id."""
    blob = container.get_blob_client(path).get_blob_properties()
    key = hashlib.sha256(f"income|training|{path}|{blob.etag}".encode()).hexdigest()
    now = datetime.now(UTC)
    history = {"PartitionKey": "income", "RowKey": f"h|{key}", "Path": path, "ETag": blob.etag, "SentAt": now}
    open_row = {"PartitionKey": "income", "RowKey": f"o|{key}", "State": "sending", "DueAt": now}
    claimed = table.submit_transaction([("create", {**history, "State": "sending"}), ("create", open_row)])
    notes = {"retrain.key": key}
    body = {
        "ExperimentName": "income-retrain",
        "RunSource": "API",
        "DataPathAssignments": {"input_data": {"DataStoreName": "training", "RelativePath": path}},
        "ParameterAssignments": {},
        "tags": notes,
        "Properties": notes,
    }
    token = credential.get_token("https://management.azure.com/.default").token
    headers = {"Authorization": f"Bearer {token}", "x-ms-client-request-id": str(uuid.uuid4())}
    answer = session.post(url, json=body, headers=headers, timeout=(5, 60))
    answer.raise_for_status()
    run = answer.json()["Id"]
    unchanged = {
        "mode": UpdateMode.MERGE,
        "etag": claimed[0]["etag"],
        "match_condition": MatchConditions.IfNotModified,
    }
    keys = {name: history[name] for name in ("PartitionKey", "RowKey")}
    table.submit_transaction(
        [
            ("update", {**keys, "State": "submitted", "Run": run}, unchanged),
            ("upsert", {**open_row, "State": "submitted", "Run": run}, {"mode": UpdateMode.REPLACE}),
        ]
    )
    return str(run)
