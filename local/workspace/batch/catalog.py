"""What can be invoked: components with declared inputs, deployments of them, and the endpoints these belong to.

Types and the seed only. Never knows about jobs or HTTP.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec import Struct

from local.workspace.catalog import DataParameter, Parameter, Pipeline, Publication
from local.workspace.runs import utc_now

OUTPUT = "model"  # what each component declares that it writes: a folder
DATA_TYPES = ("uri_file", "uri_folder")
INPUT_TYPES = Literal["uri_file", "uri_folder", "string", "boolean", "integer", "number"]
OF_PARAMETERS: dict[str, INPUT_TYPES] = {"Int": "integer", "Double": "number", "Bool": "boolean", "String": "string"}


class Input(Struct, frozen=True, kw_only=True):
    """An input that a component declares."""

    name: str
    type: INPUT_TYPES
    optional: bool = False
    default: str | int | float | bool | None = None

    @property
    def is_data(self) -> bool:
        """It takes a path."""
        return self.type in DATA_TYPES


@dataclass
class Component:
    """A pipeline component, one version of it; what it runs is a published pipeline's graph."""

    name: str
    version: str
    inputs: tuple[Input, ...]
    pipeline: Pipeline


@dataclass
class Deployment:
    """A component, deployed to an endpoint under a name."""

    name: str
    component: Component
    created: datetime = field(default_factory=utc_now)


@dataclass
class BatchEndpoint:
    """Deployments under names, one of them the default."""

    name: str
    deployments: dict[str, Deployment]
    default: str
    created: datetime = field(default_factory=utc_now)


def component_of(name: str, version: str, pipeline: Pipeline) -> Component:
    """Return the component that declares what a published pipeline takes: paths, then parameters."""
    content: Publication = pipeline.content
    inputs = [_data(one) for one in (*content.data_paths, *content.datasets)]
    return Component(name, version, (*inputs, *map(_literal, content.parameters)), pipeline)


def _data(parameter: DataParameter) -> Input:
    return Input(name=parameter.name, type="uri_file", optional=parameter.optional)


def _literal(parameter: Parameter) -> Input:
    kind, default = OF_PARAMETERS[parameter.type], parameter.default
    return Input(name=parameter.name, type=kind, optional=True, default=default)
