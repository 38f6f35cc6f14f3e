"""The JSON of the v1 REST API: what a submission looks like, and what is read off the answers. Never sends anything.

Casing is the service's: PascalCase with a lower-case `tags` in the pipelines API, camelCase in run history. Codes come
as numbers or as words; unknown members are ignored.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import requests

from shared import reading
from shared.errors import EndpointError, masked, shown
from shared.pipelines.base import Input, Phase, Registered, Run
from shared.rules.decision import RetrainRequest
from shared.rules.rule import Assignment

# Names of what travels with a run, as tag and as property.
KEY, RULE, ATTEMPT = "retrain.key", "retrain.rule", "retrain.attempt"

STATUS_WORDS = ("NotStarted", "Running", "Failed", "Finished", "Canceled")  # by number; the service may send either
PHASES = {
    "Running": Phase.RUNNING,
    "Failed": Phase.FAILED,
    "Finished": Phase.FINISHED,
    "Completed": Phase.FINISHED,  # run history's word
    "Canceled": Phase.CANCELED,
}


def submission(request: RetrainRequest, experiment: str) -> dict[str, Any]:
    """Return the submission (PipelineSubmissionInfo); all parameter values are strings.

    The key goes into `tags` and `Properties`, because which of them the service gives back is not documented; no tag of
    the rule can take its place.
    """
    notes = {KEY: request.key, RULE: request.rule, ATTEMPT: str(request.attempt)}
    arrived = f"{request.rule}: {request.data_path.datastore}/{request.data_path.path}"
    data: dict[str, Any] = {
        "ExperimentName": experiment,
        "Description": (request.description or arrived)[:5000],
        "RunSource": "API",
        "ParameterAssignments": dict(request.parameters),
        "tags": {**request.tags, **notes},
        "Properties": notes,
    }
    for path in (request.data_path, *request.data_paths):
        value = {"DataStoreName": path.datastore, "RelativePath": path.path}
        match path.assignment:
            case "data_path":
                data.setdefault("DataPathAssignments", {})[path.parameter] = value
            case "dataset":
                data.setdefault("DataSetDefinitionValueAssignments", {})[path.parameter] = {"LiteralValue": value}
            case "string":
                data["ParameterAssignments"][path.parameter] = path.path
    return data


class _Status(msgspec.Struct, rename="pascal"):
    status_code: int | str | None = None
    status_detail: str | None = None
    creation_time: str | None = None
    end_time: str | None = None


class PipelineRun(msgspec.Struct, rename="pascal"):
    """The part of a PipelineRunEntity that is read here."""

    id: str
    run_url: str | None = None
    status: _Status | None = None
    pipeline_id: str | None = None
    properties: dict[str, str | None] | None = None
    tags: dict[str, str | None] | None = msgspec.field(name="tags", default=None)

    def told(self, page: str) -> Run:
        """Return the run in the flow's terms; `page` is its address where the service gives none."""
        status = self.status or _Status()
        code = status.status_code
        if isinstance(code, int):
            code = STATUS_WORDS[code] if 0 <= code < len(STATUS_WORDS) else str(code)
        word = code or STATUS_WORDS[0]  # no status yet: not started
        return Run(
            run_id=self.id,
            run_url=self.run_url or page,
            phase=PHASES.get(word, Phase.PENDING),
            word=word,
            key=(self.properties or {}).get(KEY) or (self.tags or {}).get(KEY),
            pipeline_id=self.pipeline_id,
            started_at=_time(status.creation_time),
            ended_at=_time(status.end_time),
            error=status.status_detail or "",
        )


class _Version(msgspec.Struct, rename="pascal"):
    version: str
    pipeline_id: str


class _Endpoint(msgspec.Struct, rename="pascal"):
    pipeline_version_list: list[_Version] | None = None


ENTITY_STATUS_WORDS = ("Active", "Deprecated", "Disabled")  # by number; the service may send either
TYPE_WORDS = ("Int", "Double", "Bool", "String")


class Entity(msgspec.Struct, rename="pascal"):
    """The part of a PipelineEndpointEntity or a PipelineEntity that tells whether and what it is."""

    name: str | None = None
    entity_status: int | str | None = None
    graph_id: str | None = None

    @property
    def status(self) -> str:
        """The status as a word; what has none is active."""
        return _word(self.entity_status, ENTITY_STATUS_WORDS) or ENTITY_STATUS_WORDS[0]


