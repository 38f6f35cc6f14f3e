"""Submits to a pipeline endpoint at a pinned version, or to a published pipeline: the v1 REST API of Azure ML.

Never sends to the default version, and never sends again what may have been accepted.

Sources: the client that azureml-pipeline-core generates for this API (paths, casing, both forms of the version), and
the article "Trigger a run of an ML pipeline" (assignments).
"""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import requests
from requests.adapters import HTTPAdapter

from shared.errors import EndpointError
from shared.identity import Tokens
from shared.pipelines.address import Address
from shared.pipelines.base import Answer, NotAccepted, Refused, Submitted, Unknown
from shared.rules import DataPath, RetrainRequest

# Connecting takes milliseconds or is not going to work. A submission may take the service many seconds; what has no
# answer after a minute is settled by looking, and the platform ends an HTTP call after 230 s.
CONNECT_S, READ_S = 5, 60


class PublishedEndpoint:
    """A pipeline endpoint or published pipeline of the v1 API; safe to share between threads."""

    def __init__(self, url: str, experiment: str, tokens: Tokens) -> None:
        """Submit to `url` (the REST endpoint) under `experiment`, with bearer tokens from `tokens`."""
        self.address, self.experiment, self.tokens = Address.parse(url), experiment, tokens
        self._local, self._sessions = threading.local(), list[requests.Session]()

    def close(self) -> None:
        """Give back the connections of all threads."""
        for session in self._sessions:
            session.close()

    def submit(self, request: RetrainRequest) -> Answer:
        """POST the submission. Every outcome is an Answer; nothing is raised for one."""
        try:
            token = self.tokens.get()
        except EndpointError as error:
            return NotAccepted(reason=str(error))
        try:
            response = self._session().post(
                self.address.submit_url(request.version),
                data=msgspec.json.encode(body(request, self.experiment)),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                timeout=(CONNECT_S, READ_S),
            )
        except requests.ConnectTimeout as error:
            return NotAccepted(reason=_text(error))
        except requests.ConnectionError as error:
            # Without a connection nothing was sent; a connection that broke later may have carried the request.
            return NotAccepted(reason=_text(error)) if _never_connected(error) else Unknown(reason=_text(error))
        except requests.RequestException as error:
            return Unknown(reason=_text(error))
        return self._answer(response)

    def _answer(self, response: requests.Response) -> Answer:
        """Tell what a response means. The service accepts with 200 only (so does the SDK)."""
        status = response.status_code
        if status == 200:
            run_id = _run_id(response)
            if run_id is None:
                return Unknown(reason=f"200 without a run id: {response.text[:200]!r}")
            return Submitted(run_id=run_id, run_url=_run_url(response) or self.address.studio_url(run_id))
        reason = f"{status} {_error(response)}"
        if status in (401, 429):
            return NotAccepted(reason=reason, retry_after=retry_after(response))
        if 400 <= status < 500 and status != 408:
            return Refused(reason=reason)
        return Unknown(reason=reason)

    def _session(self) -> requests.Session:
        """Return this thread's session: connections are kept, and the library sends nothing twice by itself."""
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.mount("https://", HTTPAdapter(max_retries=0))
            session.mount("http://", HTTPAdapter(max_retries=0))
            session.trust_env = False  # no credentials from a .netrc in place of the token
            self._local.session = session
            self._sessions.append(session)
        session = self._local.session
        assert isinstance(session, requests.Session)
        return session


def body(request: RetrainRequest, experiment: str) -> dict[str, Any]:
    """Return the submission (PipelineSubmissionInfo); all parameter values are strings.

    The key goes into `tags` and `Properties`, because which of them the service gives back is not documented.
    """
    notes = {"retrain.key": request.key, "retrain.rule": request.rule, "retrain.attempt": str(request.attempt)}
    data: dict[str, Any] = {
        "ExperimentName": experiment,
        "Description": f"{request.rule}: {request.data_path.datastore}/{request.data_path.path}"[:5000],
        "RunSource": "API",
        "ParameterAssignments": dict(request.parameters),
        "tags": notes,
        "Properties": notes,
    }
    _assign(data, request.data_path)
    return data


def _assign(data: dict[str, Any], path: DataPath) -> None:
    """Put the data path into the map that its parameter belongs in."""
    value = {"DataStoreName": path.datastore, "RelativePath": path.path}
    match path.assignment:
        case "data_path":
            data["DataPathAssignments"] = {path.parameter: value}
        case "dataset":
            data["DataSetDefinitionValueAssignments"] = {path.parameter: {"LiteralValue": value}}
        case "string":
            data["ParameterAssignments"][path.parameter] = path.path


def retry_after(response: requests.Response, now: datetime | None = None) -> timedelta | None:
    """Return how long the service asks to wait: seconds or a date (RFC 9110, 10.2.3); None when it does not say."""
    value = response.headers.get("Retry-After", "")
    try:
        if value.isdecimal():
            return timedelta(seconds=int(value))
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(timedelta(), when - (now or datetime.now(UTC)))


class _Run(msgspec.Struct, rename="pascal"):
    """The part of a PipelineRunEntity that is read here."""

    id: str
    run_url: str | None = None


def _run_id(response: requests.Response) -> str | None:
    try:
        return msgspec.json.decode(response.content, type=_Run).id or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _run_url(response: requests.Response) -> str | None:
    return msgspec.json.decode(response.content, type=_Run).run_url


def _error(response: requests.Response) -> str:
    """Return the service's own code and message, in whichever casing it answers; else the start of the body."""
    try:
        data = msgspec.json.decode(response.content)
        error = {key.lower(): value for key, value in (data.get("Error") or data["error"]).items()}
        return f"{error['code']}: {error['message']}"[:1000]
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        return response.text[:200].strip() or response.reason


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell whether the connection could not be made (refused, no route, no such host)."""
    cause = error.args[0] if error.args else None
    return type(getattr(cause, "reason", cause)).__name__ in {"NewConnectionError", "NameResolutionError"}


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
