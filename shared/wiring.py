"""Puts the parts together, once per process: settings, clients, ledger, pipelines.

Never connects to anything while it does: the first request of an arrival is the first round trip.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from shared import settings as configuration
from shared.datastores import Datastore
from shared.identity import Tokens
from shared.ledger import Ledger
from shared.pipelines.base import Limits, Pipeline
from shared.pipelines.published import PublishedEndpoint
from shared.rules import Rule
from shared.settings import Settings
from shared.storage import container_client, table_client

_STARTED = time.monotonic()


@dataclass(frozen=True)
class App:
    """The parts that the flow works with."""

    settings: Settings
    ledger: Ledger
    datastores: dict[str, Datastore]
    """By the datastore's name."""
    pipelines: dict[str, Pipeline]
    """By the pipeline's name in retrain.toml."""
    _first_seen: dict[str, datetime] = field(default_factory=dict)
    _learned: dict[str, bool] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """How long a submission may take."""
        return Limits.within(self.settings.grace)

    def learn(self, pipeline: str, given_back: bool, run_id: str) -> None:
        """Keep whether a run of `pipeline` carried our key; written when it is news to this process."""
        if self._learned.get(pipeline) != given_back:
            self.ledger.learn(pipeline, given_back, run_id)
            self._learned[pipeline] = given_back

    def first_seen(self, rule: Rule) -> datetime:
        """Return when the rule was first seen, by the ledger; read once per process."""
        if rule.name not in self._first_seen:
            uptime = timedelta(seconds=time.monotonic() - _STARTED)
            self._first_seen[rule.name] = self.ledger.since(rule, uptime)
        return self._first_seen[rule.name]

    def close(self) -> None:
        """Give back all connections; for tests and commands, a function app lives as long as its process."""
        self.ledger.table.close()
        for datastore in self.datastores.values():
            datastore.close()
        for pipeline in self.pipelines.values():
            pipeline.close()

    def prepare(self) -> None:
        """Make sure that the ledger is there and knows since when each rule is. Raises StorageError."""
        for rule in self.settings.rules:
            self.first_seen(rule)


def build(settings: Settings) -> App:
    """Wire the parts for `settings`. Raises ConfigurationError when a connection's settings have gaps."""
    limits = Limits.within(settings.grace)
    audiences = {pipeline.audience: Tokens(pipeline.audience) for pipeline in settings.pipelines.values()}
    return App(
        settings=settings,
        ledger=Ledger(table_client(settings.ledger.connection, settings.ledger.table)),
        datastores={
            name: Datastore(name, container_client(store.connection, store.container))
            for name, store in settings.datastores.items()
        },
        pipelines={
            name: PublishedEndpoint(pipeline.url, pipeline.experiment, audiences[pipeline.audience], limits)
            for name, pipeline in settings.pipelines.items()
        },
    )


@cache
def app() -> App:
    """Return this process's App. Raises ConfigurationError, each time anew, while the configuration has faults."""
    return build(configuration.load())