class _Parameter(msgspec.Struct, rename="pascal"):
    name: str
    type: int | str | None = None
    default_value: Any = None
    is_optional: bool | None = None

    def told(self, assignment: Assignment) -> Input:
        """Return the parameter as one of the list that `assignment` stands for."""
        default = self.default_value
        path = default.get("LiteralValue", default) if isinstance(default, dict) else None
        store = path.get("DataStoreName") if isinstance(path, dict) else None
        return Input(
            name=self.name,
            assignment=assignment,
            type=_word(self.type, TYPE_WORDS),
            required=not self.is_optional and default is None,
            datastore=store if isinstance(store, str) else None,
        )


class _Interface(msgspec.Struct, rename="pascal"):
    parameters: list[_Parameter] | None = None
    data_path_parameters: list[_Parameter] | None = None
    data_path_parameter_list: list[_Parameter] | None = None


class _Section(msgspec.Struct, rename="camel"):
    account_name: str | None = None
    container_name: str | None = None


class _Datastore(msgspec.Struct, rename="camel"):
    data_store_type: str | None = None
    azure_storage_section: _Section | None = None


class _HistoryError(msgspec.Struct):
    message: str | None = None


class _HistoryErrorBody(msgspec.Struct):
    error: _HistoryError | None = None


class HistoryRun(msgspec.Struct, rename="camel"):
    """The part of a run in run history that is read here."""

    run_id: str
    error: _HistoryErrorBody | None = None

    @property
    def reason(self) -> str:
        """Why it failed, if the service says so."""
        return (self.error and self.error.error and self.error.error.message) or ""


class _HistoryPage(msgspec.Struct):
    value: list[HistoryRun]


def run(content: bytes) -> PipelineRun | None:
    """Read a run; None when there is no run with an id in `content`."""
    try:
        found = reading.decode(content, PipelineRun)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.id else None


def runs(content: bytes) -> list[PipelineRun]:
    """Read a list of runs."""
    return _decode(content, list[PipelineRun])


def versions(content: bytes) -> dict[str, str]:
    """Read an endpoint's versions: version to published pipeline."""
    return {item.version: item.pipeline_id for item in _decode(content, _Endpoint).pipeline_version_list or []}


def entity(content: bytes) -> Entity:
    """Read an endpoint or a published pipeline."""
    return _decode(content, Entity)


def inputs(content: bytes) -> tuple[Input, ...]:
    """Read a graph's interface: its parameters, each with the map that the list it is in stands for."""
    interface = _decode(content, _Interface)
    lists: list[tuple[Assignment, list[_Parameter] | None]] = [
        ("data_path", interface.data_path_parameters),
        ("dataset", interface.data_path_parameter_list),
        ("string", interface.parameters),
    ]
    return tuple(parameter.told(assignment) for assignment, found in lists for parameter in found or [])


def registered(content: bytes) -> Registered:
    """Read a datastore. Nothing else of the answer is kept or told: it may hold the datastore's credential."""
    try:
        found = reading.decode(content, _Datastore)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EndpointError("The service's answer is no datastore as documented.") from None
    section = found.azure_storage_section or _Section()
    return Registered(kind=found.data_store_type or "", account=section.account_name, container=section.container_name)


def history_run(content: bytes) -> HistoryRun:
    """Read a run of run history."""
    return _decode(content, HistoryRun)


def history_page(content: bytes) -> list[HistoryRun]:
    """Read the answer of runs:query."""
    return _decode(content, _HistoryPage).value


def error(response: requests.Response) -> str:
    """Return the service's own code and message, in whichever casing it answers; else the start of the body."""
    try:
        data = msgspec.json.decode(response.content)
        told = {key.lower(): value for key, value in (data.get("Error") or data["error"]).items()}
        return f"{told['code']}: {told['message']}"[:1000]
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        return masked(response.text)[:200].strip() or response.reason


def _decode[T](content: bytes, kind: type[T]) -> T:
    """Read `content` as `kind`. Raises EndpointError."""
    try:
        return reading.decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise EndpointError(
            f"The service's answer is not what is documented: {fault}; it begins {shown(content)}."
        ) from fault


def _word(code: int | str | None, words: tuple[str, ...]) -> str:
    """Return the word of a code that comes as a number, as a number in a string, or as the word."""
    text = "" if code is None else str(code)
    return words[int(text)] if text.isdecimal() and int(text) < len(words) else text


def _time(text: str | None) -> datetime | None:
    """Read a time of the service: seven fractional digits, with or without a zone (then UTC); 1970 stands for none."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time if time.year > 1970 else None
