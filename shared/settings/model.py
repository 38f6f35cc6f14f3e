"""What can be configured: the types of retrain.toml's tables and of the app settings.

Never reads anything: `read` fills them in.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from shared.errors import NotFoundError
from shared.pipelines.address import Address
from shared.pipelines.clouds import cloud_at, cloud_of
from shared.pipelines.target import PUBLIC, Target
from shared.rules.durations import duration
from shared.rules.rule import Duration, Rule

DEFAULT_CONNECTION = "AzureWebJobsStorage"
BLOB_SOURCES = ("EventGrid", "LogsAndContainerScan")  # the blob trigger's own words
EVENTS = ("blob", "queue")

ContainerName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9](?:-?[a-z0-9])+$",
        min_length=3,
        max_length=63,
        description="a blob container's name: 3 to 63 small letters, digits and single dashes",
    ),
]
OnUncertain = Literal["auto", "resubmit", "hold"]


class Datastore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A storage container registered in the workspace; the table's name is the name it is registered under."""

    container: ContainerName
    connection: Annotated[str, Meta(min_length=1, description="prefix of a Functions connection")] = (
        "AzureWebJobsStorage"
    )


class _Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pipeline endpoint and a published pipeline have in common."""

    url: Annotated[str, Meta(description="the REST endpoint, as the studio shows it")]
    experiment: Annotated[
        str,
        Meta(min_length=1, max_length=256, description="name of the experiment the runs go to, 1 to 256 characters"),
    ]
    on_uncertain: OnUncertain = "auto"
    """What happens to a submission whose outcome cannot be learned (docs/reliability.md)."""
    give_up_after: Duration = "7d"
    """How long what the endpoint does not take is sent again; then it is refused."""
    audience: str = ""
    """Audience of the bearer token; left out, that of the address's cloud."""

    pin_key: ClassVar[str]
    """Which key says what is pinned."""

    @property
    def pin(self) -> str:
        """What is pinned: the published pipeline itself."""
        return Address.parse(self.url).id

    def pinned_to(self, version: str) -> str:
        """Return what retrain.toml says to pin a version."""
        return f'{self.pin_key} = "{version}"'

    def written(self) -> "Mapping[str, Output]":
        """Return the outputs that are written to a place of their own."""
        return {}

    @property
    def gives_up(self) -> timedelta:
        """`give_up_after` as a length of time."""
        return duration(self.give_up_after)

    @property
    def target(self) -> Target:
        """Where submissions go."""
        address = Address.parse(self.url)
        audience = self.audience or cloud_at(urlsplit(self.url).hostname or "").audience
        return Target(address=address, version=self.pin, experiment=self.experiment, audience=audience)


class PipelineEndpoint(_Published, frozen=True, kw_only=True, tag_field="kind", tag="pipeline_endpoint"):
    """A pipeline endpoint at a pinned version."""

    pin_key: ClassVar[str] = "version"
    version: Annotated[
        str,
        Meta(
            pattern=r"^(0|[1-9][0-9]*)$",
            description='the endpoint\'s version as a string of digits, such as "3": '
            "a run never goes to the default version",
        ),
    ]

    @property
    def pin(self) -> str:
        """What is pinned: the version."""
        return self.version


