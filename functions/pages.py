"""Pages for people with a browser: the status, a request, a problem. Whoever does not ask for HTML never sees them.

Everything that comes from outside (blobs' names, endpoints' words) is escaped by the template engine, and masked. No
script, nothing loaded from anywhere; a page's forms go to this app only. Never decides anything.
"""

import base64
import hashlib
import json
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import azure.functions as func
import msgspec

from functions.answers import Problem
from shared import reading
from shared.errors import masked
from shared.operate import overview
from shared.operate.views import Detail, View

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
PREFIX = "/api/"
HTML = "text/html"
WIDTH, HEIGHT, FLOOR, GAP = 700, 150, 130, 8  # of the picture, in its own units
GROUPS: tuple[overview.Group, ...] = ("good", "bad", "open", "other")


def status(req: func.HttpRequest, told: overview.Overview) -> func.HttpResponse:
    """Return the status page."""
    return _page(req, "status.html", told=told, chart=_chart(told.days), now=told.at)


def retrain(req: func.HttpRequest, entry: Detail, now: datetime) -> func.HttpResponse:
    """Return the page of a request."""
    body = json.dumps(msgspec.to_builtins(entry.request.body), indent=2, ensure_ascii=False) if entry.request else ""
    return _page(req, "retrain.html", entry=entry, body=body, now=now)


def for_browser(req: func.HttpRequest, response: func.HttpResponse) -> func.HttpResponse:
    """Return what a browser is shown in place of an answer for programs: a problem's page; after a form the status."""
    if response.mimetype == "application/problem+json":
        told = reading.decode(response.get_body(), Problem)
        return _page(req, "problem.html", response.status_code, problem=told)
    if req.method == "POST" and response.status_code < 300:
        headers = {"Location": _url(req, "status")}
        return func.HttpResponse(status_code=HTTPStatus.SEE_OTHER, headers=headers)
    return response


def _page(req: func.HttpRequest, template: str, status: int = HTTPStatus.OK, **values: Any) -> func.HttpResponse:
    from markupsafe import Markup

    def url(path: str) -> Markup:
        return Markup(Markup.escape(_url(req, path)))

    text = _environment().get_template(template).render(url=url, **values)
    return func.HttpResponse(text, status_code=status, mimetype=HTML, headers=_headers())


def _url(req: func.HttpRequest, path: str) -> str:
    """Return the address of another page or form, with the function key that this one was asked for with, if any."""
    code = parse_qs(urlsplit(req.url).query).get("code")
    return f"{PREFIX}{quote(path)}{'?' + urlencode({'code': code[0]}) if code else ''}"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        """Mask what gives access in whatever a page shows; what is markup was made of masked text."""
        return masked(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=shown, trim_blocks=True
    )
    offered = {"may_be_redriven": overview.may_be_redriven, "may_be_closed": overview.may_be_closed}
    made.globals |= {**offered, "group_of": overview.group_of, "duration": _duration, "is_web": _is_web}
    made.globals["style"] = Markup(_style())
    return made


@cache
def _style() -> str:
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _headers() -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'"
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",  # the address may have a function key in it
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }


def _is_web(address: str | None) -> bool:
    """Tell whether an address can be a link: what an endpoint says is not trusted to be one."""
    return urlsplit(address or "").scheme in ("http", "https")


def _duration(entry: View, now: datetime) -> str:
    """Return how long a run took, or has been going on."""
    if entry.started_at is None:
        return ""
    seconds = max(int(((entry.ended_at or now) - entry.started_at).total_seconds()), 0)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    return text if entry.ended_at else f"{text} so far"


def _chart(days: list[overview.Day]) -> dict[str, Any]:
    """Return where the bars of the picture stand: a day each, its groups one upon the other."""
    most, step = max((day.total for day in days), default=0) or 1, WIDTH / max(len(days), 1)
    bars, labels = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, day in enumerate(days):
        left, top = number * step + GAP / 2, float(FLOOR)
        for group in GROUPS:
            height = day.counts.get(group, 0) * (FLOOR - 20) / most
            top -= height
            if height:
                box = {"x": left, "y": top, "width": step - GAP, "height": height}
                bars.append({"group": group, **{name: round(value, 1) for name, value in box.items()}})
        middle = round(left + (step - GAP) / 2, 1)
        labels.append({"x": middle, "y": HEIGHT - 4, "text": f"{day.day:%d}"})
        if day.total:
            labels.append({"x": middle, "y": round(top - 4, 1), "text": day.total})
    return {"width": WIDTH, "height": HEIGHT, "floor": FLOOR, "bars": bars, "labels": labels}
