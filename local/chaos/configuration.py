"""What is deployed: the shipped retrain.toml, over either kind of endpoint; with another pin, pattern, set of rules.

The first rule keeps its name, since a rule with another name is another rule, and every variant takes what chaos
uploads, unless it is without that rule. A pin is changed as a whole: each version goes to an experiment of its own, so
that a version of one configuration in the experiment of another can be told. Never writes a file, never deploys one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from local.chaos.plan import dice
from local.configuration import Kind, over, shipped, toml
from local.workspace.state import PATH as WORKSPACE

VERSIONS = ("0", "1")  # of the stand-in's endpoint; its batch endpoint has a deployment for each
PATTERNS = ("income/{country}/**/*.csv", "**/*.csv")  # beside the shipped one: as wide, for what is uploaded, and wider
OTHER_RULE = {"name": "others", "path": "elsewhere/**/*.csv"}  # takes nothing that is uploaded
AT_LEAST = 3  # so many further configurations have all kinds of changes in them


class Target(NamedTuple):
    """Where submissions go."""

    endpoint: str
    version: str
    """Or deployment."""
    experiment: str


class Places(NamedTuple):
    """What the workspace has."""

    endpoint: str
    """The pipeline endpoint's id."""
    batch_endpoint: str
    """The batch endpoint's name."""
    scoring_uri: str
    """The batch endpoint's address."""


@dataclass(frozen=True)
class Configuration:
    """One variant of retrain.toml; as it is made here, the shipped file itself."""

    number: int = 0
    version: str | None = None
    """Other version than the shipped one."""
    pattern: str | None = None
    """Other pattern of the rule than the shipped one."""
    renamed: bool = False
    """The pipeline's table has another name."""
    second: bool = False
    """There is a second rule, about something else."""
    absent: bool = False
    """The rule is not there; the second one is."""
    batch: bool = False
    """The pipeline is a deployment of the batch endpoint."""

    def content(self, places: Places) -> dict[str, Any]:
        """Return what the file says."""
        content = over("batch", places.scoring_uri, WORKSPACE) if self.batch else shipped()
        rule, pipelines = content["rules"][0], content["pipelines"]
        if self.version is not None:
            pipeline = pipelines[rule["pipeline"]]
            pin = {"deployment": f"income-{self.version}"} if self.batch else {"version": self.version}
            pipeline |= {**pin, "experiment": f"{pipeline['experiment']}-{self.version}"}
        if self.renamed:
            name = f"{rule['pipeline']}-renamed"
            pipelines[name], rule["pipeline"] = pipelines.pop(rule["pipeline"]), name
        other = {**{key: rule[key] for key in ("datastore", "pipeline", "data_path")}, **OTHER_RULE}
        if self.pattern is not None:
            rule["path"] = self.pattern
        content["rules"] = [*([] if self.absent else [rule]), *([other] if self.second else [])]
        return content

    def target(self, places: Places) -> Target:
        """Return where its submissions go."""
        [pipeline] = self.content(places)["pipelines"].values()
        endpoint = places.batch_endpoint if self.batch else places.endpoint
        return Target(endpoint, pipeline["deployment" if self.batch else "version"], pipeline["experiment"])

    def toml(self, places: Places) -> str:
        """Return the file."""
        return toml(self.content(places))

    def __str__(self) -> str:
        facts = [f"version {self.version or 'as shipped'}{' of the batch endpoint' if self.batch else ''}"]
        facts += ["without the rule"] if self.absent else [f"path {self.pattern or 'as shipped'}"]
        facts += ["pipeline renamed"] if self.renamed else []
        facts += ["a second rule"] if self.second else []
        return f"configuration {self.number}: {', '.join(facts)}"


def configurations(seed: int, kind: Kind = "pipeline") -> Iterator[Configuration]:
    """Yield what is deployed one after the other, as the seed says; the shipped pin comes first.

    The version changes each time, and so does the pattern; the pipeline's name each second time, and with `both` kinds
    of endpoint the kind; the second rule comes and goes; each third configuration, also one of the first three, is
    without the rule, and the next one has it again.
    """
    chance = dice(seed, "configurations")
    first = Configuration(batch=kind == "batch")
    shipped_version = next(iter(shipped()["pipelines"].values()))["version"]
    other = next(version for version in VERSIONS if version != shipped_version)
    gone = chance.randrange(1, AT_LEAST)
    last = first
    while True:
        yield last
        number = last.number + 1
        pattern = chance.choice([one for one in (None, *PATTERNS) if one != last.pattern])
        absent = number % AT_LEAST == gone
        last = replace(
            last,
            number=number,
            version=other if last.version is None else None,
            pattern=pattern,
            renamed=number % 4 in (2, 3),  # with either version, and either kind
            second=absent or not last.second,
            absent=absent,
            batch=kind == "batch" or (kind == "both" and number % 4 in (1, 2)),
        )