class PublishedPipeline(_Published, frozen=True, kw_only=True, tag_field="kind", tag="published_pipeline"):
    """A published pipeline; its id is the pin, as what was published under it never changes."""

    pin_key: ClassVar[str] = "url"


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where an output of a component is written: a folder on a datastore of the workspace."""

    datastore: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_]{1,100}$", description="the name a datastore is registered under"),
    ]
    path: Annotated[
        str,
        Meta(
            pattern=r"^(?!/)(?!.*//)(?!(.*/)?\.{1,2}(/|$))[^\\\x00-\x1f]{1,900}$",
            description="a folder below the container's root; {key} in it is the key of the request",
        ),
    ]

    @property
    def folder(self) -> str:
        """The folder as one run may have it."""
        return self.path.replace("{key}", "20260101T000000Z-0")

    @property
    def uri(self) -> str:
        """The folder as v2 writes it."""
        return f"azureml://datastores/{self.datastore}/paths/{self.path}"


class _Component(_Published, frozen=True, kw_only=True):
    """What the kinds that run a pipeline component have in common."""

    workspace: Annotated[str, Meta(description="the workspace's id, from /subscriptions/")]
    outputs: dict[str, Output] = {}
    """Outputs of the component with a place of their own; the others go where the workspace puts them."""

    def written(self) -> Mapping[str, Output]:
        """Return the outputs that are written to a place of their own."""
        return self.outputs

    @property
    def uris(self) -> tuple[tuple[str, str], ...]:
        """The outputs as a target has them."""
        return tuple((name, output.uri) for name, output in self.outputs.items())


class BatchEndpoint(_Component, frozen=True, kw_only=True, tag_field="kind", tag="batch_endpoint"):
    """A batch endpoint at a pinned deployment, which is a pipeline component's."""

    pin_key: ClassVar[str] = "deployment"
    url: Annotated[str, Meta(description="the scoring URI, as the studio shows it")]
    deployment: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9-]{2,31}$",
            description="a deployment's name, 3 to 32 letters, digits and dashes: "
            "a run never goes to the default deployment",
        ),
    ]
    audience: str = ""
    """Audience of the bearer token for the scoring URI; left out, that of the address's cloud."""

    @property
    def pin(self) -> str:
        """What is pinned: the deployment."""
        return self.deployment

    @property
    def target(self) -> Target:
        """Where submissions go."""
        address = Address.of_batch(self.url, self.workspace)
        audience = self.audience or cloud_of(address.management).machine_learning
        return Target(
            address=address, version=self.pin, experiment=self.experiment, audience=audience, outputs=self.uris
        )


class ComponentJob(_Component, frozen=True, kw_only=True, tag_field="kind", tag="component_job"):
    """A pinned pipeline component, started as a job under a name of our own through Azure Resource Manager."""

    pin_key: ClassVar[str] = "component"
    url: Annotated[str, Meta(description="Resource Manager's address")] = PUBLIC
    component: Annotated[
        str,
        Meta(
            pattern=r"^azureml:[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}:[A-Za-z0-9_.-]{1,30}$",
            description='a pipeline component of the workspace with its version, as in "azureml:income_train:1": '
            "a run never goes to the latest version",
        ),
    ]
    compute: str = ""
    """Name of the compute that steps run on which name none."""
    audience: str = ""
    """Audience of the bearer token for Resource Manager; left out, that of the address's cloud."""

    @property
    def pin(self) -> str:
        """What is pinned: the component's version."""
        return self.component.rpartition(":")[2]

    def pinned_to(self, version: str) -> str:
        """Return what retrain.toml says to pin a version."""
        return f'component = "{self.component.rpartition(":")[0]}:{version}"'

    @property
    def target(self) -> Target:
        """Where submissions go."""
        address = Address.of_component(self.url, self.workspace, self.component.split(":")[1])
        audience = self.audience or cloud_of(address.management).audience
        return Target(
            address=address,
            version=self.pin,
            experiment=self.experiment,
            audience=audience,
            outputs=self.uris,
            compute=self.compute,
        )


Pipeline = PipelineEndpoint | PublishedPipeline | BatchEndpoint | ComponentJob
KINDS: dict[str, type[Pipeline]] = {
    "pipeline_endpoint": PipelineEndpoint,
    "published_pipeline": PublishedPipeline,
    "batch_endpoint": BatchEndpoint,
    "component_job": ComponentJob,
}


class LedgerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the ledger is kept."""

    connection: Annotated[str, Meta(min_length=1, description="prefix of a Functions connection")] = DEFAULT_CONNECTION
    table: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9]{2,62}$",
            description="a table's name: 3 to 63 letters and digits, the first a letter",
        ),
    ] = "retrains"


Told = Literal[
    "failed", "refused", "blocked", "uncertain", "held", "dead", "lost_sight", "mispinned", "canceled", "finished"
]
"""What can be told of: states of a request, and endpoints that take nothing (`blocked`)."""
TOLD_BY_DEFAULT: frozenset[Told] = frozenset(get_args(Told)) - {"canceled", "finished"}
Form = Literal["standard", "slack", "teams"]


class Notify(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to tell when something needs a person. Both address and secret give access: neither is ever shown."""

    url: str
    """`RETRAIN_NOTIFY_URL`."""
    secret: str = ""
    """`RETRAIN_NOTIFY_SECRET`: messages of form `standard` are signed with it."""
    form: Form = "standard"
    """`RETRAIN_NOTIFY_FORM`: what the receiver expects."""
    on: frozenset[Told] = TOLD_BY_DEFAULT
    """`RETRAIN_NOTIFY_ON`: what is told."""

    def __repr__(self) -> str:
        return f"Notify(form={self.form!r}, on={sorted(self.on)})"


