"""Path patterns of blob triggers: `container/prefix-{name}.csv`.

The container is literal; `{name}` captures any text, slashes too; `{{` and `}}` are literal braces.
Never looks at storage.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<capture>[A-Za-z_][A-Za-z0-9_]*)\}|[{}]|[^{}]+")


@dataclass(frozen=True)
class PathPattern:
    """A parsed pattern: the container, what every matching name starts with, and the expression for the name."""

    container: str
    prefix: str
    name: re.Pattern[str]

    def captures(self, container: str, blob: str) -> dict[str, str] | None:
        """Return what the pattern captures from a blob's name; None when the blob does not match."""
        match = self.name.fullmatch(blob) if container == self.container else None
        return match.groupdict() if match else None


def parse(path: str) -> PathPattern:
    """Parse a blob trigger's path. Raises ValueError saying what is wrong with it."""
    container, _, name = path.strip("/").partition("/")
    if not re.fullmatch(r"[a-z0-9](-?[a-z0-9])+|\$root|\$web", container):
        raise ValueError(f"{path!r}: {container!r} is no container name (it must be literal)")
    if not name:
        return PathPattern(container, "", re.compile(".+", re.DOTALL))
    expression, prefix, literal_so_far = "", "", True
    for token in _TOKEN.finditer(name):
        if capture := token["capture"]:
            if f"(?P<{capture}>" in expression:
                raise ValueError(f"{path!r}: {{{capture}}} is there twice")
            expression += f"(?P<{capture}>.*)"
            literal_so_far = False
            continue
        if token[0] in "{}":
            raise ValueError(f"{path!r}: a lone brace; {{name}} captures, {{{{ is a literal brace")
        literal = token[0][0] if token[0] in ("{{", "}}") else token[0]
        expression += re.escape(literal)
        prefix += literal if literal_so_far else ""
    return PathPattern(container, prefix, re.compile(expression, re.DOTALL))
