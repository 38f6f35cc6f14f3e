"""Reads host.json and local.settings.json, and resolves %SETTING% expressions and connections.

Environment variables win over local.settings.json, as with Core Tools, and AzureFunctionsJobHost__... over host.json.

Never logs a value: settings hold secrets; faults name the setting only.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.host.errors import SettingsError

HOST_STORAGE = "AzureWebJobsStorage"
_HOST_ID = "AzureFunctionsWebHost__hostid"
_LEVELS = {"trace": 10, "debug": 10, "information": 20, "warning": 30, "error": 40, "critical": 50, "none": 60}
_OVERRIDES = "AzureFunctionsJobHost__"
_IDENTITY_SUFFIXES = ("serviceUri", "blobServiceUri", "queueServiceUri", "accountName")


@dataclass(frozen=True)
class Connection:
    """A storage connection: the setting that holds it, and the connection string."""

    setting: str
    string: str


@dataclass(frozen=True)
class Settings:
    """What host.json says, with the platform's defaults."""

    app_dir: Path
    host_id: str
    log_level: int
    route_prefix: str
    body_limit: int  # bytes
    blob_parallelism: int
    blob_attempts: int
    queue_parallelism: int
    queue_attempts: int
    queue_retry_delay_s: float
    queue_polling_s: float
    queue_base64: bool


def load(app_dir: Path) -> Settings:
    """Read both files, put the local settings into the environment, return the host's settings.

    Raises SettingsError naming file, key, value and what was expected.
    """
    app_dir = app_dir.resolve()
    _apply_local_settings(app_dir / "local.settings.json")
    path = app_dir / "host.json"
    if not path.is_file():
        raise SettingsError(f"{path} does not exist; {app_dir} is no function app")
    file = _JsonFile(path)
    for name, value in os.environ.items():
        if name.startswith(_OVERRIDES):
            file.put(name.removeprefix(_OVERRIDES).split("__"), value)
    if file.get("version", "", str) != "2.0":
        raise SettingsError(f'{path}: "version" must be "2.0"')
    level = file.get("logging.logLevel.default", "Information", str)
    if level.lower() not in _LEVELS:
        raise SettingsError(f'{path}: "logging.logLevel.default" is {level!r}; expected one of {", ".join(_LEVELS)}')
    encoding = file.get("extensions.queues.messageEncoding", "base64", str).lower()
    if encoding not in ("base64", "none"):
        raise SettingsError(f'{path}: "extensions.queues.messageEncoding" is {encoding!r}; expected base64 or none')
    batch = file.get("extensions.queues.batchSize", 16, int)
    threshold = file.get("extensions.queues.newBatchThreshold", batch // 2, int)
    body_limit = os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or "220200960"  # 210 MB, the platform's default
    if not body_limit.isdecimal():
        raise SettingsError(f"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is {body_limit!r}; expected a number of bytes")
    return Settings(
        app_dir=app_dir,
        host_id=os.environ.get(_HOST_ID) or default_host_id(app_dir),
        log_level=_LEVELS[level.lower()],
        route_prefix=file.get("extensions.http.routePrefix", "api", str).strip("/"),
        body_limit=int(body_limit),
        blob_parallelism=file.get("extensions.blobs.maxDegreeOfParallelism", 8, int),
        blob_attempts=file.get("extensions.blobs.poisonBlobThreshold", 5, int),
        queue_parallelism=batch + threshold,
        queue_attempts=file.get("extensions.queues.maxDequeueCount", 5, int),
        queue_retry_delay_s=file.seconds("extensions.queues.visibilityTimeout", 0),
        queue_polling_s=file.seconds("extensions.queues.maxPollingInterval", 60),
        queue_base64=encoding == "base64",
    )


def default_host_id(app_dir: Path) -> str:
    """Return a host id that stays the same for a folder name: at most 32 of a-z, 0-9 and single dashes."""
    slug = re.sub(r"[^a-z0-9]+", "-", app_dir.name.lower()).strip("-")[:20].strip("-") or "app"
    return f"{slug}-{hashlib.sha256(app_dir.name.encode()).hexdigest()[:10]}"


def resolve(text: str, where: str) -> str:
    """Replace each %NAME% by the setting of that name. Raises SettingsError naming `where` and the setting."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise SettingsError(f"{where}: %{match[1]}% is used, but the setting {match[1]} is not set")
        return found

    return re.sub(r"%([^%]+)%", value, text)


def connection(name: str, where: str) -> Connection:
    """Return the connection called `name` (empty: AzureWebJobsStorage), as the platform looks it up."""
    name = name or HOST_STORAGE
    for setting in (name, f"AzureWebJobs{name}"):
        if string := os.environ.get(setting):
            return Connection(setting, string)
        for suffix in _IDENTITY_SUFFIXES:
            if os.environ.get(f"{setting}__{suffix}"):
                raise SettingsError(
                    f"{where}: {setting}__{suffix} is an identity-based connection; "
                    f"this host takes connection strings only, set {setting}"
                )
    raise SettingsError(f"{where}: the connection {name} is not set; expected a storage connection string")


def disabled(function: str) -> bool:
    """Tell whether a setting switches this function off."""
    names = (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled")
    return any(os.environ.get(name, "").lower() in ("true", "1") for name in names)


def _apply_local_settings(path: Path) -> None:
    """Put the Values of local.settings.json into the environment where they are not set already."""
    if not path.is_file():
        return
    file = _JsonFile(path)
    if file.get("IsEncrypted", False, bool):
        raise SettingsError(f"{path}: it is encrypted (IsEncrypted); this host cannot read that, decrypt it with func")
    for name, value in file.get("Values", {}, dict).items():
        if not isinstance(value, str):
            raise SettingsError(f"{path}: Values.{name} is a JSON {type(value).__name__}; expected a string")
        os.environ.setdefault(name, value)


class _JsonFile:
    """A JSON file with dotted look-ups whose faults name the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._content = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise SettingsError(f"{path}: not valid JSON: {error}") from error
        if not isinstance(self._content, dict):
            raise SettingsError(f"{path}: expected a JSON object")

    def get[T](self, key: str, default: T, kind: type[T]) -> T:
        found: Any = self._content
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return default
            found = found[part]
        if type(found) is not kind:
            raise SettingsError(f'{self._path}: "{key}" is {found!r}; expected a JSON {kind.__name__}')
        return found

    def put(self, keys: Sequence[str], text: str) -> None:
        """Lay a setting over a value; numbers and truth values are written as in JSON.

        Source: Microsoft Learn, "host.json reference", Override host.json values.
        """
        place = self._content
        for key in keys[:-1]:
            place[key] = place[key] if isinstance(place.get(key), dict) else {}
            place = place[key]
        try:
            place[keys[-1]] = json.loads(text)
        except ValueError:
            place[keys[-1]] = text

    def seconds(self, key: str, default: float) -> float:
        """Return a time span ("hh:mm:ss") in seconds."""
        text = self.get(key, "", str)
        if not text:
            return default
        match = re.fullmatch(r"(\d\d?):(\d\d):(\d\d(?:\.\d+)?)", text)
        if not match:
            raise SettingsError(f'{self._path}: "{key}" is {text!r}; expected hh:mm:ss')
        return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
