"""The filter grammar of runs:query, as far as the SDK writes it.

    ((Tags/key eq "value") and (Properties/a.b eq "c" or Status eq Completed) and (ParentRunId eq null))

Values stand in double quotes without escapes, or bare; `null` is bare. Never guesses: what does not parse is an error,
and a field that Azure has and the stand-in has not is said to be not implemented.
"""

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import VisitError

from local.workspace.errors import WireError, bad_request, not_implemented

type Test = Callable[[Mapping[str, Any]], bool]

GRAMMAR = r"""
?start: either
?either: both ("or" both)*      -> either
?both: one ("and" one)*         -> both
?one: "(" either ")" | comparison
comparison: FIELD OPERATOR value
?value: QUOTED -> quoted
      | MOMENT -> bare
      | BARE -> bare

FIELD: /[A-Za-z][A-Za-z0-9]*(\/[^\s()"']+)?/
OPERATOR: "eq" | "ne" | "ge" | "le" | "gt" | "lt"
QUOTED: /"[^"]*"/
MOMENT.2: /\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?/
BARE: /[^\s()"']+/
%ignore /\s+/
"""

# Field of the filter -> member of the run as run history writes it.
FIELDS = {
    "RunId": "runId",
    "ParentRunId": "parentRunId",
    "RootRunId": "rootRunId",
    "RunNumber": "runNumber",
    "Status": "status",
    "RunType": "runType",
    "Target": "target",
    "CreatedUtc": "createdUtc",
    "StartTimeUtc": "startTimeUtc",
    "EndTimeUtc": "endTimeUtc",
}
MOMENTS = ("CreatedUtc", "StartTimeUtc", "EndTimeUtc")
MAPS = {"Tags": "tags", "Properties": "properties"}
MAX_GROUPS = 100  # far more than anybody writes, and far less than the parse tree could take
ABSENT = object()
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "ge": operator.ge,
    "le": operator.le,
    "gt": operator.gt,
    "lt": operator.lt,
}


def moment(text: str) -> datetime:
    """Read a time; one without a zone is UTC. Raises ValueError."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@v_args(inline=True)
class _Build(Transformer[Token, Test]):
    """Turns the parse tree into one function that tests a run."""

    def either(self, *tests: Test) -> Test:
        return lambda run: any(test(run) for test in tests)

    def both(self, *tests: Test) -> Test:
        return lambda run: all(test(run) for test in tests)

    def quoted(self, token: Token) -> str:
        return token[1:-1]

    def bare(self, token: Token) -> str | None:
        return None if token == "null" else str(token)

    def comparison(self, field: Token, word: Token, value: str | None) -> Test:
        get = _getter(field)
        convert = _converter(field)
        wanted = None if value is None else convert(value)

        def test(run: Mapping[str, Any]) -> bool:
            found = get(run)
            if found is ABSENT:  # so that `(Tags/k ne null or Tags/k eq null)` asks whether the key is there
                return False
            found = convert(found) if isinstance(found, str) else found
            if word == "eq":
                return bool(found == wanted)
            if word == "ne":
                return bool(found != wanted)
            return found is not None and wanted is not None and ORDER[word](found, wanted)

        return test


def _getter(field: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return what reads a field from a run. Raises WireError for a field that is not there."""
    name, slash, key = field.partition("/")
    if slash and name in MAPS:
        member = MAPS[name]
        return lambda run: run[member].get(key, ABSENT)
    if not slash and name in FIELDS:
        member = FIELDS[name]
        return lambda run: run[member]
    raise not_implemented(f"the field '{field}' in a run filter")


def _converter(field: str) -> Callable[[str], Any]:
    """Return what makes the values of a field comparable."""
    if field == "RunNumber":
        return int
    return moment if field in MOMENTS else str


_PARSER = Lark(GRAMMAR, parser="lalr", lexer="contextual")


@lru_cache(maxsize=256)
def compile_filter(text: str) -> Test:
    """Return the test that a filter stands for. Raises WireError: 400 for bad grammar, 501 for an unknown field."""
    if text.count("(") > MAX_GROUPS:
        raise bad_request(f"filter: more than {MAX_GROUPS} groups.")
    try:
        return _Build().transform(_PARSER.parse(text))
    except UnexpectedInput as error:
        raise bad_request(f"filter: not understood at character {error.column}: {text!r}.") from error
    except VisitError as error:
        if isinstance(error.orig_exc, WireError):
            raise error.orig_exc from error
        raise bad_request(f"filter: {error.orig_exc}.") from error
