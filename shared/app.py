"""Puts the parts together, once per process: settings, clients, ledger, endpoints.

Never connects to anything while it does: the first request of an arrival is the first round trip.
"""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import msgspec

from shared import metrics
from shared.errors import BadRequestError, NotFoundError
from shared.ledger.entries import NEVER, Entry, history_key
from shared.ledger.pauses import ALL, Pause, rules_and_pauses
from shared.ledger.skips import Skips
from shared.ledger.table import Ledger, Only
from shared.ledger.watch import watched_since
from shared.pipelines.base import Endpoint, Limits
from shared.pipelines.endpoints import Endpoints
from shared.pipelines.target import Target
from shared.rules.decision import RetrainRequest
from shared.rules.rule import Rule
from shared.settings import read
from shared.settings.model import Pipeline, Settings
from shared.storage.accounts import container_client, table_client
from shared.storage.datastores import Datastore

_STARTED = time.monotonic()
_MAKING = threading.Lock()
PAUSES_LAST = timedelta(seconds=15)  # so long after a pause something may still be sent


def uptime() -> timedelta:
    """Return how long this process has been there."""
    return timedelta(seconds=time.monotonic() - _STARTED)


@dataclass
class Memory:
    """What a process remembers to save requests; a new process finds it all out again."""

    since: dict[str, datetime] = field(default_factory=dict)
    """Since when each rule is watched."""
    blocked: dict[object, tuple[datetime, str]] = field(default_factory=dict)
    """Until when nothing is sent to an endpoint's version, since it took nothing; and its words."""
    listed: dict[object, datetime] = field(default_factory=dict)
    """When the runs of an endpoint's version were listed last."""
    knows_keys: dict[str, datetime] = field(default_factory=dict)
    """When it was learned last whether an endpoint gives keys back."""
    pauses: tuple[datetime, dict[str, Pause]] = (NEVER, {})
    """What is paused, and when that was read."""
    ticked_at: datetime | None = None
    """When the timer's last tick of this process began."""
    noted_at: datetime = NEVER
    """When it was written down last that the timer runs."""
    health: dict[tuple[str, str], tuple[datetime, Any]] = field(default_factory=dict)
    """What was found by a look at the app's health, and when."""
    skips: Skips = field(default_factory=Skips)
    """What was skipped, and is not written yet."""
    readable: set[str] = field(default_factory=set)
    """Endpoints that could be read the last time, and are not noted as unreadable."""


