"""What the SDKs are to see of the stand-in, fact by fact, as with Azure. Never runs anything."""

from typing import Any

from local.conformance.case import CASE
from local.workspace.seed import BATCH_ENDPOINT, COMPONENT, INPUT, PIPELINE_IDS

Facts = dict[str, dict[str, Any]]
"""What is to be seen, or was: by check, by fact."""

FIRST, SECOND = PIPELINE_IDS

V1: Facts = {
    "REST client: endpoint": {
        "endpoint": ["income", "0", "0"],
        "same by name": True,
        "pinned pipeline": SECOND,
    },
    "REST client: parameters": {
        "parameters": {"test_fraction": ["1", "0.25"], "seed": ["0", "0"], "country": ["3", "us"]},
        "data paths": {INPUT.name: INPUT.path},
    },
    "REST client: submit at a version, status": {
        "pipeline": SECOND,
        "status": ["3", None],
        "created has a zone": True,
        "tags": CASE["notes"],
        "properties": CASE["notes"],
    },
    "REST client: list runs": {"only this one": True},
    "REST client: refusal": {
        "no such version": [
            404,
            "(NotFound) There is no version '7' of pipeline endpoint 'income'.",
            "NotFound",
        ]
    },
    "classes: datastore": {"registered": ["training", "AzureBlob", "devstoreaccount1", "training-data"]},
    "classes: endpoint and its versions": {
        "same by id": True,
        "versions": ["0", "1"],
        "pipelines": list(PIPELINE_IDS),
        "endpoints": ["income"],
        "published": 2,
    },
    "classes: submit at a version, status": {
        "statuses": ["Finished", "Finished"],
        "in run history": "Completed",
        "default pipeline": FIRST,
        "pinned pipeline": SECOND,
    },
    "classes: submit a published pipeline, cancel": {"canceled": "Canceled"},
    "classes: list runs, runs by tag": {
        "of the pipeline": 3,
        "by tag": True,
        "by a tag that is there": True,
        "by another tag": [],
        "by property": True,
        "by type": 4,
        "by status": True,
        "by time": [4, 0],
    },
    "classes: publish an endpoint, add versions": {
        "versions": {"0": FIRST, "1": SECOND},
        "default": "1",
        "pipeline of a run at version 0": FIRST,
        "a graph cannot be published": 501,
    },
    "classes: default version, disable": {"default": "1", "disabled": "Disabled", "enabled": "Active"},
}

V2: Facts = {
    "endpoint get, list": {
        "endpoint": [BATCH_ENDPOINT, f"/batch/{BATCH_ENDPOINT}/jobs", "income-0"],
        "endpoints": [BATCH_ENDPOINT],
    },
    "deployment get, list": {
        "deployment": ["income-1", BATCH_ENDPOINT],
        "type": "PipelineComponent",
        "deployments": ["income-0", "income-1"],
    },
    "invoke with deployment and inputs, job get": {
        "name is honoured": True,
        "job": [True, "Completed", CASE["experiment"]],
    },
    "jobs list": {"of the endpoint": True, "of the workspace": True},
    "job cancel": {"canceled": "Canceled"},
    "component get, job of it under a name": {
        "component": [COMPONENT, "1", "pipeline"],
        "name is honoured": True,
        "a second one of that name": 409,
    },
    "refusals": {
        "no such deployment": "ValidationException",
        "no inputs": 400,
        "no such endpoint": 404,
        "no such job": 404,
    },
}
