"""The clients of all endpoints that the app talks to: one for each address, over shared connections and tokens.

Never connects to anything by itself, and knows nothing of retrain.toml: a row's target is enough.
"""

import threading

from shared.identity import Tokens
from shared.pipelines.address import Address
from shared.pipelines.base import Endpoint, Limits
from shared.pipelines.calls import new_session
from shared.pipelines.clouds import cloud_of
from shared.pipelines.published import PublishedEndpoint
from shared.pipelines.target import Target


class Endpoints:
    """Clients by target; safe to share between threads."""

    def __init__(self, limits: Limits) -> None:
        """Submit within `limits`."""
        self.limits = limits
        self.session = new_session()
        self._lock = threading.Lock()
        self._tokens = dict[str, Tokens]()
        self._clients = dict[tuple[Address, str], Endpoint]()

    def at(self, target: Target) -> Endpoint:
        """Return the client for where a submission goes, or went."""
        with self._lock:
            made = self._clients.get((target.address, target.audience))
            if made is None:
                made = self._client(target)
                self._clients[target.address, target.audience] = made
            return made

    def _client(self, target: Target) -> Endpoint:
        address, tokens = target.address, self._tokens_for(target.audience)
        if address.kind == "component_job":
            from shared.pipelines.component import ComponentJob  # only where there is one

            return ComponentJob(address, tokens, self.session, self.limits)
        if address.kind != "batch_endpoint":
            return PublishedEndpoint(address, tokens, self.session, self.limits)
        from shared.pipelines.batch import BatchEndpoint

        management = self._tokens_for(cloud_of(address.management).audience)
        return BatchEndpoint(address, tokens, management, self.session, self.limits)

    def _tokens_for(self, audience: str) -> Tokens:
        return self._tokens.setdefault(audience, Tokens(audience))

    def close(self) -> None:
        """Give back all connections."""
        self.session.close()
