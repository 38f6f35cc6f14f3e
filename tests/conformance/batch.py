"""Drives the local workspace with the unmodified azure-ai-ml, and prints what the SDK saw as one JSON object.

    python batch.py https://127.0.0.1:7443

Runs in an environment of its own (requirements.txt). Judges nothing: test_batch_referee.py does.
"""

# mypy: ignore-errors
# The types, too, are in the environment of its own.

import json
import logging
import sys
import time
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from azure.ai.ml import Input, MLClient  # noqa: E402
from azure.ai.ml.exceptions import ValidationException  # noqa: E402
from azure.core.exceptions import HttpResponseError  # noqa: E402
from azure.identity import ManagedIdentityCredential  # noqa: E402

SUBSCRIPTION, GROUP, WORKSPACE = "00000000-0000-0000-0000-000000000000", "retrain-local", "retrain-local"
ENDPOINT, PINNED = "income-batch", "income-1"
URI = "azureml://datastores/training/paths/income/us/adult.csv"
DEADLINE_S = 90


def client(url):
    """Return the SDK's client, in a cloud of its own whose management address is the workspace's."""
    cloud = {
        "resource_manager": url,
        "azure_portal": url,
        "active_directory": url,
        "aml_resource_id": "https://ml.azure.com/",
        "storage_endpoint": "core.windows.net",
        "registry_discovery_endpoint": url,
    }
    options = {"cloud": "stand-in", "cloud_metadata": cloud, "enable_telemetry": False}
    return MLClient(ManagedIdentityCredential(), SUBSCRIPTION, GROUP, WORKSPACE, **options)


def refused(act):
    """Return how the service refuses something."""
    try:
        act()
    except HttpResponseError as error:
        return [error.status_code, error.error.code if error.error else None]
    except ValidationException as error:
        return [type(error).__name__, str(error)[:300]]
    return None


def main(url):
    """Go through everything that the SDK does with a batch endpoint."""
    ml, seen = client(url), {}
    endpoint = ml.batch_endpoints.get(ENDPOINT)
    seen["endpoint"] = [endpoint.name, endpoint.scoring_uri, endpoint.defaults.deployment_name]
    seen["endpoints"] = [one.name for one in ml.batch_endpoints.list()]
    seen["deployments"] = [one.name for one in ml.batch_deployments.list(ENDPOINT)]
    deployment = ml.batch_deployments.get(PINNED, ENDPOINT)
    seen["deployment"] = [deployment.name, deployment.endpoint_name, deployment.properties]
    inputs = {
        "input_data": Input(type="uri_file", path=URI),
        "test_fraction": Input(type="number", default=0.3),
        "seed": Input(type="integer", default=7),
        "country": Input(type="string", default="us"),
    }
    job = ml.batch_endpoints.invoke(
        ENDPOINT, deployment_name=PINNED, inputs=inputs, experiment_name="income-retrain", job_name="mine-1"
    )
    seen["invoked"] = job.name
    deadline = time.monotonic() + DEADLINE_S
    while (read := ml.jobs.get(job.name)).status not in ("Completed", "Failed") and time.monotonic() < deadline:
        time.sleep(0.2)
    seen["job"] = [read.name, read.status, read.experiment_name, dict(read.properties)]
    default = ml.batch_endpoints.invoke(ENDPOINT, inputs={"input_data": Input(type="uri_folder", path=URI)})
    seen["default"] = default.name
    seen["listed"] = sorted(one.name for one in ml.batch_endpoints.list_jobs(ENDPOINT))
    seen["jobs"] = sorted(one.name for one in ml.jobs.list())
    ml.jobs.begin_cancel(default.name).result()
    seen["canceled"] = ml.jobs.get(default.name).status
    seen["no_deployment"] = refused(lambda: ml.batch_endpoints.invoke(ENDPOINT, deployment_name="x", inputs=inputs))
    seen["no_input"] = refused(lambda: ml.batch_endpoints.invoke(ENDPOINT, deployment_name=PINNED, inputs={}))
    seen["no_endpoint"] = refused(lambda: ml.batch_endpoints.get("nowhere"))
    seen["no_job"] = refused(lambda: ml.jobs.get("nowhere"))
    json.dump(seen, sys.stdout)


main(sys.argv[1])
