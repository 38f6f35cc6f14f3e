"""Drives the local workspace with the unmodified SDK, and prints what the SDK saw as one JSON object.

    python referee.py http://127.0.0.1:7081

Runs in an environment of its own (requirements.txt, Python <= 3.11). Judges nothing: test_workspace_referee.py does.
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


def low_level(base_url, info, token):
    """Use the generated REST client."""
    _, _, subscription, _, group, _, _, _, workspace = info["workspace"].split("/")
    where = {
        "subscription_id": subscription,
        "resource_group_name": group,
        "workspace_name": workspace,
        "custom_headers": {"Authorization": f"Bearer {token}"},
    }
    client = AMLPipelinesAPI10(base_url=base_url)
    endpoint = info["endpoints"][0]

    def call(operation, **arguments):
        return getattr(client, PREFIX + operation)(**where, **arguments)

    entity = call("pipeline_endpoint_by_id_get", endpoint_id=endpoint["id"])
    named = call("pipeline_endpoint_by_name_get", name=endpoint["name"])
    pipeline_id = next(v.pipeline_id for v in entity.pipeline_version_list if v.version == "1")
    pipeline = call("pipelines_by_pipeline_id_get", pipeline_id=pipeline_id)
    interface = call("graphs_by_graph_id_interface_get", graph_id=pipeline.graph_id)
    submission = models.PipelineSubmissionInfo(
        experiment_name="referee-low",
        run_source="SDK",
        run_type="SDK",
        parameter_assignments={"test_fraction": "0.3"},
        data_path_assignments={
            "input_data": models.LegacyDataPath(data_store_name="training", relative_path="referee/us.csv")
        },
        tags={"key": "low-1"},
        properties={"retrain.key": "low-1"},
    )
    run = call(
        "pipeline_endpoint_submit_by_pipeline_run_id_post",
        id=endpoint["id"],
        pipeline_submission_info=submission,
        pipeline_version="1",
    )
    deadline = time.monotonic() + DEADLINE_S
    seen = run
    while seen.status.status_code not in ("2", "3", "4") and time.monotonic() < deadline:
        time.sleep(0.1)
        seen = call("pipeline_runs_by_pipeline_run_id_get", pipeline_run_id=run.id)
    listed = call("pipeline_runs_pipeline_by_pipeline_id_get", pipeline_id=pipeline_id)
    refusal = None
    try:
        call(
            "pipeline_endpoint_submit_by_pipeline_run_id_post",
            id=endpoint["id"],
            pipeline_submission_info=submission,
            pipeline_version="7",
        )
    except models.ErrorResponseException as error:
        refusal = {"status": error.response.status_code, "text": str(error), "code": error.error.error.code}
    return {
        "endpoint": [entity.name, named.id == entity.id, entity.default_version, entity.entity_status],
        "pinned_pipeline": pipeline_id,
        "run_pipeline": run.pipeline_id,
        "parameters": {p.name: [p.type, p.default_value] for p in interface.parameters},
        "data_paths": {p.name: p.default_value.relative_path for p in interface.data_path_parameters},
        "status": seen.status.status_code,
        "detail": seen.status.status_detail,
        "created": seen.created_date.tzinfo is not None,
        "tags": seen.tags,
        "properties": seen.properties,
        "listed": [one.id for one in listed] == [run.id],
        "refusal": refusal,
    }


def wait(run):
    """Wait for a run's end through the SDK's own status method."""
    deadline = time.monotonic() + DEADLINE_S
    while (status := run.get_status()) not in ("Finished", "Failed", "Canceled") and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def high_level(base_url, info, token):
    """Use the classes that people use."""
    _, _, subscription, _, group, _, _, _, name = info["workspace"].split("/")
    context = ServiceContext(subscription, group, name, "workspace-id", f"{base_url}/discovery", Token(token))
    workspace = Workspace._from_service_context(context, "local")
    store = Datastore.get(workspace, "training")
    endpoint = PipelineEndpoint.get(workspace, name="income")
    by_id = PipelineEndpoint.get(workspace, id=endpoint.id)
    published = PublishedPipeline.get(workspace, endpoint.get_pipeline("1").id)
    before = datetime.datetime.utcnow() - datetime.timedelta(minutes=1)
    default = endpoint.submit("referee-high")
    pinned = endpoint.submit(
        "referee-high",
        pipeline_parameters={"seed": 3, "input_data": _path("referee/us.csv")},
        pipeline_version="1",
    )
    pinned.set_tags({"kind": "pinned"})
    statuses = [wait(pinned), wait(default)]
    experiment = Experiment(workspace, "referee-high")
    client = ExperimentClient(context, experiment.name, experiment.id)
    ask(f"{base_url}/_control/settings", {"Content-Type": "application/json"}, {"engine": "hold"})
    held = published.submit(workspace, "referee-high")
    held.cancel()
    runs = PipelineRun.get_pipeline_runs(workspace, published.id)
    endpoint.set_default_version("1")
    published.disable()
    disabled = PublishedPipeline.get(workspace, published.id).status
    published.enable()
    return {
        "datastore": [store.name, store.datastore_type, store.account_name, store.container_name],
        "same": by_id.id == endpoint.id,
        "versions": sorted(v.version for v in endpoint.list_versions()),
        "pipelines": sorted(p.id for p in endpoint.list_pipelines()),
        "statuses": statuses,
        "history_status": default._client.get_run().status,
        "default_pipeline": default.get_properties()["azureml.pipelineid"],
        "pinned_pipeline": pinned.get_properties()["azureml.pipelineid"],
        "by_tag": [run.id for run in experiment.get_runs(tags={"kind": "pinned"})] == [pinned.id],
        "by_tag_presence": [run.id for run in experiment.get_runs(tags="kind")] == [pinned.id],
        "by_wrong_tag": [run.id for run in experiment.get_runs(tags={"kind": "other"})],
        "by_property": sorted(run.id for run in experiment.get_runs(properties={"azureml.pipelineid": published.id}))
        == sorted([pinned.id, held.id]),
        "by_type": len(list(experiment.get_runs(type="azureml.PipelineRun"))),
        # What Experiment.get_runs does not pass on; `created_after` writes a bare time with a blank in it.
        "by_status": [run.run_id for run in client.get_runs(status="Canceled")] == [held.id],
        "by_time": len(list(client.get_runs(created_after=before))),
        "by_later_time": len(list(client.get_runs(created_after=before + datetime.timedelta(days=1)))),
        "of_pipeline": len(runs),
        "canceled": held.get_status(),
        "default_version": PipelineEndpoint.get(workspace, name="income").default_version,
        "disabled": disabled,
        "endpoints": [one.name for one in PipelineEndpoint.list(workspace)],
        "published": len(PublishedPipeline.list(workspace)),
    }


def _path(path):
    """Return the SDK's value of a DataPath parameter, without reading a datastore."""

    class Store:
        name = "training"
        datastore_type = "AzureBlob"

    return DataPath(Store(), path)


def main(base_url):
    info = ask(f"{base_url}/_control/info")
    query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": "https://management.azure.com"})
    token = ask(f"{info['identity_endpoint']}?{query}", {"X-IDENTITY-HEADER": info["identity_header"]})["access_token"]
    output, sys.stdout = sys.stdout, sys.stderr  # the SDK prints
    result = {"low": low_level(base_url, info, token), "high": high_level(base_url, info, token)}
    sys.stdout = output
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
