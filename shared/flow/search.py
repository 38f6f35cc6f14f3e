"""Looks for arrivals that nobody told of: lists each container, once for all rules on it, and enters what has no row.

It is the net, not the way. A pass looks at what was written since the pass before, and once a day at everything that
the rules watch, whatever the blobs' dates (what is renamed into place or undeleted keeps its old one). It goes on where
it stopped, and rests in proportion to what it cost, and longer while nothing is missed. Never sends anything: what it
finds is queued.
"""

import hashlib
import logging
import os.path
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec

from shared.app import App
from shared.errors import StorageError
from shared.flow import enter, folders
from shared.flow.arrive import applicable_since
from shared.ledger.entries import NEVER, clipped
from shared.ledger.folders import gathering as gathering_folders
from shared.ledger.watch import Search, save_search, search_of
from shared.log import log, logged
from shared.rules.arrival import Arrival, Source
from shared.rules.decision import RetrainRequest, Settling, written_text
from shared.rules.match import match
from shared.rules.rule import Rule
from shared.storage.datastores import Page

# How far the clocks of those who write blobs and of those who look for them may differ.
CLOCKS = timedelta(minutes=10)
EVERYTHING = timedelta(days=1)  # between two passes that look at everything
# After a pass that found something it rests for so many times what it cost: under one percent of the time; but not
# longer than an hour.
REST, LONGEST_REST = 120, timedelta(hours=1)
# While nothing is missed each rest is twice the one before, so often and up to so long: then looking costs about as
# much as the idle timer, up to some 100,000 blobs.
DOUBLINGS, LONGEST_QUIET_REST = 4, timedelta(hours=4)
THREADS = 8

Wanted = RetrainRequest | Settling


def search(app: App, until: datetime) -> set[str]:
    """Look into all containers, as far as time allows; return the rules that have something queued now.

    Each goes on in the next tick where it stopped.
    """
    found = set[str]()
    places = list({app.settings.place(rule.datastore) for rule in app.settings.rules})
    states = {place: search_of(app.ledger, place) for place in places}
    random.shuffle(places)
    # One that could not be listed may take all the time there is: it is tried after the others.
    for place in sorted(places, key=lambda place: bool((before := states[place]) and before.fault)):
        rules = [rule for rule in app.settings.rules if app.settings.place(rule.datastore) == place]
        with logged("search", place=place):
            search_one(app, place, states[place], rules, until, found)
    return found


def search_one(
    app: App, place: str, before: Search | None, rules: list[Rule], until: datetime, found: set[str]
) -> None:
    """Look into one container, from where it was left `before`. Raises StorageError.

    Notes in `found` which rules have something queued now.
    """
    now, looks_for = app.ledger.now(), digest(rules)
    state = before or Search(begun_at=now)
    asked = state.asked_at > state.begun_at
    if asked or state.rules != looks_for:  # what came while a rule was not there, or was another one, is found now
        state = msgspec.structs.replace(state, rules=looks_for, marker="", rests_until=now, compared_at=NEVER, quiet=0)
    if now > until or (not state.marker and now < state.rests_until):
        return
    if not state.marker:
        everything = now - state.compared_at >= EVERYTHING
        state = msgspec.structs.replace(
            state,
            begun_at=now,
            looked_from=NEVER if everything else state.looked_from,
            compared_at=now if everything else state.compared_at,
            cost_s=0.0,
            quiet=state.quiet + (not state.fault),  # one that could not be done has found nothing either way
        )
    finder, marker, begun, fault = Finder(app, rules, state.looked_from, found), state.marker, now, ""
    finder.left_from = state.left_from
    prefix = os.path.commonprefix([rule.prefix() for rule in rules])  # noqa: RUF071 - of characters, as a listing takes it
    try:
        for page in app.datastores[rules[0].datastore].pages(prefix, marker):
            finder.feed(page)
            marker = page.marker
            if app.ledger.now() > until:
                break
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        raise
    finally:
        # What storage takes while it does not answer is no cost of looking.
        cost = state.cost_s + (0.0 if fault else (app.ledger.now() - begun).total_seconds())
        state = msgspec.structs.replace(
            state,
            marker=marker,
            cost_s=cost,
            fault=clipped(fault, 1000),
            left_from=finder.left_from,
            quiet=0 if finder.missed else state.quiet,
        )
        save_search(app.ledger, place, state if marker or fault else rested(app, state))


def digest(rules: list[Rule]) -> str:
    """Return what is looked for, as a short text."""
    text = "\n".join(f"{rule.name} {rule.path} {rule.datastore}" for rule in rules)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rested(app: App, state: Search) -> Search:
    """Return the state after a pass that came to its end; what it had to leave, the next one looks at again."""
    rest = min(timedelta(seconds=state.cost_s * REST), LONGEST_REST) * 2 ** min(state.quiet, DOUBLINGS)
    rests_until = app.ledger.now() + min(rest, LONGEST_QUIET_REST)
    looked_from = state.begun_at - settles_within(app) - CLOCKS
    if state.left_from != NEVER:
        looked_from = min(looked_from, state.left_from)
    return msgspec.structs.replace(
        state,
        looked_from=looked_from,
        reached=looked_from,
        left_from=NEVER,
        cost_s=0.0,
        rests_until=min(rests_until, state.compared_at + EVERYTHING),
    )