class Callers(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call POST /api/retrain, beside the function key; one proof of these is enough. Empty: the key alone."""

    signing_secrets: tuple[str, ...] = ()
    """`RETRAIN_SIGNING_SECRETS`: of the Standard Webhooks signature; several at once, so that one can be replaced."""
    github_secrets: tuple[str, ...] = ()
    """`RETRAIN_GITHUB_SECRETS`: of GitHub's signature."""
    allowed_apps: frozenset[str] = frozenset()
    """`RETRAIN_ALLOWED_APPS`: application ids whose Entra tokens the platform has checked."""

    def __bool__(self) -> bool:
        return bool(self.signing_secrets or self.github_secrets or self.allowed_apps)

    def __repr__(self) -> str:
        counts = len(self.signing_secrets), len(self.github_secrets)
        return f"Callers({counts[0]} signing secrets, {counts[1]} of GitHub, apps {sorted(self.allowed_apps)})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that is configured. Built by `load`, in tests by hand."""

    datastores: dict[str, Datastore]
    pipelines: dict[str, Pipeline]
    rules: tuple[Rule, ...]
    ledger: LedgerTable = LedgerTable()
    events: str = "blob"
    """`RETRAIN_EVENTS`: by which of the platform's triggers arrivals come in, the blob trigger or a queue of events."""
    blob_source: str = "EventGrid"
    """`RETRAIN_BLOB_SOURCE`: how the blob trigger detects; scanning is for local use (docs/settings.md)."""
    timer_schedule: str = "0 * * * * *"
    """`RETRAIN_TIMER_SCHEDULE`, NCRONTAB with seconds. Each minute: bounds how late anything held back is."""
    grace: timedelta = timedelta(minutes=10)
    """`RETRAIN_GRACE`: how long a submission without an answer may stay unseen at the endpoint before it counts as
    not accepted. Longer than any request can be on its way."""

    notify: Notify | None = None
    """Whom to tell when something needs a person."""
    metrics: str = ""
    """`RETRAIN_METRICS`: where metrics go, `otlp` or `azure-monitor`; empty: nowhere."""
    callers: Callers = Callers()
    """What proves a caller, beside the function key."""

    @property
    def scans(self) -> bool:
        """Whether the blob trigger lists containers: then it tells of blobs of any age."""
        return self.events == "blob" and self.blob_source == "LogsAndContainerScan"

    def place(self, datastore: str) -> str:
        """Return which container a datastore is, whatever name it is registered under."""
        store = self.datastores[datastore]
        return f"{store.connection}/{store.container}"

    def same_place(self, one: str, other: str) -> bool:
        """Tell whether two datastores are one container, as far as this file tells: it need not have them all."""
        known = {one, other} <= self.datastores.keys()
        return one == other or (known and self.place(one) == self.place(other))

    def datastores_on(self, connection: str, container: str) -> list[str]:
        """Return the names that a container is registered under."""
        place = (connection, container)
        return [name for name, store in self.datastores.items() if (store.connection, store.container) == place]

    def find(self, rule: str) -> Rule | None:
        """Return the rule of a name; None when there is none (any more)."""
        return next((one for one in self.rules if one.name == rule), None)

    def rule(self, name: str) -> Rule:
        """Return the rule of a name. Raises NotFoundError, also for one whose rows outlived it."""
        if rule := self.find(name):
            return rule
        raise NotFoundError(f"retrain.toml has no rule {name!r} any more; put it back to act on what it started.")

    def rule_names(self, only: str | None = None) -> list[str]:
        """Return the names of the rules, or the one asked for. Raises NotFoundError."""
        known = [rule.name for rule in self.rules]
        if only is not None and only not in known:
            raise NotFoundError(f"There is no rule {only!r}; known are: {', '.join(known)}.")
        return known if only is None else [only]
