"""Drives the local workspace with the unmodified azureml-pipeline-core, and writes down what the SDK saw.

    python driver.py http://127.0.0.1:7081 case.json seen.json

`case.json` is the submission to send (../case.py), `seen.json` becomes {"facts": {check: {fact: value}}, "runs": {kind:
run id}}. Runs in an environment of its own (requirements.txt, Python <= 3.11), and judges nothing: ../expected.py does.
"""

# mypy: ignore-errors
# The types, too, are in the environment of its own.

import datetime
import json
import logging
import os
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import warnings
from pathlib import Path

# The SDK keeps the discovery document below the home folder, and must not find one of an earlier workspace there.
HOME = tempfile.TemporaryDirectory()
os.environ["HOME"] = os.environ["USERPROFILE"] = HOME.name
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from azureml._restclient.experiment_client import ExperimentClient  # noqa: E402
from azureml._restclient.service_context import ServiceContext  # noqa: E402
from azureml.core import Datastore, Experiment, Workspace  # noqa: E402
from azureml.core.authentication import AbstractAuthentication  # noqa: E402
from azureml.data.datapath import DataPath  # noqa: E402
from azureml.pipeline.core import PipelineEndpoint, PipelineRun, PublishedPipeline  # noqa: E402
from azureml.pipeline.core._restclients.aeva import models  # noqa: E402
from azureml.pipeline.core._restclients.aeva.aml_pipelines_api10 import AMLPipelinesAPI10  # noqa: E402

PREFIX = "api_v10_subscriptions_by_subscription_id_resource_groups_by_resource_group_name_providers_microsoft_machine_learning_services_workspaces_by_workspace_name_"  # noqa: E501
DEADLINE_S = 60


