"""Do the events of new data reach the app? Its event subscriptions, held against retrain.toml: target, key, filters.

Pure: what was read is given to it, and it never reads anything. Never shows a key or an address that has one.

Sources: Microsoft Learn, "Event filtering for Event Grid subscriptions" (advanced filters on texts ignore case; all of
them have to hold), "Azure Blob Storage as an Event Grid source" (which call raises what).
"""

import hmac
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec

from shared.deployed.management import AdvancedFilter, Filter, Subscription
from shared.deployed.place import name_of
from shared.operate.findings import Finding
from shared.operate.hosted import arriving
from shared.rules import patterns
from shared.rules.check import samples
from shared.rules.rule import Rule
from shared.settings.model import Settings

CREATED = "Microsoft.Storage.BlobCreated"
WRITES = ("PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose")
"""The calls that end the writing of a blob: small, in blocks, copied; on a hierarchical account."""
QUEUE = "retrain-events"
KEY = "blobs_extension"
FUNCTION = "Host.Functions."
HOOK = "/runtime/webhooks/blobs"
CALLERS = "/api/retrain"  # takes events, too, with a token in place of a key

AGAIN = {
    "blob": "Delete it (az eventgrid system-topic event-subscription delete), then `azd hooks run postdeploy`.",
    "queue": "Delete it (az eventgrid system-topic event-subscription delete), then `azd provision`.",
}
MAKE = {"blob": "`azd hooks run postdeploy` makes it.", "queue": "`azd provision` makes it."}
FILTERS = (
    "Change the subscription's filters; TRAINING_DATASTORES has the prefixes that it was made with (docs/deploy.md)."
)


class Awaited(msgspec.Struct, frozen=True, kw_only=True):
    """What an app has to get its events by, and what was read of the topic."""

    settings: Settings
    hosts: list[str]
    """Where the app answers; the first is its own name."""
    storage: str
    """The account of the app's queue; empty: its connection does not tell."""
    functions: frozenset[str] | None
    """What the host has found; None: it could not be listed."""
    key: str | None
    """The system key; None: keys could not be read. Never shown."""
    master: str
    """The host's master key, which opens everything. Never shown."""
    token: str
    """What the names of the app's own subscriptions have in them, by azd; empty: nobody said."""
    subscriptions: list[Subscription]
    """All of the topic, those of others among them."""
    urls: dict[str, str]
    """The webhooks' addresses, with keys, by subscription, as far as they could be read. Never shown."""

    def __repr__(self) -> str:
        return f"Awaited({[one.name for one in self.subscriptions]})"

    def judged(self) -> Iterator[Finding]:
        """Yield what was found of each container that retrain.toml watches."""
        for (connection, container), function in arriving(self.settings).items():
            yield from self._container(container, function, self.settings.datastores_on(connection, container))

    def _container(self, container: str, function: str, datastores: list[str]) -> Iterator[Finding]:
        where, way = f"events of {container}", self.settings.events
        target = f"queue {QUEUE!r}" if way == "queue" else f"function {function!r}"
        right = [one for one in self.subscriptions if not self._astray(one, function)]
        here = [one for one in right if covers(one.filter, container)]
        if not here:
            near = [one for one in self.ours() if covers(one.filter, container) and one not in right]
            if near:
                what = (
                    f"subscription {near[0].name!r} {self._astray(near[0], function)}; the app awaits them by {target}"
                )
                yield Finding("fault", where, what, AGAIN[way])
            elif right:
                begins = right[0].filter.subject_begins_with
                what = f"subscription {right[0].name!r} lets none through: its subjects begin with {begins!r}"
                yield Finding("fault", where, what, FILTERS)
            else:
                yield Finding("fault", where, f"no event subscription leads them to {target}", MAKE[way])
            return
        faults = [fault for one in here for fault in self._one(where, one)]
        rules = [rule for rule in self.settings.rules if rule.datastore in datastores]
        faults += (fault for rule in rules if (fault := _narrow(where, here, container, rule)))
        yield from faults
        if not faults:
            yield Finding("ok", where, f"{', '.join(one.name for one in here)}: new data is told of by {target}")
        for one in here:
            if one.dead_letters is None:
                what = f"subscription {one.name!r} keeps no dead letters: what cannot be delivered leaves no trace"
                yield Finding("warning", where, what, "The search finds its blobs; `azd provision` sets a container.")

    def ours(self) -> list[Subscription]:
        """Return the subscriptions that are the app's, whatever is wrong with them: a topic may have others', too."""
        return [
            one
            for one in self.subscriptions
            if (self.token and one.name.startswith(f"retrain-{self.token}-"))
            or self._address(one).netloc.lower() in self.hosts
            or (self.storage and _account(one) == self.storage)
        ]

    def _address(self, one: Subscription) -> SplitResult:
        """Return a webhook's address, without its query where that could not be read; an empty one of others."""
        return urlsplit(self.urls.get(one.name) or str(one.to.properties.get("endpointBaseUrl") or ""))

    def _by_callers(self, one: Subscription) -> bool:
        """Tell whether a subscription delivers as a caller of the app: that works whatever RETRAIN_EVENTS says."""
        address = self._address(one)
        return address.netloc.lower() in self.hosts and address.path == CALLERS

    def _astray(self, one: Subscription, function: str) -> str:
        """Return where a subscription delivers to, if that is not where the app awaits a container's events."""
        wanted = "StorageQueue" if self.settings.events == "queue" else "WebHook"
        kind, address = one.to.endpoint_type, self._address(one)
        if self._by_callers(one):
            return ""
        if kind != wanted:
            return f"delivers to a {kind or 'target of no known type'} (RETRAIN_EVENTS is {self.settings.events!r})"
        if kind == "StorageQueue":
            queue, account = str(one.to.properties.get("queueName")), _account(one)
            astray = queue != QUEUE or (self.storage and account != self.storage)
            return f"delivers to queue {queue!r} of account {account!r}" if astray else ""
        if address.netloc.lower() not in self.hosts:
            return f"calls {address.netloc}, the app answers at {self.hosts[0]}"
        if address.path != HOOK:
            return f"calls {address.path}, the blob trigger is told at {HOOK}"
        called = _query(address.query, "functionName").removeprefix(FUNCTION)
        if one.name not in self.urls or called == function:  # what could not be read is said already
            return ""
        if self.functions is not None and called not in self.functions:
            return f"calls function {called!r}, which the app does not have: the host answers 202, and events are lost"
        return f"calls function {called!r}"

    def _one(self, where: str, one: Subscription) -> Iterator[Finding]:
        """Yield the faults of a subscription whose target is the right one."""
        again = AGAIN[self.settings.events]
        if one.provisioning_state != "Succeeded":
            what = f"subscription {one.name!r} is {one.provisioning_state or 'in no known state'}, and delivers nothing"
            yield Finding("fault", where, what, again)
        if self.key is None or one.name not in self.urls or self._by_callers(one):
            return
        code = _query(self._address(one).query, "code").encode()
        if any(key and hmac.compare_digest(code, key.encode()) for key in (self.key, self.master)):
            return
        if self.key:
            what = f"subscription {one.name!r} brings another key than the host's {KEY!r}: deliveries are answered 401"
            yield Finding("fault", where, what, f"{again} What came meanwhile is found by the search.")
        else:
            what = f"the host has no system key {KEY!r}, which deliveries have to bring"
            cure = "It makes one for a blob trigger on events: is RETRAIN_BLOB_SOURCE set to something else?"
            yield Finding("fault", where, what, cure)

    def told_of(self, datastore: str, path: str) -> tuple[list[str], list[str]]:
        """Return which subscriptions tell the app of a blob; and why each other one does not."""
        store = self.settings.datastores[datastore]
        function = arriving(self.settings)[store.connection, store.container]
        told, why = list[str](), list[str]()
        for one in self.ours():
            reason = self._astray(one, function) or refusal(one.filter, subject(store.container, path))
            why.append(f"{one.name} {reason}") if reason else told.append(one.name)
        return told, why


