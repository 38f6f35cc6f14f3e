"""Talks to a pipeline endpoint at a pinned version, or to a published pipeline: the v1 REST API of Azure ML.

Never sends to the default version, and never sends again what may have been accepted.

Sources: the client that azureml-pipeline-core generates for this API (paths, casing, both forms of the version), the
article "Trigger a run of an ML pipeline" (assignments), and azureml-core (run history and its filters).
"""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec
import requests
import stamina
from requests.adapters import HTTPAdapter

from shared.errors import EndpointError
from shared.identity import Tokens
from shared.pipelines import wire
from shared.pipelines.address import Address
from shared.pipelines.base import Answer, Limits, NotAccepted, Preview, Refused, Run, Submitted, Unknown
from shared.rules import RetrainRequest

# Reading: the service's answer is small, and the timer reads again.
READ_LIMITS = (5, 30)
# At most this many sendings of what surely was not accepted; the time for them is in Limits.
ATTEMPTS = 4


class PublishedEndpoint:
    """A pipeline endpoint or published pipeline of the v1 API; safe to share between threads."""

    def __init__(self, url: str, experiment: str, tokens: Tokens, limits: Limits) -> None:
        """Submit to `url` (the REST endpoint) under `experiment`, with bearer tokens from `tokens`."""
        self.address, self.experiment, self.tokens, self.limits = Address.parse(url), experiment, tokens, limits
        self._local, self._sessions = threading.local(), list[requests.Session]()
        self._pins = dict[str, str]()

    def close(self) -> None:
        """Give back the connections of all threads."""
        for session in self._sessions:
            session.close()

    def submit(self, request: RetrainRequest) -> Answer:
        """POST the submission. Every outcome is an Answer; nothing is raised for one.

        What surely was not accepted is sent again a few times, after the pause that the service asks for; a pause
        that does not fit is left to the timer.
        """
        content = msgspec.json.encode(wire.submission(request, self.experiment))
        try:
            for attempt in stamina.retry_context(on=self._pause, attempts=ATTEMPTS, timeout=self.limits.retry_s):
                with attempt:
                    answer = self._send(request.version, content)
                    if isinstance(answer, NotAccepted):
                        raise _NotAcceptedError(answer)
        except _NotAcceptedError as error:
            return error.answer
        return answer

    def preview(self, request: RetrainRequest) -> Preview:
        """Return what `submit` would send."""
        url = self.address.submit_url(request.version)
        return Preview(method="POST", url=url, body=wire.submission(request, self.experiment))

    def _pause(self, error: Exception) -> bool | float:
        """Tell stamina whether to send again, and after how many seconds (True: its own growing pause)."""
        if not isinstance(error, _NotAcceptedError) or error.answer.retry_after is None:
            return isinstance(error, _NotAcceptedError)
        pause = error.answer.retry_after.total_seconds()
        return pause if pause < self.limits.retry_s else False

    def _send(self, version: str, content: bytes) -> Answer:
        """Send once; on 401 once more with a fresh token, since one may end early (rotation, clocks)."""
        for fresh in (False, True):
            if fresh:
                self.tokens.forget()
            try:
                token = self.tokens.get()
            except EndpointError as error:
                return NotAccepted(reason=str(error))
            try:
                response = self._session().post(
                    self.address.submit_url(version),
                    data=content,
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                    timeout=(self.limits.connect_s, self.limits.read_s),
                    allow_redirects=False,  # a token goes where it was meant to go
                )
            except requests.ConnectTimeout as error:
                return NotAccepted(reason=_text(error))
            except requests.ConnectionError as error:
                # Without a connection nothing was sent; a connection that broke later may have carried the request.
                return NotAccepted(reason=_text(error)) if _never_connected(error) else Unknown(reason=_text(error))
            except requests.RequestException as error:
                return Unknown(reason=_text(error))
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                break
        return self._answer(response)

    def _answer(self, response: requests.Response) -> Answer:
        """Tell what a response means. The service accepts with 200 only (so does the SDK)."""
        status = response.status_code
        if status == HTTPStatus.OK:
            run = wire.run(response.content)
            if run is None:
                return Unknown(reason=f"200 without a run id: {response.text[:200]!r}")
            return Submitted(run_id=run.id, run_url=run.run_url or self.address.studio_url(run.id))
        reason = f"{status} {wire.error(response)}"
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return NotAccepted(reason=reason, retry_after=retry_after(response))
        if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
            return Refused(reason=reason)
        return Unknown(reason=reason)

    def run(self, run_id: str) -> Run:
        """Read a run (GET PipelineRuns/{id})."""
        found = wire.run(self._read("GET", self.address.api(f"PipelineRuns/{run_id}")).content)
        if found is None:
            raise EndpointError(f"Run {run_id}: the answer is no run.")
        return self._told(found)

    def error_of(self, run_id: str) -> str:
        """Read why a run failed, from run history (GET history runs/{id})."""
        return wire.history_run(self._read("GET", self.address.history(f"runs/{run_id}")).content).reason

    def runs(self, version: str) -> list[Run]:
        """List the runs of the pinned version (GET PipelineRuns/Pipeline/{id}); its order and length are unknown."""
        response = self._read("GET", self.address.api(f"PipelineRuns/Pipeline/{self.pinned(version)}"))
        return [self._told(run) for run in wire.runs(response.content)]

    def search(self, key: str) -> Run | None:
        """Look for `key` among the tags and properties in run history (POST runs:query)."""
        query = {"filter": f'(Tags/{wire.KEY} eq "{key}" or Properties/{wire.KEY} eq "{key}")', "top": 1}
        response = self._read("POST", self.address.history(f"experiments/{self.experiment}/runs:query"), query)
        if response.status_code == HTTPStatus.NOT_FOUND or not (found := wire.history_page(response.content)):
            return None  # no such run; or no such experiment yet, which the first run makes
        return self.run(found[0].run_id)

    def pinned(self, version: str) -> str:
        """Return the published pipeline that `version` stands for (GET PipelineEndpoints/Id/{id}); read once."""
        if self.address.kind == "published_pipeline":
            return self.address.id
        if version not in self._pins:
            response = self._read("GET", self.address.api(f"PipelineEndpoints/Id/{self.address.id}"))
            self._pins |= wire.versions(response.content)
        if version not in self._pins:
            raise EndpointError(f"Endpoint {self.address.id} has no version {version!r}.")
        return self._pins[version]

    def _told(self, run: wire.PipelineRun) -> Run:
        return run.told(self.address.studio_url(run.id))

    def _read(self, method: str, url: str, data: Any = None) -> requests.Response:
        """Send a request that changes nothing. Raises EndpointError unless it is answered 200, or 404 to a search."""
        for fresh in (False, True):
            if fresh:
                self.tokens.forget()
            headers = {"Authorization": f"Bearer {self.tokens.get()}"}
            try:
                response = self._session().request(
                    method, url, json=data, headers=headers, timeout=READ_LIMITS, allow_redirects=False
                )
            except requests.RequestException as error:
                raise EndpointError(f"{method} {url}: {_text(error)}") from error
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                break
        if response.status_code == HTTPStatus.OK or (data and response.status_code == HTTPStatus.NOT_FOUND):
            return response
        raise EndpointError(f"{method} {url}: {response.status_code} {wire.error(response)}")

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


class _NotAcceptedError(Exception):
    """Carries a NotAccepted to where it is decided whether to send again."""

    def __init__(self, answer: NotAccepted) -> None:
        super().__init__(answer.reason)
        self.answer = answer


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


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell whether the connection could not be made (refused, no route, no such host)."""
    cause = error.args[0] if error.args else None
    return type(getattr(cause, "reason", cause)).__name__ in {"NewConnectionError", "NameResolutionError"}


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
