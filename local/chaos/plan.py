"""When which app dies, how, and what it comes back with; when the identity loses its role. All of it from the seed.

Says what is to happen, endlessly; never does it.
"""

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from local.chaos.configuration import Configuration

APPS = (0, 1)
GAP_S = (0.5, 3.0)  # between a start and the next kill; longer later on, since each start costs a core for two seconds
LONGER_S, LONGEST_S = 2.0, 16.0
DEPLOYED_LONGER_S = 0.5  # the same for deployments, of which some have to fit into a short load
DOWN_S = (0.0, 2.0)  # between a kill and the start
BOTH = 0.15  # of the kills end both apps
AT_ONCE = 0.5  # of the deployments end both apps; else one is deployed after the other,
OVERTAKEN = 0.2  # or only one of them, before the next deployment begins
SOFT = 0.5  # of the deployments let the app end in order
FIRST_CALM_S, CALM_S = (1.0, 3.0), (15.0, 30.0)  # before the role is lost, and before it is lost again
LOST_S = (2.0, 4.0)  # the role is lost for so long, and then for so long again with it the right to read


class Step(NamedTuple):
    """One kill: `gap_s` after the last start these apps end, and come back `down_s` later."""

    gap_s: float
    victims: tuple[int, ...]
    down_s: float
    soft: bool = False
    """The app is asked to end, and may finish what it is at."""
    configuration: "Configuration | None" = None
    """What they come back with; None: what they had."""


class Absence(NamedTuple):
    """The identity's role is lost: for a while it may only read, then not even that."""

    calm_s: float
    reader_s: float
    none_s: float


def dice(seed: int, about: str) -> random.Random:
    """Return the dice for one purpose: what happens elsewhere does not change how they fall."""
    return random.Random(f"{seed} {about}")


def kills(seed: int) -> Iterator[Step]:
    """Yield the kills of apps that always come back as they were."""
    chance = dice(seed, "kills")
    for number in itertools.count():
        victims = APPS if chance.random() < BOTH else (chance.choice(APPS),)
        yield Step(_gap(chance, number * LONGER_S), victims, chance.uniform(*DOWN_S))


def deployments(seed: int, configurations: "Iterable[Configuration]") -> Iterator[Step]:
    """Yield the kills that deploy one configuration after the other.

    What follows a configuration without the rule reaches both apps, so that the rule is back everywhere with it.
    """
    chance = dice(seed, "deployments")
    number, was_absent = itertools.count(), False
    for configuration in configurations:
        one, other = chance.sample(APPS, 2)
        groups: list[tuple[int, ...]] = [APPS] if chance.random() < AT_ONCE else [(one,), (other,)]
        if chance.random() < OVERTAKEN and not was_absent:
            groups = groups[:1]
        was_absent = configuration.absent
        for victims in groups:
            gap, down, soft = (
                _gap(chance, next(number) * DEPLOYED_LONGER_S),
                chance.uniform(*DOWN_S),
                chance.random() < SOFT,
            )
            yield Step(gap, victims, down, soft, configuration)


def absences(seed: int) -> Iterator[Absence]:
    """Yield when the role is lost, and for how long."""
    chance = dice(seed, "roles")
    for calm in itertools.chain([FIRST_CALM_S], itertools.repeat(CALM_S)):
        yield Absence(chance.uniform(*calm), chance.uniform(*LOST_S), chance.uniform(*LOST_S))


def _gap(chance: random.Random, longer_s: float) -> float:
    return chance.uniform(GAP_S[0], GAP_S[1] + min(longer_s, LONGEST_S))
