"""Two submissions field by field, and whether each difference is explained. Pure; never sends anything.

A field is `method`, `path`, `query NAME`, `header NAME` or `body A/B/C`. Not compared are the host (the stand-in has
several addresses), the body's length, which follows from it, and the token, without which nothing is accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

How = Literal["only the SDK", "only ours", "other value"]
NOT_COMPARED = {"host", "content-length"}
ABSENT = object()


class Explained(NamedTuple):
    """Why a field differs, for some kinds of endpoint."""

    kinds: tuple[str, ...]
    field: str
    """Its name; `*` stands for any characters."""
    how: How
    why: str


class Difference(NamedTuple):
    """A field that differs; `why` is empty where nobody has explained it."""

    kind: str
    field: str
    how: How
    sdk: Any
    """None where the SDK does not send it; `how` tells."""
    ours: Any
    why: str


def fields(received: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a submission, as `/_control/runs` has it."""
    parts = urlsplit(received["url"])
    found: dict[str, Any] = {"method": received["method"], "path": parts.path}
    found |= {f"query {name}": value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    found |= {f"header {name}": value for name, value in received["headers"].items() if name not in NOT_COMPARED}
    return found | {f"body {name}": value for name, value in _leaves(received["body"], "")}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what is not an object, or is an empty one, with the names that lead there."""
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for member, inner in value.items():
        yield from _leaves(inner, f"{name}/{member}" if name else member)


def differences(
    kind: str, sdk: Mapping[str, Any], ours: Mapping[str, Any], explained: Sequence[Explained]
) -> list[Difference]:
    """Return the fields of two submissions that differ."""
    found = []
    for field in dict.fromkeys([*sdk, *ours]):
        theirs, own = sdk.get(field, ABSENT), ours.get(field, ABSENT)
        if theirs == own and type(theirs) is type(own):
            continue
        how: How = "only ours" if theirs is ABSENT else "only the SDK" if own is ABSENT else "other value"
        why = next((one.why for one in explained if _is_about(one, kind, field, how)), "")
        found.append(Difference(kind, field, how, sdk.get(field), ours.get(field), why))
    return found


def stale(kind: str, found: Sequence[Difference], explained: Sequence[Explained]) -> list[Explained]:
    """Return the explanations of differences that there are none of any more."""
    about = [one for one in explained if kind in one.kinds]
    return [one for one in about if not any(_is_about(one, kind, other.field, other.how) for other in found)]


def _is_about(one: Explained, kind: str, field: str, how: How) -> bool:
    return kind in one.kinds and one.how == how and fnmatchcase(field, one.field)