def settles_within(app: App) -> timedelta:
    """Return how new a blob may be to be left to its delivery, which is under way."""
    return min(timedelta(minutes=1), app.settings.grace)


class Finder:
    """Finds, in the pages of one container's listing, what has no row yet, and enters it."""

    def __init__(self, app: App, rules: list[Rule], looked_from: datetime, queued: set[str]) -> None:
        """Look for arrivals of `rules` that were written since a time. Raises StorageError."""
        self.app, self.rules, self.queued = app, rules, queued
        self.newest = app.ledger.now() - settles_within(app)
        self.since = {rule.name: since for rule in rules if (since := applicable_since(app, rule, Source.SEARCH))}
        self.oldest = {rule.name: max(looked_from, self.since.get(rule.name, NEVER)) for rule in rules}
        self.left_from = NEVER
        """When the oldest was written that could not be entered."""
        self.missed = False
        """Whether something was entered, or should have been."""
        self._known = dict[str, Known]()

    def feed(self, page: Page) -> None:
        """Enter what a page has and nobody told of, newest first; one that cannot be entered stops no other.

        Raises StorageError when it is not about single blobs: then the page is looked at once more.
        """
        found = list[Wanted]()
        least = min(self.oldest.values()).replace(microsecond=0)
        recent = [arrival for arrival in page.arrivals if least <= arrival.last_modified <= self.newest]
        for arrival in sorted(recent, key=lambda arrival: arrival.last_modified, reverse=True):
            found += self._new(arrival)
        if not found:
            return
        with ThreadPoolExecutor(THREADS, "search") as pool:
            failed = [wanted for wanted in pool.map(self._failing, found) if wanted]
        if failed:
            self.missed = True
            self.app.ledger.probe()  # does storage answer at all? If not, the page has to wait
            left = [wanted.arrival.last_modified for wanted in failed]
            for wanted in failed:
                with logged("not_entered", rule=wanted.rule, path=wanted.arrival.path):
                    self.enter(wanted)
                    left.remove(wanted.arrival.last_modified)
            if left:
                self.left_from = min(left if self.left_from == NEVER else [*left, self.left_from])

    def _new(self, arrival: Arrival) -> Iterator[Wanted]:
        """Yield what an arrival starts, under each name that its container is registered under, and has no row."""
        for datastore in {rule.datastore for rule in self.rules}:
            here = msgspec.structs.replace(arrival, datastore=datastore)
            for decision in match(self._watching(here), here, self.since):
                if isinstance(decision, Wanted) and self._known_to(decision.rule).is_new(decision):
                    yield decision

    def _watching(self, arrival: Arrival) -> list[Rule]:
        """Return the rules whose pass this arrival belongs to."""
        return [rule for rule in self.rules if arrival.last_modified >= self.oldest[rule.name].replace(microsecond=0)]

    def _known_to(self, name: str) -> "Known":
        """Return what a rule has rows for; read when it is needed first. Raises StorageError."""
        if name not in self._known:
            rule = next(rule for rule in self.rules if rule.name == name)
            self._known[name] = Known(self.app, rule, self.oldest[name])
        return self._known[name]

    def _failing(self, wanted: Wanted) -> Wanted | None:
        """Enter one; return it when storage did not take it."""
        try:
            self.enter(wanted)
        except StorageError:
            return wanted
        return None

    def enter(self, wanted: Wanted) -> None:
        """Enter one. Raises StorageError."""
        if isinstance(wanted, Settling):
            self.missed |= not self._known_to(wanted.rule).gathers(wanted)
            folders.gather(self.app, wanted, enter.queued)
            return
        if enter.queued(self.app, wanted).duplicate:
            return
        self.missed = True
        log("missed", logging.WARNING, key=wanted.key, rule=wanted.rule, path=wanted.arrival.path)
        self.queued.add(wanted.rule)


class Known:
    """What a rule has rows for, written since a time."""

    def __init__(self, app: App, rule: Rule, since: datetime) -> None:
        known = list(app.ledger.known(rule.name, since))
        self.keys = {one.key for one in known}
        # A datastore that was renamed makes other keys of the same blobs.
        self.moved = {(one.path, one.key[:16]) for one in known if one.datastore not in app.settings.datastores}
        gathering = gathering_folders(app.ledger, rule.name) if rule.settle else []
        self.gathering = {(one.datastore, one.folder) for one in gathering}
        self.waiting = {one.folder for one in gathering if one.datastore not in app.settings.datastores}
        # A folder's run has the time of its newest file in its key.
        self.folders = {one.path: one.key[:16] for one in sorted(known, key=lambda one: one.key)}

    def is_new(self, decision: Wanted) -> bool:
        """Tell whether nobody has told of it; a folder is noted once."""
        written = written_text(decision.arrival.last_modified)
        if isinstance(decision, RetrainRequest):
            return decision.key not in self.keys and (decision.arrival.path, written) not in self.moved
        if decision.folder in self.waiting or self.folders.get(decision.folder, "") >= written:
            return False
        self.folders[decision.folder] = written
        return True

    def gathers(self, settling: Settling) -> bool:
        """Tell whether its folder gathers already: then somebody has told of it, or of a file beside it."""
        return (settling.datastore, settling.folder) in self.gathering
