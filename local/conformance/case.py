"""The submission that the SDKs and our own client all send, as data for their processes. Never sends anything."""

from local.workspace.seed import BATCH_ENDPOINT, DATASTORE, ENDPOINT_ID, INPUT, PIPELINE_IDS
from local.workspace.state import PATH

KEY = "20261101T120000Z-0123456789abcdef0123456789abcdef"  # of the form of the app's keys
CASE = {
    "workspace": PATH,
    "endpoint": ENDPOINT_ID,
    "version": "1",
    "pipeline": PIPELINE_IDS[1],
    "batch": BATCH_ENDPOINT,
    "deployment": "income-1",
    "experiment": "conformance",
    "datastore": DATASTORE.name,
    "path": "income/us/conformance.csv",
    "parameter": INPUT.name,
    "parameters": {"test_fraction": 0.3, "seed": 7, "country": "us"},
    "key": KEY,
    "rule": "income-files",
    "description": "income-files: training/income/us/conformance.csv",
    "notes": {"retrain.key": KEY, "retrain.rule": "income-files", "retrain.attempt": "1"},
}