def ask(url, headers=None, body=None):
    """Return the JSON answer to a plain request."""
    request = urllib.request.Request(
        url, headers=headers or {}, data=None if body is None else json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.load(answer)


class Token(AbstractAuthentication):
    """Authentication with a token that is there already."""

    def __init__(self, token):
        self.token = token

    def _get_arm_token(self):
        return self.token

    def _get_graph_token(self):
        return self.token

    def get_token(self, *scopes, **options):
        raise NotImplementedError

    def _get_all_subscription_ids(self):
        return [], None


class Place:
    """Where the workspace is, and what is sent there."""

    def __init__(self, base_url, case):
        self.base_url, self.case = base_url, case
        info = ask(f"{base_url}/_control/info")
        _, _, self.subscription, _, self.group, _, _, _, self.name = info["workspace"].split("/")
        query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": "https://management.azure.com"})
        header = {"X-IDENTITY-HEADER": info["identity_header"]}
        self.token = ask(f"{info['identity_endpoint']}?{query}", header)["access_token"]


def ended(read, words):
    """Return the status that ends a run, or the last one when it has none in time; `read` reads it."""
    deadline = time.monotonic() + DEADLINE_S
    while (status := read()) not in words and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def rest_client(place, facts, runs):
    """Use the generated REST client."""
    case = place.case
    where = {
        "subscription_id": place.subscription,
        "resource_group_name": place.group,
        "workspace_name": place.name,
        "custom_headers": {"Authorization": f"Bearer {place.token}"},
    }
    client = AMLPipelinesAPI10(base_url=place.base_url)

    def call(operation, **arguments):
        return getattr(client, PREFIX + operation)(**where, **arguments)

    def submit(version):
        return call(
            "pipeline_endpoint_submit_by_pipeline_run_id_post",
            id=case["endpoint"],
            pipeline_submission_info=submission,
            pipeline_version=version,
        )

    entity = call("pipeline_endpoint_by_id_get", endpoint_id=case["endpoint"])
    named = call("pipeline_endpoint_by_name_get", name=entity.name)
    pipeline_id = next(v.pipeline_id for v in entity.pipeline_version_list if v.version == case["version"])
    facts["REST client: endpoint"] = {
        "endpoint": [entity.name, entity.default_version, entity.entity_status],
        "same by name": named.id == entity.id,
        "pinned pipeline": pipeline_id,
    }
    pipeline = call("pipelines_by_pipeline_id_get", pipeline_id=pipeline_id)
    interface = call("graphs_by_graph_id_interface_get", graph_id=pipeline.graph_id)
    facts["REST client: parameters"] = {
        "parameters": {p.name: [p.type, p.default_value] for p in interface.parameters},
        "data paths": {p.name: p.default_value.relative_path for p in interface.data_path_parameters},
    }
    submission = models.PipelineSubmissionInfo(
        experiment_name=case["experiment"],
        description=case["description"],
        run_source="API",
        parameter_assignments={name: str(value) for name, value in case["parameters"].items()},
        data_path_assignments={
            case["parameter"]: models.LegacyDataPath(data_store_name=case["datastore"], relative_path=case["path"])
        },
        tags=case["notes"],
        properties=case["notes"],
    )
    run = submit(case["version"])
    runs["pipeline_endpoint, REST client"] = run.id

    def read():
        return call("pipeline_runs_by_pipeline_run_id_get", pipeline_run_id=run.id)

    status = ended(lambda: read().status.status_code, ("2", "3", "4"))
    seen = read()
    facts["REST client: submit at a version, status"] = {
        "pipeline": run.pipeline_id,
        "status": [status, seen.status.status_detail],
        "created has a zone": seen.created_date.tzinfo is not None,
        "tags": seen.tags,
        "properties": seen.properties,
    }
    listed = call("pipeline_runs_pipeline_by_pipeline_id_get", pipeline_id=pipeline_id)
    facts["REST client: list runs"] = {"only this one": [one.id for one in listed] == [run.id]}
    refusal = None
    try:
        submit("7")
    except models.ErrorResponseException as error:
        refusal = [error.response.status_code, str(error), error.error.error.code]
    facts["REST client: refusal"] = {"no such version": refusal}


def classes(place, facts, runs):
    """Use the classes that people use."""
    case, experiment_name = place.case, place.case["experiment"]
    context = ServiceContext(
        place.subscription, place.group, place.name, "workspace-id", f"{place.base_url}/discovery", Token(place.token)
    )
    workspace = Workspace._from_service_context(context, "local")
    store = Datastore.get(workspace, case["datastore"])
    facts["classes: datastore"] = {
        "registered": [store.name, store.datastore_type, store.account_name, store.container_name]
    }
    endpoint = PipelineEndpoint.get(workspace, name="income")
    published = PublishedPipeline.get(workspace, endpoint.get_pipeline(case["version"]).id)
    facts["classes: endpoint and its versions"] = {
        "same by id": PipelineEndpoint.get(workspace, id=endpoint.id).id == endpoint.id,
        "versions": sorted(v.version for v in endpoint.list_versions()),
        "pipelines": sorted(p.id for p in endpoint.list_pipelines()),
        "endpoints": [one.name for one in PipelineEndpoint.list(workspace)],
        "published": len(PublishedPipeline.list(workspace)),
    }

    before = datetime.datetime.utcnow() - datetime.timedelta(minutes=1)
    values = {**case["parameters"], case["parameter"]: _path(case["datastore"], case["path"])}
    default = endpoint.submit(experiment_name)
    pinned = endpoint.submit(experiment_name, pipeline_parameters=values, pipeline_version=case["version"])
    runs["pipeline_endpoint"] = pinned.id
    pinned.set_tags({"kind": "pinned"})
    words = ("Finished", "Failed", "Canceled")
    facts["classes: submit at a version, status"] = {
        "statuses": [ended(run.get_status, words) for run in (pinned, default)],
        "in run history": default._client.get_run().status,
        "default pipeline": default.get_properties()["azureml.pipelineid"],
        "pinned pipeline": pinned.get_properties()["azureml.pipelineid"],
    }

    ask(f"{place.base_url}/_control/settings", {"Content-Type": "application/json"}, {"engine": "hold"})
    held = published.submit(workspace, experiment_name, pipeline_parameters=values)
    runs["published_pipeline"] = held.id
    held.cancel()
    facts["classes: submit a published pipeline, cancel"] = {"canceled": held.get_status()}

    experiment = Experiment(workspace, experiment_name)
    client = ExperimentClient(context, experiment.name, experiment.id)
    of_pipeline = experiment.get_runs(properties={"azureml.pipelineid": published.id})
    later = before + datetime.timedelta(days=1)
    facts["classes: list runs, runs by tag"] = {
        "of the pipeline": len(PipelineRun.get_pipeline_runs(workspace, published.id)),
        "by tag": [run.id for run in experiment.get_runs(tags={"kind": "pinned"})] == [pinned.id],
        "by a tag that is there": [run.id for run in experiment.get_runs(tags="kind")] == [pinned.id],
        "by another tag": [run.id for run in experiment.get_runs(tags={"kind": "other"})],
        "by property": sorted(run.id for run in of_pipeline) == sorted(runs.values()),
        "by type": len(list(experiment.get_runs(type="azureml.PipelineRun"))),
        # What Experiment.get_runs does not pass on; `created_after` writes a bare time with a blank in it.
        "by status": [run.run_id for run in client.get_runs(status="Canceled")] == [held.id],
        "by time": [len(list(client.get_runs(created_after=time))) for time in (before, later)],
    }

    made = PipelineEndpoint.publish(workspace, "conformance", "made by the SDK", endpoint.get_pipeline("0"))
    made.add_default(published)
    earlier = made.submit(experiment_name, pipeline_version="0")
    earlier.cancel()
    told = PipelineEndpoint.get(workspace, name="conformance")
    refused = None
    try:
        pinned.publish_pipeline("again", "the same graph", "2.0")
    except models.ErrorResponseException as error:
        refused = error.response.status_code
    facts["classes: publish an endpoint, add versions"] = {
        "versions": {v.version: v.pipeline_id for v in told.pipeline_version_list},
        "default": told.default_version,
        "pipeline of a run at version 0": earlier.get_properties()["azureml.pipelineid"],
        "a graph cannot be published": refused,
    }
    endpoint.set_default_version("1")
    published.disable()
    disabled = PublishedPipeline.get(workspace, published.id).status
    published.enable()
    facts["classes: default version, disable"] = {
        "default": PipelineEndpoint.get(workspace, name="income").default_version,
        "disabled": disabled,
        "enabled": PublishedPipeline.get(workspace, published.id).status,
    }


def _path(datastore, path):
    """Return the SDK's value of a DataPath parameter, without reading a datastore."""

    class Store:
        name = datastore
        datastore_type = "AzureBlob"

    return DataPath(Store(), path)


def main(base_url, case_file, result_file):
    place = Place(base_url, json.loads(Path(case_file).read_text()))
    facts, runs = {}, {}
    rest_client(place, facts, runs)
    classes(place, facts, runs)
    Path(result_file).write_text(json.dumps({"facts": facts, "runs": runs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
