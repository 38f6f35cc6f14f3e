"""One workspace's state, in memory: what is published, what ran, and the switches.

Everything happens on one event loop, so nothing here locks. Never survives its process; never speaks HTTP.
"""

import uuid
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from local.workspace.batch.catalog import BatchEndpoint
from local.workspace.catalog import Endpoint, Pipeline, Publication, Text
from local.workspace.errors import not_found
from local.workspace.faults import Dice, Fault, Odds
from local.workspace.runs import Received, Run, Submission, utc_now

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
RESOURCE_GROUP = "retrain-local"
NAME = "retrain-local"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers"
PATH = f"{GROUP}/Microsoft.MachineLearningServices/workspaces/{NAME}"
PIPELINES = f"/pipelines/v1.0{PATH}"
HISTORY = f"/history/v1.0{PATH}"
DATASTORES = f"/datastore/v1.0{PATH}"


Counted = Literal["submit", "status", "list", "history", "endpoint", "token", "other"]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Switches, most of them for what is not established about Azure; README.md says what each does."""

    token_lifetime_s: Annotated[int, Meta(ge=1)] = 3600
    list_lag_s: Annotated[float, Meta(ge=0)] = 0
    give_back_keys: bool = True
    engine: Literal["train", "instant", "hold"] = "train"
    accept_ml_audience: bool = False
    unknown_parameters: Literal["refuse", "ignore"] = "refuse"
    ignore_pin: bool = False
    role: Literal["contributor", "reader", "none"] = "contributor"
    honour_job_names: bool = True
    input_types: Literal["lenient", "strict"] = "lenient"
    second_put: Literal["refused", "updates", "runs again"] = "refused"
    page_size: Annotated[int, Meta(ge=1)] = 100


class Datastore(Struct, frozen=True, forbid_unknown_fields=True):
    """A storage container registered under a name."""

    name: Text
    container: Text


class Function(Struct, frozen=True, forbid_unknown_fields=True):
    """A function that the deployed app's host has found."""

    name: Text
    disabled: bool = False


class EventSubscription(Struct, frozen=True, forbid_unknown_fields=True):
    """A subscription of the topic, its properties as they are given to ARM."""

    name: Text
    properties: dict[str, Any]


class Deployed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A function app and its events, as ARM is to tell of them."""

    name: Text
    host: Text
    """Where it answers, without a scheme."""
    state: Literal["Running", "Stopped"] = "Running"
    functions: list[Function] = []
    settings: dict[str, str] = {}
    function_key: str = "local"
    system_keys: dict[str, str] = {}
    topic: str = ""
    """Name of the system topic; empty: there is none."""
    account: str = ""
    """Name of the storage account whose events it has."""
    subscriptions: list[EventSubscription] = []


class Workspace:
    """The state of the one workspace that is served."""

    def __init__(self, storage: str, base_url: str) -> None:
        self.storage, self.base_url = storage, base_url
        self.deployed: Deployed | None = None  # what runs beside this: nothing here can make it again
        self.clear()

    def clear(self) -> None:
        """Forget everything, the seed too."""
        self.settings = Settings()
        self.faults: list[Fault] = []
        self.dice = Dice(Odds(rate=0))
        self.datastores: dict[str, Datastore] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.batch_endpoints: dict[str, BatchEndpoint] = {}
        self.experiments: dict[str, str] = {}  # name -> id
        self.runs: dict[str, Run] = {}  # in the order of acceptance, removed ones too
        self.requests: dict[Counted, int] = dict.fromkeys(get_args(Counted), 0)

    # What is published

    def publish(self, content: Publication, pipeline_id: str | None = None) -> Pipeline:
        """Publish a pipeline under a new id, or under the given one."""
        pipeline = Pipeline(pipeline_id or str(uuid.uuid4()), content, created=utc_now())
        self.pipelines[pipeline.id] = pipeline
        return pipeline

    def add_endpoint(
        self, name: str, pipeline_id: str, description: str = "", endpoint_id: str | None = None
    ) -> Endpoint:
        """Make an endpoint whose version "0", the default, is the given pipeline."""
        now = utc_now()
        made = Endpoint(endpoint_id or str(uuid.uuid4()), name, {"0": pipeline_id}, "0", now, now, description)
        self.endpoints[made.id] = made
        return made

    def pipeline(self, pipeline_id: str) -> Pipeline:
        """Return a published pipeline. Raises a 404 WireError."""
        if found := self.pipelines.get(pipeline_id):
            return found
        raise not_found(f"published pipeline with id '{pipeline_id}'")

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint by id. Raises a 404 WireError."""
        if found := self.endpoints.get(endpoint_id):
            return found
        raise not_found(f"pipeline endpoint with id '{endpoint_id}'")

    def endpoint_named(self, name: str) -> Endpoint:
        """Return an endpoint by name. Raises a 404 WireError."""
        for found in self.endpoints.values():
            if found.name == name:
                return found
        raise not_found(f"pipeline endpoint named '{name}'")

    # What ran

    def accept(
        self,
        submission: Submission,
        received: Received,
        pipeline: Pipeline,
        endpoint: Endpoint | None = None,
        version: str | None = None,
        run_id: str = "",
    ) -> Run:
        """Make a run of a submission, under an id that it may have; its experiment is made on first use."""
        self.experiment_id(submission.experiment)
        run = Run(run_id or str(uuid.uuid4()), len(self.runs) + 1, submission, pipeline, received, accepted=utc_now())
        run.endpoint_id, run.version = endpoint.id if endpoint else None, version
        parent = self.runs.get(submission.parent_run_id or "")
        run.root_run_id = parent.root_run_id if parent else run.id
        self.runs[run.id] = run
        return run

    def run(self, run_id: str) -> Run:
        """Return a run. Raises a 404 WireError, also for one that was removed."""
        if (found := self.runs.get(run_id)) and not found.removed:
            return found
        raise not_found(f"run with id '{run_id}'")

    def pipeline_run(self, run_id: str) -> Run:
        """Return a run that the pipelines service started. Raises a 404 WireError, also for a job."""
        found = self.run(run_id)
        if found.is_job:
            raise not_found(f"run with id '{run_id}'")
        return found

    def visible(self, run: Run) -> bool:
        """Tell whether lists and run history show the run: already (`list_lag_s`), and still."""
        return not run.removed and utc_now() - run.accepted >= timedelta(seconds=self.settings.list_lag_s)

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment, made if it is new."""
        return self.experiments.setdefault(name, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PATH}/{name}")))

    def experiment_with_id(self, experiment_id: str) -> str | None:
        """Return the name of the experiment with an id, if there is one."""
        return next((name for name, known in self.experiments.items() if known == experiment_id), None)