@dataclass(frozen=True)
class App:
    """The parts that the flow works with."""

    settings: Settings
    ledger: Ledger
    datastores: dict[str, Datastore]
    """By the datastore's name."""
    endpoints: Endpoints
    memory: Memory = field(default_factory=Memory)

    @property
    def limits(self) -> Limits:
        """How long a submission may take."""
        return self.endpoints.limits

    def endpoint(self, target: Target) -> Endpoint:
        """Return the client for where something goes, or went."""
        return self.endpoints.at(target)

    def pipeline_of(self, rule: str) -> Pipeline | None:
        """Return the pipeline that a rule starts, as retrain.toml has it now; None when the rule is gone."""
        found = self.settings.find(rule)
        return self.settings.pipelines[found.pipeline] if found else None

    def destination(self, rule: str, datastore: str) -> Target | str:
        """Return where requests of a rule go now; or why they cannot go anywhere, in words."""
        found = self.settings.find(rule)
        if found is None:
            return f"retrain.toml has no rule {rule!r} any more: put it back, or close this."
        if datastore not in self.settings.datastores:
            return f"retrain.toml has no datastore {datastore!r} any more: put it back, or close this."
        return self.settings.pipelines[found.pipeline].target

    def target_of(self, request: RetrainRequest) -> Target | str:
        """Return where `request` goes now, as a whole; or why it cannot go anywhere, in words."""
        found = self.destination(request.rule, request.data_path.datastore)
        if isinstance(found, str) or not request.experiment:
            return found
        return msgspec.structs.replace(found, experiment=request.experiment)

    def only_datastore(self) -> str:
        """Return the datastore where there is one only. Raises BadRequestError where a caller has to say which."""
        names = list(self.settings.datastores)
        if len(names) != 1:
            raise BadRequestError(f"Give the datastore, one of {', '.join(names)}.")
        return names[0]

    def rule_names(self) -> list[str]:
        """Return the names of all rules that may have rows, those that retrain.toml no longer has among them."""
        ever, marks = rules_and_pauses(self.ledger)
        self.memory.pauses = (self.ledger.now(), marks)
        return list(dict.fromkeys([*self.settings.rule_names(), *ever]))

    def paused(self, rule: str) -> str:
        """Return why a rule sends nothing at present, since an operator paused it; empty: it does.

        Read again after some seconds only, so that it costs an arrival nothing. Raises StorageError.
        """
        now = self.ledger.now()
        if abs(now - self.memory.pauses[0]) > PAUSES_LAST:
            self.memory.pauses = (now, rules_and_pauses(self.ledger)[1])
        return self.known_pause(rule)

    def known_pause(self, rule: str) -> str:
        """Return the same as it was read last, without asking: for what has its row, where nothing may fail."""
        marks = self.memory.pauses[1]
        mark = marks.get(ALL) or marks.get(rule)
        return mark.told() if mark else ""

    def first_seen(self, rule: Rule) -> datetime:
        """Return since when the rule is watched, by the ledger; read once per process. Raises StorageError."""
        if rule.name not in self.memory.since:
            since = watched_since(self.ledger, rule, self.settings.place(rule.datastore), uptime())
            self.ledger.remember_rule(rule.name)
            self.memory.since[rule.name] = since
        return self.memory.since[rule.name]

    def history(self, limit: int, rule: str | None = None, only: Only | None = None) -> list[Entry]:
        """Return the newest `limit` entries of all rules, or of one, that are meant, newest data first.

        Raises NotFoundError for a rule that there is none of, BadRequestError when `only.after` is no key.
        """
        names = self.rule_names()
        if rule is not None and rule not in names:
            raise NotFoundError(f"There is no rule {rule!r}; known are: {', '.join(names)}.")
        names = [rule] if rule else names
        try:
            entries = [entry for name in names for entry in self.ledger.history(name, limit, only)]
        except ValueError as error:
            raise BadRequestError(f"{error}; give the key that an answer before named as next.") from error
        # In the order of each rule's own rows, so that a shorter list is the head of a longer one.
        return sorted(entries, key=lambda entry: history_key(entry.key))[:limit]

    def prepare(self) -> None:
        """Make sure that the ledger is there and knows since when each rule is. Raises StorageError."""
        for rule in self.settings.rules:
            self.first_seen(rule)

    def close(self) -> None:
        """Give back all connections; for commands, a function app lives as long as its process."""
        self.memory.skips.save(self.ledger)
        self.ledger.close()
        for datastore in self.datastores.values():
            datastore.close()
        self.endpoints.close()


def build(settings: Settings, environ: Mapping[str, str] = os.environ) -> App:
    """Wire the parts for `settings`, the connections by `environ`. Raises ConfigurationError when these have gaps."""
    if settings.metrics:
        metrics.start(settings.metrics)
    return App(
        settings=settings,
        ledger=Ledger(
            table_client(settings.ledger.connection, settings.ledger.table, environ),
            told=settings.notify.on if settings.notify else (),
        ),
        datastores={
            name: Datastore(name, container_client(store.connection, store.container, environ))
            for name, store in settings.datastores.items()
        },
        endpoints=Endpoints(Limits.within(settings.grace)),
    )


def app() -> App:
    """Return this process's App. Raises ConfigurationError, each time anew, while the configuration has faults."""
    with _MAKING:  # the first arrivals of a process come at once, and share one
        return made()


@cache
def made() -> App:
    """Make the App that `app` returns."""
    return build(read.load())
