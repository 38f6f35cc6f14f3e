"""Would what a run writes start a rule again, without end? Decided by names alone.

Never looks at storage: what a run will write is not there yet.
"""

from shared.rules.patterns import Pattern, samples
from shared.rules.rule import Rule


def starts_again(rule: Rule, folder: str) -> str | None:
    """Return the name of a blob below `folder` that the rule would take; None when it takes none there.

    What a run calls its files is not known, so any name counts, but for those that the rule ignores.
    """
    segments, above = rule.path.split("/"), folder.strip("/")
    whole = Pattern.parse(rule.path, rule.case_sensitive)
    ignored = [Pattern.parse(text, rule.case_sensitive) for text in rule.ignore]
    for number in sorted(_reached(segments, above.split("/") if above else [], rule.case_sensitive), reverse=True):
        for rest in samples("/".join(segments[number:])):
            name = f"{above}/{rest}" if above else rest
            if rest and whole.takes(name) and not any(pattern.takes(name) for pattern in ignored):
                return name
    return None


def _reached(segments: list[str], folder: list[str], case_sensitive: bool) -> set[int]:
    """Return at which of a pattern's segments what is below a folder may go on."""
    reached = _with_none(segments, {0})
    for part in folder:
        through = {number for number in reached if segments[number] == "**"}
        past = {n + 1 for n in reached - through if Pattern.parse(segments[n], case_sensitive).takes(part)}
        reached = _with_none(segments, through | past)
    return reached


def _with_none(segments: list[str], reached: set[int]) -> set[int]:
    """Return the same with those behind a `**` that takes nothing; without the end, behind which nothing is left."""
    for number, segment in enumerate(segments[:-1]):
        if segment == "**" and number in reached:
            reached.add(number + 1)
    return reached - {len(segments)}
