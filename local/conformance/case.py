"""The submission that the SDKs and our own client all send, as data for their processes. Never sends anything."""

from local.workspace.seed import BATCH_ENDPOINT, COMPONENT, DATASTORE, ENDPOINT_ID, INPUT, PIPELINE_IDS
from local.workspace.state import PATH

# Of the form of the app's keys; two, since a job has its name for itself.
KEY, COMPONENT_KEY = (f"20261101T120000Z-{digits * 2}" for digits in ("0123456789abcdef", "fedcba9876543210"))
RULE = "income-files"


def notes(key: str) -> dict[str, str]:
    """Return what the app writes on a run."""
    return {"retrain.key": key, "retrain.rule": RULE, "retrain.attempt": "1"}


CASE = {
    "workspace": PATH,
    "endpoint": ENDPOINT_ID,
    "version": "1",
    "pipeline": PIPELINE_IDS[1],
    "batch": BATCH_ENDPOINT,
    "deployment": "income-1",
    "component": COMPONENT,
    "experiment": "conformance",
    "datastore": DATASTORE.name,
    "path": "income/us/conformance.csv",
    "parameter": INPUT.name,
    "parameters": {"test_fraction": 0.3, "seed": 7, "country": "us"},
    "rule": RULE,
    "description": f"{RULE}: training/income/us/conformance.csv",
    "key": KEY,
    "notes": notes(KEY),
    "component_key": COMPONENT_KEY,
    "component_notes": notes(COMPONENT_KEY),
}
