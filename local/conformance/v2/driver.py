"""Drives the local workspace with the unmodified azure-ai-ml, and writes down what the SDK saw.

    python driver.py https://127.0.0.1:7443 case.json seen.json

`case.json` is the submission to send (../case.py), `seen.json` becomes {"facts": {check: {fact: value}}, "runs": {kind:
run id}}. Runs in an environment of its own (requirements.txt), and judges nothing: ../expected.py does.
"""

# mypy: ignore-errors
# The types, too, are in the environment of its own.

import json
import logging
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from azure.ai.ml import Input, MLClient  # noqa: E402
from azure.ai.ml.entities import PipelineJob  # noqa: E402
from azure.ai.ml.exceptions import ValidationException  # noqa: E402
from azure.core.exceptions import HttpResponseError  # noqa: E402
from azure.identity import ManagedIdentityCredential  # noqa: E402

DEADLINE_S = 90
TYPES = {str: "string", int: "integer", float: "number"}


def client(url, workspace):
    """Return the SDK's client, in a cloud of its own whose management address is the workspace's."""
    _, _, subscription, _, group, _, _, _, name = workspace.split("/")
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


def refused(act):
    """Return how the service refuses something: the status; or how the SDK does before it asks: its error's name."""
    try:
        act()
    except HttpResponseError as error:
        return error.status_code
    except ValidationException as error:
        return type(error).__name__
    return None


def main(url, case_file, result_file):
    """Go through everything that the SDK does with a batch endpoint."""
    case = json.loads(Path(case_file).read_text())
    ml, name, pinned = client(url, case["workspace"]), case["batch"], case["deployment"]
    facts, runs = {}, {}
    endpoint = ml.batch_endpoints.get(name)
    facts["endpoint get, list"] = {
        "endpoint": [endpoint.name, endpoint.scoring_uri.removeprefix(url), endpoint.defaults.deployment_name],
        "endpoints": [one.name for one in ml.batch_endpoints.list()],
    }
    deployment = ml.batch_deployments.get(pinned, name)
    facts["deployment get, list"] = {
        "deployment": [deployment.name, deployment.endpoint_name],
        "type": deployment.properties["deployment_configuration_type"],
        "deployments": [one.name for one in ml.batch_deployments.list(name)],
    }
    uri = f"azureml://datastores/{case['datastore']}/paths/{case['path']}"
    inputs = {case["parameter"]: Input(type="uri_file", path=uri)}
    for parameter, value in case["parameters"].items():
        inputs[parameter] = Input(type=TYPES[type(value)], default=value)
    job = ml.batch_endpoints.invoke(
        name, deployment_name=pinned, inputs=inputs, experiment_name=case["experiment"], job_name=case["key"]
    )
    runs["batch_endpoint"] = job.name
    deadline = time.monotonic() + DEADLINE_S
    while (read := ml.jobs.get(job.name)).status not in ("Completed", "Failed") and time.monotonic() < deadline:
        time.sleep(0.2)
    facts["invoke with deployment and inputs, job get"] = {
        "name is honoured": job.name == case["key"],
        "job": [read.name == job.name, read.status, read.experiment_name],
    }
    default = ml.batch_endpoints.invoke(name, inputs={case["parameter"]: Input(type="uri_folder", path=uri)})
    runs["second invocation"] = default.name
    both = sorted([job.name, default.name])
    facts["jobs list"] = {
        "of the endpoint": sorted(one.name for one in ml.batch_endpoints.list_jobs(name)) == both,
        "of the workspace": sorted(one.name for one in ml.jobs.list()) == both,
    }
    ml.jobs.begin_cancel(default.name).result()
    facts["job cancel"] = {"canceled": ml.jobs.get(default.name).status}
    component = ml.components.get(case["component"], case["version"])
    job = PipelineJob(
        component=component,
        inputs={case["parameter"]: Input(type="uri_file", path=uri), **case["parameters"]},
        name=case["component_key"],
        display_name=case["component_key"],
        description=case["description"],
        tags=case["component_notes"],
        properties=case["component_notes"],
        experiment_name=case["experiment"],
    )
    started = ml.jobs.create_or_update(job)
    runs["component_job"] = started.name
    again = refused(lambda: ml.jobs.create_or_update(job))
    ml.jobs.begin_cancel(started.name).result()
    facts["component get, job of it under a name"] = {
        "component": [component.name, component.version, component.type],
        "name is honoured": started.name == case["component_key"],
        "a second one of that name": again,
    }
    facts["refusals"] = {
        "no such deployment": refused(lambda: ml.batch_endpoints.invoke(name, deployment_name="x", inputs=inputs)),
        "no inputs": refused(lambda: ml.batch_endpoints.invoke(name, deployment_name=pinned, inputs={})),
        "no such endpoint": refused(lambda: ml.batch_endpoints.get("nowhere")),
        "no such job": refused(lambda: ml.jobs.get("nowhere")),
    }
    Path(result_file).write_text(json.dumps({"facts": facts, "runs": runs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
