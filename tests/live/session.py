"""How a place is asked: through the app's own clients, and by plain requests where those hide what is of interest.

Starts nothing unless it is told to, and asks every run that it starts to end. Never follows a redirect.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from shared.identity import Tokens
from shared.pipelines import wire
from shared.pipelines.address import Address
from shared.pipelines.base import Endpoint, Input, Limits, ReadError, Submitted
from shared.pipelines.batch import BatchEndpoint
from shared.pipelines.component import ComponentJob
from shared.pipelines.jobs import API_VERSION
from shared.pipelines.published import PublishedEndpoint
from shared.pipelines.target import Target
from shared.rules.arrival import Source
from shared.rules.decision import DataPath, RetrainRequest
from tests.live.place import PREFIX, Place
from tests.live.recording import Recording
from tests.live.report import Report
from tests.samples import arrival

AnyEndpoint = PublishedEndpoint | BatchEndpoint | ComponentJob
RULE = "live-check"
LOOKS = 40  # at most, for what may take a while: two minutes, at a real workspace
LIMITS = Limits.within(timedelta(minutes=10))


class Live:
    """A place, and what was learned there."""

    def __init__(
        self,
        place: Place,
        session: requests.Session,
        tokens: Callable[[str], Tokens],
        report: Report,
        pause_s: float,
    ) -> None:
        """Ask over `session`, with `tokens` for an audience; `pause_s`: between two looks."""
        self.place, self.session, self.report, self.pause_s = place, session, report, pause_s
        self.recording = Recording(place)
        session.hooks["response"].append(self.recording.take)
        self._tokens, self._kept, self._keys = tokens, dict[str, Tokens](), iter(place.keys)
        self.arm, self.ml = place.cloud.audience, place.cloud.machine_learning

    def need(self, *names: str) -> None:
        """Skip the test, saying so, where a setting is empty."""
        if missing := [f"{PREFIX}{name.upper()}" for name in names if not getattr(self.place, name)]:
            pytest.skip(f"not asked: {', '.join(missing)} not set")

    def token(self, audience: str) -> Tokens:
        """Return tokens for an audience."""
        return self._kept.setdefault(audience, self._tokens(audience))

    def key(self) -> str:
        """Return a key that nobody has used."""
        return next(self._keys)

    @property
    def published(self) -> PublishedEndpoint:
        """The app's client of the pipeline endpoint."""
        address = self.place.published
        assert address is not None
        return PublishedEndpoint(address, self.token(self.arm), self.session, LIMITS)

    @property
    def batch(self) -> BatchEndpoint:
        """The app's client of the batch endpoint."""
        address = self.place.batch
        assert address is not None
        return BatchEndpoint(address, self.token(self.ml), self.token(self.arm), self.session, LIMITS)

    @property
    def component(self) -> ComponentJob:
        """The app's client of the component."""
        management, _, workspace = self.place.arm.partition("/subscriptions/")
        address = Address.of_component(
            management, f"/subscriptions/{workspace}", self.place.component.partition(":")[0]
        )
        return ComponentJob(address, self.token(self.arm), self.session, LIMITS)

    def pin(self, endpoint: Endpoint) -> str:
        """Return what the place has pinned: a version, or a deployment."""
        if isinstance(endpoint, ComponentJob):
            return self.place.component.partition(":")[2]
        return self.place.version if isinstance(endpoint, PublishedEndpoint) else self.place.deployment

    def ask(
        self, method: str, url: str, audience: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Send a plain request, whatever it is answered."""
        headers = {**(headers or {}), "Authorization": f"Bearer {self.token(audience).get()}"}
        return self.session.request(method, url, json=body, headers=headers, timeout=(5, 60), allow_redirects=False)

    def resource(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Send a plain request about something in the workspace to Azure Resource Manager."""
        url = f"{self.place.arm}/{quote(path)}?api-version={API_VERSION['api-version']}"
        return self.ask(method, url, self.arm, body)

    def request(self, endpoint: Endpoint, path: str = "", key: str = "", **parameters: str) -> RetrainRequest:
        """Return a request to train on the place's path, or another; on the first parameter that takes a path.

        Skips the test where there is no such parameter, or one whose value nobody can know.
        """
        inputs = endpoint.described(self.pin(endpoint)).inputs
        data = next((one for one in inputs if one.assignment != "string"), None)
        if data is None:
            pytest.skip("not asked: what is pinned has no parameter that takes a path")
        unknown = [one.name for one in inputs if one.required and one is not data]
        if unknown:
            pytest.skip(f"not asked: what is pinned requires {', '.join(unknown)}, whose values nobody gave")
        return self._request(data, path or self.place.path, key or self.key(), parameters)

    def _request(self, data: Input, path: str, key: str, parameters: dict[str, str]) -> RetrainRequest:
        folder = data.type == "uri_folder"
        parameter = DataPath(datastore=self.place.datastore, path=path, parameter=data.name, assignment=data.assignment)
        return RetrainRequest(
            key=key,
            rule=RULE,
            pipeline=RULE,
            data_path=parameter,
            parameters=parameters,
            arrival=arrival(path, datastore=self.place.datastore, is_folder=folder, source=Source.WEBHOOK),
        )

    def target(self, endpoint: AnyEndpoint, version: str = "") -> Target:
        """Return where a submission goes: to what is pinned, or to another version."""
        pinned = version or self.pin(endpoint)
        return Target(address=endpoint.address, version=pinned, experiment=self.place.experiment)

    def submit(self, endpoint: AnyEndpoint, request: RetrainRequest, version: str = "") -> tuple[str, str]:
        """Submit once; return how it is answered, in words, and the run's id, if there is one. The run is to end."""
        answer = endpoint.submit(request, self.target(endpoint, version), patient=False)
        if isinstance(answer, Submitted):
            return "accepted", answer.run_id
        return f"{type(answer).__name__}: {answer.reason}", ""

    def end(self, endpoint: Endpoint, run_id: str) -> None:
        """Ask a run to end; where that cannot be done the report says so."""
        try:
            endpoint.cancel(run_id)
        except ReadError as error:
            self.report.notes.append(f"A run was started and could not be asked to end: {run_id} ({error})")

    def looks_until(self, seen: Callable[[], bool]) -> str:
        """Look until something is seen; return after how many seconds, in words; empty when it never was."""
        begun = time.monotonic()
        for look in range(LOOKS):
            if look:
                time.sleep(self.pause_s)
            if seen():
                return f"after {time.monotonic() - begun:.0f} s"
        return ""


def told(response: requests.Response) -> str:
    """Return an answer's status, and the service's words when it refuses."""
    return str(response.status_code) if response.ok else f"{response.status_code} {wire.error(response)}"
