"""Puts the parts together, once per process: settings, clients, ledger, pipelines.

Never connects to anything while it does: the first request of an arrival is the first round trip.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from shared import settings as configuration
from shared.datastores import Datastore
from shared.errors import EndpointError, NotFoundError
from shared.identity import Tokens
from shared.ledger import Entry, Ledger
from shared.pipelines.base import Limits, Pipeline
from shared.pipelines.published import PublishedEndpoint
from shared.rules import Rule
from shared.settings import Settings
from shared.storage import container_client, table_client

_STARTED = time.monotonic()
LEARN_AGAIN_S = 600


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
    _learned: dict[str, float] = field(default_factory=dict)
    """Until when (monotonic seconds) what was learned about a pipeline's keys need not be looked at again."""

    @property
    def limits(self) -> Limits:
        """How long a submission may take."""
        return Limits.within(self.settings.grace)

    def endpoint(self, pipeline: str) -> str:
        """Return which endpoint a pipeline of retrain.toml stands for now; empty when there is no such pipeline."""
        found = self.pipelines.get(pipeline)
        return f"{found.address.service}{found.address.workspace}/{found.address.id}" if found else ""

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline. Raises EndpointError when retrain.toml has none of this name any more."""
        if name not in self.pipelines:
            raise EndpointError(f"retrain.toml has no pipeline {name!r} any more; its open work waits for one.")
        return self.pipelines[name]

    def knows_about_keys(self, pipeline: str) -> bool:
        """Tell whether this process has learned lately whether the pipeline gives keys back."""
        return time.monotonic() < self._learned.get(pipeline, 0)

    def learn(self, pipeline: str, given_back: bool, run_id: str) -> None:
        """Keep whether a run of `pipeline` carried our key; looked at again after a while."""
        self.ledger.learn(pipeline, self.endpoint(pipeline), given_back, run_id)
        self._learned[pipeline] = time.monotonic() + LEARN_AGAIN_S

    def rule_names(self) -> list[str]:
        """Return the names of all rules that may have rows, those that retrain.toml no longer has among them."""
        return list(dict.fromkeys([*self.settings.rule_names(), *self.ledger.rules()]))

    def first_seen(self, rule: Rule) -> datetime:
        """Return when the rule was first seen, by the ledger; read once per process."""
        if rule.name not in self._first_seen:
            uptime = timedelta(seconds=time.monotonic() - _STARTED)
            seen = self.ledger.since(rule, uptime)
            self.ledger.register(rule.name)
            self._first_seen[rule.name] = seen
        return self._first_seen[rule.name]

    def history(self, limit: int, rule: str | None = None) -> list[Entry]:
        """Return the newest `limit` entries of all rules, or of one, newest data first. Raises NotFoundError."""
        names = self.rule_names()
        if rule is not None and rule not in names:
            raise NotFoundError(f"There is no rule {rule!r}; known are: {', '.join(names)}.")
        entries = [entry for name in ([rule] if rule else names) for entry in self.ledger.history(name, limit)]
        # A key begins with the time its data was written.
        return sorted(entries, key=lambda entry: entry.key, reverse=True)[:limit]

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
