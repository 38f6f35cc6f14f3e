"""Pages from templates, with escaping on, and under a policy that lets them load and run nothing.

Never knows what is on a page.
"""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from local.workspace.errors import WireError
from local.workspace.runs import Run, utc_now
from local.workspace.state import NAME, Workspace

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
LARGEST_FORM = 64 * 1024  # bytes


def _seconds(run: Run) -> str:
    """How long the run took, or has been taking."""
    if run.started is None:
        return "–"
    return f"{((run.ended or utc_now()) - run.started).total_seconds():.1f} s"


def _clock(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else "–"


def _model(content: Any) -> str:
    return "Gradient boosting" if "max_depth" in content.model.__struct_fields__ else "Logistic regression"


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
_templates.filters.update(seconds=_seconds, clock=_clock, model=_model)
_templates.globals.update(workspace=NAME, refresh=False)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page."""
    return HTMLResponse(_templates.get_template(template).render(values), status, headers=SECURITY)


def missing(error: WireError) -> Response:
    """Return the page of something that is not there."""
    return page("missing.html", error.status, message=error.message)


def workspace_of(request: Request) -> Workspace:
    """Return the state."""
    state: Workspace = request.app.state.workspace
    return state


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; of a field that is there twice, the last."""
    body = await request.body()
    return dict(parse_qsl(body[:LARGEST_FORM].decode(errors="replace"), keep_blank_values=True))