def _account(one: Subscription) -> str:
    """Return the storage account that a subscription delivers to; empty where it is none."""
    return name_of(str(one.to.properties.get("resourceId") or "")) if one.to.endpoint_type == "StorageQueue" else ""


def _query(query: str, name: str) -> str:
    return parse_qs(query).get(name, [""])[0]


def subject(container: str, path: str) -> str:
    """Return the subject of an event about a blob."""
    return f"/blobServices/default/containers/{container}/blobs/{path}"


def covers(told: Filter, container: str) -> bool:
    """Tell whether a filter lets anything of a container through, by how subjects have to begin."""
    begins, below = (told.subject_begins_with or "").lower(), subject(container, "").lower()
    return begins.startswith(below) or below.startswith(begins)


def refusal(told: Filter, about: str, api: str = WRITES[0], kind: str = CREATED) -> str:
    """Return why a filter does not let an event through; empty when it does, as far as can be told."""
    types = told.included_event_types
    if types and kind.lower() not in [one.lower() for one in types]:
        return f"lets only events of type {', '.join(types)} through, not {kind}"
    plain: Callable[[str], str] = str if told.is_subject_case_sensitive else str.lower
    begins, ends = told.subject_begins_with or "", told.subject_ends_with or ""
    if not plain(about).startswith(plain(begins)):
        return f"lets only subjects through that begin with {begins!r}"
    if not plain(about).endswith(plain(ends)):
        return f"lets only subjects through that end with {ends!r}"
    values = {"subject": about, "eventtype": kind, "data.api": api}
    for condition in told.advanced_filters or []:
        value = values.get(condition.key.lower())
        if value is not None and not _holds(condition, value):
            words = ", ".join(map(str, condition.values or []))
            return f"lets no {condition.key} {value!r} through ({condition.operator_type}: {words})"
    return ""


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "in": str.__eq__,
    "beginswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}


def _holds(condition: AdvancedFilter, value: str) -> bool:
    """Tell whether a condition on a text holds; one of a kind that is not known here does."""
    kind = condition.operator_type.lower().removeprefix("string")
    compare = _OPERATORS.get(kind.removeprefix("not"))
    if compare is None:
        return True
    found = any(compare(value.lower(), str(one).lower()) for one in condition.values or [])
    return found != kind.startswith("not")


def _narrow(where: str, here: list[Subscription], container: str, rule: Rule) -> Finding | None:
    """Is there anything that a rule watches, and of which no subscription tells?"""

    def refused(path: str, api: str) -> str:
        reasons = [f"subscription {one.name!r} {refusal(one.filter, subject(container, path), api)}" for one in here]
        passed = any(not refusal(one.filter, subject(container, path), api) for one in here)
        return "" if passed else reasons[0]

    for path in watched(rule):
        for api in WRITES:
            if reason := refused(path, api):
                return Finding("fault", where, f"rule {rule.name!r} watches for {path!r}, but {reason}", FILTERS)
    return None


def watched(rule: Rule) -> list[str]:
    """Return some paths that a rule waits for: of its examples, made up after its pattern, markers."""
    found = [example.path for example in rule.examples if not example.skip] + samples(rule)
    announcers = (rule.settle.marker, rule.settle.manifest) if rule.settle else ()
    return found + [path for name in announcers if name for path in patterns.samples(rule.announcing(name))]
