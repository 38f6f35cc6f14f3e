"""Talks to a pipeline endpoint at a pinned version, or to a published pipeline: the v1 REST API of Azure ML.

Never sends to the default version, and never sends again what may have been accepted.

Sources: the client that azureml-pipeline-core generates for this API (paths, casing, both forms of the version), the
article "Trigger a run of an ML pipeline" (assignments), and azureml-core (run history and its filters).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import msgspec
import requests
from requests.adapters import HTTPAdapter

from shared.errors import EndpointError, masked, shown
from shared.identity import Tokens
from shared.log import log
from shared.pipelines import wire
from shared.pipelines.address import Address
from shared.pipelines.base import (
    Answer,
    Described,
    Limits,
    NotAccepted,
    Preview,
    ReadError,
    Refused,
    Registered,
    Run,
    Submitted,
    Unknown,
)
from shared.pipelines.target import Target
from shared.rules.decision import RetrainRequest

# Reading, in seconds for connecting and between two parts of the answer: the timer reads again, and others wait.
READ_LIMITS = (5, 10)
# At most this many sendings of what surely was not accepted; the time for them is in Limits.
ATTEMPTS = 4
LONGEST_PAUSE_S = 86_400
# Statuses that are about the request itself: it would be refused again.
ABOUT_THE_REQUEST = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}


class PublishedEndpoint:
    """A pipeline endpoint or published pipeline of the v1 API; safe to share between threads."""

    def __init__(self, address: Address, tokens: Tokens, session: requests.Session, limits: Limits) -> None:
        """Talk to the endpoint at `address`, with bearer tokens from `tokens`, over `session`."""
        self.address, self.tokens, self.limits = address, tokens, limits
        self._session = session
        self._pins = dict[str, str]()

    def submit(
        self,
        request: RetrainRequest,
        target: Target,
        in_time: Callable[[], bool] = lambda: True,
        patient: bool = True,
    ) -> Answer:
        """POST the submission. Every outcome is an Answer; nothing is raised for one.

        `in_time` is asked right before each POST: a token, a pause or the whole machine may have taken so long that
        somebody else is sending by now.
        """
        content = msgspec.json.encode(wire.submission(request, target.experiment))
        answer = self._send(target.version, content, in_time)
        if patient and isinstance(answer, NotAccepted) and answer.soon:
            return self._send_again(request.key, answer, lambda: self._send(target.version, content, in_time))
        return answer

    def preview(self, request: RetrainRequest, target: Target) -> Preview:
        """Return what `submit` would send."""
        url = self.address.submit_url(target.version)
        return Preview(method="POST", url=url, body=wire.submission(request, target.experiment))

    def _send_again(self, key: str, answer: Answer, send: Callable[[], Answer]) -> Answer:
        """Send what surely was not accepted a few times more, after the pause that the service asks for.

        A pause that does not fit is left to the timer.
        """
        import stamina

        stamina.instrumentation.set_on_retry_hooks([])  # its own lines say neither key nor reason
        try:
            for attempt in stamina.retry_context(on=self._pause, attempts=ATTEMPTS, timeout=self.limits.retry_s):
                with attempt:
                    answer = send() if attempt.num > 1 else answer
                    if isinstance(answer, NotAccepted) and answer.soon:
                        log("not_accepted", key=key, sending=attempt.num, reason=answer.reason)
                        raise _NotAcceptedError(answer)
        except _NotAcceptedError as error:
            return error.answer
        return answer

    def _pause(self, error: Exception) -> bool | float:
        """Tell stamina whether to send again, and after how many seconds (True: its own growing pause)."""
        if not isinstance(error, _NotAcceptedError) or error.answer.retry_after is None:
            return isinstance(error, _NotAcceptedError)
        pause = error.answer.retry_after.total_seconds()
        return pause if pause < self.limits.retry_s else False

    def _send(self, version: str, content: bytes, in_time: Callable[[], bool]) -> Answer:
        """Send once; on 401 once more with a fresh token, since one may end early (rotation, clocks)."""
        for fresh in (False, True):
            if fresh:
                self.tokens.forget()
            try:
                token = self.tokens.get()
            except EndpointError as error:
                return NotAccepted(reason=str(error))
            if not in_time():
                reason = "This worker stood still for too long before it could send."
                return NotAccepted(reason=reason, blocked=False)
            try:
                response = self._session.post(
                    self.address.submit_url(version),
                    data=content,
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                    timeout=(self.limits.connect_s, self.limits.read_s),
                    allow_redirects=False,  # a token goes where it was meant to go
                )
            except requests.ConnectTimeout as error:
                return NotAccepted(reason=_text(error), soon=True)
            except requests.ConnectionError as error:
                # Without a connection nothing was sent; a connection that broke later may have carried the request.
                if cause := _never_connected(error):
                    return NotAccepted(reason=f"No connection to {self.address.service}: {cause}", soon=True)
                return Unknown(reason=_text(error))
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
                return Unknown(reason=f"200 without a run id: {shown(response.text)}")
            return Submitted(run_id=run.id, run_url=run.run_url or self.address.studio_url(run.id))
        reason = f"{status} {wire.error(response)}"
        if status in ABOUT_THE_REQUEST:
            return Refused(reason=reason)
        if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
            soon = status == HTTPStatus.TOO_MANY_REQUESTS
            return NotAccepted(reason=reason, soon=soon, retry_after=retry_after(response))
        return Unknown(reason=reason)

    def run(self, run_id: str) -> Run:
        """Read a run (GET PipelineRuns/{id})."""
        found = wire.run(self._read("GET", self.address.api(f"PipelineRuns/{run_id}")).content)
        if found is None:
            raise EndpointError(f"Run {run_id}: the answer is no run.")
        return self._told(found)

    def cancel(self, run_id: str) -> None:
        """Ask that a run ends (DELETE PipelineRuns/{id}/Execution)."""
        self._read("DELETE", self.address.api(f"PipelineRuns/{run_id}/Execution"))

    def error_of(self, run_id: str) -> str:
        """Read why a run failed, from run history (GET history runs/{id})."""
        return wire.history_run(self._read("GET", self.address.history(f"runs/{run_id}")).content).reason

    def runs(self, version: str) -> list[Run]:
        """List the runs of the pinned version (GET PipelineRuns/Pipeline/{id}); its order and length are unknown."""
        response = self._read("GET", self.address.api(f"PipelineRuns/Pipeline/{self.pinned(version)}"))
        return [self._told(run) for run in wire.runs(response.content)]

    def search(self, key: str, experiment: str) -> Run | None:
        """Look for `key` among the tags and properties in run history (POST runs:query)."""
        experiment = quote(experiment, safe="")
        query = {"filter": f'(Tags/{wire.KEY} eq "{key}" or Properties/{wire.KEY} eq "{key}")', "top": 1}
        response = self._read("POST", self.address.history(f"experiments/{experiment}/runs:query"), query)
        if response.status_code == HTTPStatus.NOT_FOUND or not (found := wire.history_page(response.content)):
            return None  # no such run; or no such experiment yet, which the first run makes
        return self.run(found[0].run_id)

    def pinned(self, version: str) -> str:
        """Return the published pipeline that `version` stands for (GET PipelineEndpoints/Id/{id}); read once."""
        if self.address.kind == "published_pipeline":
            return version
        if version not in self._pins:
            response = self._read("GET", self.address.api(f"PipelineEndpoints/Id/{self.address.id}"))
            self._pins |= wire.versions(response.content)
        if version not in self._pins:
            raise EndpointError(f"Endpoint {self.address.id} has no version {version!r}.")
        return self._pins[version]

    def described(self, version: str) -> Described:
        """Read the endpoint, the pipeline behind `version`, and its parameters.

        GET PipelineEndpoints/Id/{id}, Pipelines/{id}, Graphs/{id}/Interface; the first only, if it has no such version.
        """
        versions: dict[str, str] = {}
        endpoint = None
        pipeline_id: str | None = self.address.id
        if self.address.kind == "pipeline_endpoint":
            content = self._read("GET", self.address.api(f"PipelineEndpoints/Id/{self.address.id}")).content
            endpoint, versions = wire.entity(content), wire.versions(content)
            pipeline_id = versions.get(version)
            if pipeline_id is None:
                return Described(name=endpoint.name or "", status=endpoint.status, versions=tuple(versions))
        pipeline = wire.entity(self._read("GET", self.address.api(f"Pipelines/{pipeline_id}")).content)
        if pipeline.graph_id is None:
            raise EndpointError(f"Pipeline {pipeline_id}: the service's answer names no graph, so no parameters.")
        interface = self._read("GET", self.address.api(f"Graphs/{pipeline.graph_id}/Interface"))
        told = endpoint or pipeline
        return Described(
            name=told.name or "",
            status=told.status,
            versions=tuple(versions),
            pipeline_id=pipeline_id,
            pipeline_status=pipeline.status,
            inputs=wire.inputs(interface.content),
        )

    def registered(self, datastore: str) -> Registered | None:
        """Read a datastore of the workspace (GET datastore/v1.0 datastores/{name}), without keeping its credential."""
        url = f"{self.address.service}/datastore/v1.0{self.address.workspace}/datastores/{quote(datastore, safe='')}"
        try:
            return wire.registered(self._read("GET", url).content)
        except ReadError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _told(self, run: wire.PipelineRun) -> Run:
        return run.told(self.address.studio_url(run.id))

    def _read(self, method: str, url: str, data: Any = None) -> requests.Response:
        """Send a request that starts nothing. Raises EndpointError unless it is answered 2xx, or 404 to a search."""
        for fresh in (False, True):
            if fresh:
                self.tokens.forget()
            headers = {"Authorization": f"Bearer {self.tokens.get()}"}
            try:
                response = self._session.request(
                    method, url, json=data, headers=headers, timeout=READ_LIMITS, allow_redirects=False
                )
            except requests.RequestException as error:
                cause = _never_connected(error) if isinstance(error, requests.ConnectionError) else ""
                told = f"no connection: {cause}" if cause else _text(error)
                raise ReadError(f"{method} {url}: {told}") from error
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                break
        if 200 <= response.status_code < 300 or (data and response.status_code == HTTPStatus.NOT_FOUND):
            return response
        raise ReadError(f"{method} {url}: {response.status_code} {wire.error(response)}", response.status_code)


def new_session() -> requests.Session:
    """Return a session that threads share: it keeps connections, and nothing else from one request to the next."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        # The library sends nothing twice by itself.
        session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=32))
    session.trust_env = False  # no credentials from a .netrc in place of the token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class _NotAcceptedError(Exception):
    """Carries a NotAccepted to where it is decided whether to send again."""

    def __init__(self, answer: NotAccepted) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def retry_after(response: requests.Response, now: datetime | None = None) -> timedelta | None:
    """Return how long the service asks to wait: seconds or a date (RFC 9110, 10.2.3); None when it does not say.

    At most a day: what asks for longer is asked again then.
    """
    value = response.headers.get("Retry-After", "")
    try:
        if value.isdecimal():
            return timedelta(seconds=min(int(value), LONGEST_PAUSE_S))
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)  # "-0000": a time in UTC, of unknown zone
    pause = (when - (now or datetime.now(UTC))).total_seconds()
    return timedelta(seconds=min(max(pause, 0), LONGEST_PAUSE_S))


def _never_connected(error: requests.ConnectionError) -> str:
    """Return why no connection could be made (refused, no route, no such host); empty when there was one."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if type(reason).__name__ not in {"NewConnectionError", "NameResolutionError"}:
        return ""
    return str(reason).rpartition(": ")[2]  # what is in front names objects of the library


def _text(error: Exception) -> str:
    return masked(f"{type(error).__name__}: {error}")[:500]
