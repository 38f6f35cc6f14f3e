"""What can be run: published pipelines, their parameters, and the endpoints that give them versions.

Types only, also used to read what `/_control/pipelines` is given. Never knows about runs or HTTP.
"""

import enum
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class EntityStatus(enum.IntEnum):
    """Status of a pipeline or an endpoint; the service writes the number."""

    Active = 0
    Deprecated = 1
    Disabled = 2


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """A basic pipeline parameter. Goes in `ParameterAssignments`."""

    name: Text
    type: Literal["Int", "Double", "Bool", "String"]
    default: str | int | float | bool | None = None
    optional: bool = False


class DataParameter(Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter that is a path on a datastore, with its default.

    Goes in `DataPathAssignments` or `DataSetDefinitionValueAssignments`, by the list it was published in.
    """

    name: Text
    datastore: Text
    path: Text
    optional: bool = False


class LogisticRegression(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="logistic_regression"):
    """Settings of a linear model."""

    c: Positive = 1.0
    max_iter: Count = 400


class GradientBoosting(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="gradient_boosting"):
    """Settings of boosted trees."""

    learning_rate: Positive = 0.1
    max_iter: Count = 120
    max_depth: Count = 5


class Publication(Struct, frozen=True, forbid_unknown_fields=True):
    """What is published as a pipeline: an income-prediction graph with these parameters and model settings."""

    name: Text
    description: str = ""
    version: str = "1.0"
    parameters: tuple[Parameter, ...] = ()
    data_paths: tuple[DataParameter, ...] = ()
    datasets: tuple[DataParameter, ...] = ()
    model: LogisticRegression | GradientBoosting = LogisticRegression()
    import_from: str | None = None  # the data parameter that Import Data reads; None: the first there is

    def __post_init__(self) -> None:
        """Raise ValueError when names repeat, or Import Data has nothing to read."""
        names = [p.name for p in self.parameters] + [p.name for p in (*self.data_paths, *self.datasets)]
        if len(set(names)) < len(names):
            raise ValueError("parameters, data_paths and datasets: each name may occur once")
        data = [p.name for p in (*self.data_paths, *self.datasets)]
        if not data:
            raise ValueError("data_paths and datasets: one of them must hold the parameter that Import Data reads")
        if self.import_from is not None and self.import_from not in data:
            raise ValueError(f"import_from: expected one of {', '.join(data)}")

    @property
    def imported(self) -> str:
        """Name of the data parameter that Import Data reads."""
        return self.import_from or (*self.data_paths, *self.datasets)[0].name


@dataclass
class Pipeline:
    """A published pipeline: a publication that has an id."""

    id: str
    content: Publication
    created: datetime
    status: EntityStatus = EntityStatus.Active

    @property
    def graph_id(self) -> str:
        """Id of the pipeline's graph; stable for a pipeline."""
        return str(uuid.uuid5(uuid.UUID(self.id), "graph"))


@dataclass
class Endpoint:
    """A pipeline endpoint: published pipelines under versions, one of them the default."""

    id: str
    name: str
    versions: dict[str, str]  # version -> pipeline id
    default_version: str
    created: datetime
    modified: datetime
    description: str = ""
    status: EntityStatus = EntityStatus.Active
    properties: dict[str, object] = field(default_factory=dict)
    tags: dict[str, object] = field(default_factory=dict)
    revision: int = 0
