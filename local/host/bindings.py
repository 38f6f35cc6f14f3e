"""Turns a function's raw bindings into one checked trigger: settings resolved, schedule and path parsed.

Refuses at the start, with function, binding and property named, what this host does not do; nothing is ignored
silently. Never touches storage or the network.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from croniter import croniter

from local.host import patterns, settings
from local.host.errors import SettingsError
from local.host.settings import Connection
from local.host.worker import Function


@dataclass(frozen=True)
class BlobTrigger:
    """A function that runs for new versions of blobs."""

    function: Function
    parameter: str
    pattern: patterns.PathPattern
    connection: Connection
    scans: bool  # False: it waits for Event Grid
    by_reference: bool  # True: the parameter is an SDK type, so content is never read here


@dataclass(frozen=True)
class QueueTrigger:
    """A function that runs for messages."""

    function: Function
    parameter: str
    queue: str
    connection: Connection


@dataclass(frozen=True)
class TimerTrigger:
    """A function that runs at times; `schedule` is six fields, seconds first."""

    function: Function
    parameter: str
    schedule: str
    run_on_startup: bool
    use_monitor: bool


@dataclass(frozen=True)
class HttpTrigger:
    """A function that runs for HTTP requests; no methods means all."""

    function: Function
    parameter: str
    route: str
    methods: tuple[str, ...]


Trigger = BlobTrigger | QueueTrigger | TimerTrigger | HttpTrigger


def triggers(functions: Iterable[Function]) -> list[Trigger]:
    """Return the trigger of each function. Raises SettingsError listing every fault of every function."""
    found: list[Trigger] = []
    faults: list[str] = []
    for function in functions:
        try:
            found.append(_trigger(function))
        except SettingsError as error:
            faults.append(str(error))
    if faults:
        raise SettingsError("\n".join(faults))
    return found


def _trigger(function: Function) -> Trigger:
    binding: Mapping[str, Any] = {}
    for each in function.bindings:
        kind = str(each["type"])
        if kind.lower() in ("blobtrigger", "queuetrigger", "timertrigger", "httptrigger"):
            binding = each
        elif kind.lower() != "http":
            raise SettingsError(f"function {function.name}: the binding type {kind!r} is not done by this host")
    if not binding:
        raise SettingsError(f"function {function.name}: it has no trigger")
    read = _Reader(function, binding)
    match str(binding["type"]).lower():
        case "blobtrigger":
            return _blob(function, read)
        case "queuetrigger":
            return QueueTrigger(function, read.name, read.text("queueName").lower(), read.connection())
        case "timertrigger":
            return _timer(function, read)
        case _:
            methods = tuple(str(method).upper() for method in binding.get("methods") or ())
            return HttpTrigger(function, read.name, read.text("route", function.name).strip("/"), methods)


def _blob(function: Function, read: "_Reader") -> BlobTrigger:
    source = read.text("source", "LogsAndContainerScan")
    if source.lower() not in ("logsandcontainerscan", "eventgrid"):
        raise read.fault("source", f"{source!r}; expected LogsAndContainerScan or EventGrid")
    path = read.text("path")
    try:
        pattern = patterns.parse(path)
    except ValueError as error:
        raise read.fault("path", str(error)) from error
    by_reference = bool(read.binding.get("properties", {}).get("SupportsDeferredBinding"))
    return BlobTrigger(function, read.name, pattern, read.connection(), source.lower() != "eventgrid", by_reference)


def _timer(function: Function, read: "_Reader") -> TimerTrigger:
    schedule = " ".join(read.text("schedule").split())
    fields = len(schedule.split(" "))
    if fields == 5:
        schedule = f"0 {schedule}"
    if fields not in (5, 6) or not croniter.is_valid(schedule, second_at_beginning=True):
        raise read.fault("schedule", f"{schedule!r}; expected NCRONTAB, six fields with the seconds first, or five")
    binding = read.binding
    return TimerTrigger(
        function, read.name, schedule, bool(binding.get("runOnStartup")), bool(binding.get("useMonitor", True))
    )


class _Reader:
    """Reads the properties of one binding; its faults name function, binding and property."""

    def __init__(self, function: Function, binding: Mapping[str, Any]) -> None:
        self.binding = binding
        self.name = str(binding["name"])
        self._where = f"function {function.name}, binding {self.name}"

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text property with its %SETTING% expressions resolved; the default when it is absent."""
        value = self.binding.get(key, default)
        if not isinstance(value, str):
            raise self.fault(key, f"{value!r}; expected text")
        return settings.resolve(value, f"{self._where}, {key}")

    def connection(self) -> Connection:
        where = f"{self._where}, connection"
        return settings.connection(self.text("connection", ""), where)

    def fault(self, key: str, problem: str) -> SettingsError:
        return SettingsError(f"{self._where}, {key}: {problem}")
