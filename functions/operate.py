"""For operators: what has been started, acting on it again, and whether the app is fit to start more.

Never starts anything that an operator did not ask for.
"""

from http import HTTPStatus
from typing import Annotated

import azure.functions as func
import msgspec
from msgspec import Meta

from functions.http import Nothing, answer, body_as, problems, query_as
from shared.app import app
from shared.errors import ConfigurationError
from shared.ledger.entries import State
from shared.ledger.table import Only
from shared.operate import health as healths
from shared.operate import pausing
from shared.operate import redrive as operators
from shared.operate import status as statuses
from shared.operate import why as stories
from shared.operate.views import detail, view
from shared.rules.arrival import LONGEST_PATH
from shared.rules.durations import duration
from shared.rules.rule import Duration

blueprint = func.Blueprint()

MOST = 100  # redriven by one call: it has to be answered in time


class Redrive(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a redrive; it may be left out."""

    force: bool = False
    """Also what could double a live run."""


class RedriveMany(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a redrive by rule and state."""

    rule: str
    state: str
    since: Duration | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST
    dry_run: bool = False
    """Only say what it would be about."""


class Resume(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a resume; it may be left out: all rules."""

    rule: str | None = None


class Pause(Resume):
    """The body of a pause; it may be left out: all rules."""

    reason: Annotated[str, Meta(max_length=1000)] = ""


class Retrains(msgspec.Struct):
    """The query of the history."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    rule: str | None = None
    state: State | None = None
    since: Duration | None = None
    """Only of data written within this time."""
    prefix: Annotated[str, Meta(max_length=LONGEST_PATH)] = ""
    """Only of files and folders whose path begins so."""
    after: Annotated[str, Meta(max_length=200)] = ""
    """What the answer before named as `next`."""


class Why(msgspec.Struct):
    """The query about one blob."""

    path: str
    datastore: str | None = None
    """May be left out when there is one only."""


class Close(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a close; it may be left out."""

    reason: Annotated[str, Meta(max_length=1000)] = ""


@blueprint.function_name("status")
@blueprint.route(route="status", methods=["GET"])
@problems
def status(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 200 when the configuration is sound and the ledger can be reached, else 503 with what is wrong."""
    query_as(req, Nothing)
    return answer(statuses.status(app()))


@blueprint.function_name("health")
@blueprint.route(route="health", methods=["GET"])
@problems
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 200 when the app is fit to do its work, else 503; in both cases with what was looked at."""
    query_as(req, Nothing)
    try:
        found = healths.health(app())
    except ConfigurationError as error:
        found = healths.misconfigured(error)
    return answer(found, HTTPStatus.OK if found.status == "healthy" else HTTPStatus.SERVICE_UNAVAILABLE)


@blueprint.function_name("retrains")
@blueprint.route(route="retrains", methods=["GET"])
@problems
def retrains(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the newest retrain requests; see `Retrains` for what may be asked."""
    made, asked = app(), query_as(req, Retrains)
    written_since = made.ledger.now() - duration(asked.since) if asked.since else None
    only = Only(state=asked.state, written_since=written_since, prefix=asked.prefix, after=asked.after)
    entries = made.history(asked.limit, asked.rule, only)
    more = entries[-1].key if len(entries) == asked.limit else None
    return answer({"retrains": [view(entry) for entry in entries], "next": more})


@blueprint.function_name("why")
@blueprint.route(route="why", methods=["GET"])
@problems
def why(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the whole story of one blob."""
    made, asked = app(), query_as(req, Why)
    return answer(stories.why(made, asked.datastore or made.only_datastore(), asked.path))


@blueprint.function_name("retrain_by_key")
@blueprint.route(route="retrains/{key}", methods=["GET"])
@problems
def retrain_by_key(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one retrain request, with the times of its way and what was sent."""
    query_as(req, Nothing)
    made = app()
    return answer(detail(made, operators.found(made, req.route_params["key"]).entry))


@blueprint.function_name("redrive")
@blueprint.route(route="retrains/{key}/redrive", methods=["POST"])
@problems
def redrive(req: func.HttpRequest) -> func.HttpResponse:
    """Act again on a request that came to a bad end."""
    query_as(req, Nothing)
    made, wish = app(), body_as(req, Redrive) if req.get_body() else Redrive()
    outcome = operators.redrive(made, req.route_params["key"], wish.force)
    assert outcome.entry is not None  # a redrive always has a row
    return answer(view(outcome.entry), HTTPStatus.ACCEPTED)


@blueprint.function_name("redrive_many")
@blueprint.route(route="redrive", methods=["POST"])
@problems
def redrive_many(req: func.HttpRequest) -> func.HttpResponse:
    """Queue another attempt for what a rule has in a state; the timer sends them."""
    query_as(req, Nothing)
    made, asked = app(), body_as(req, RedriveMany)
    since = duration(asked.since) if asked.since else None
    entries = operators.wished(made, operators.Wish(rule=asked.rule, state=asked.state, since=since, limit=asked.limit))
    if asked.dry_run:
        return answer({"redriven": [], "would": [entry.key for entry in entries]})
    return answer({"redriven": list(operators.redrive_many(made, entries))}, HTTPStatus.ACCEPTED)


@blueprint.function_name("cancel")
@blueprint.route(route="retrains/{key}/cancel", methods=["POST"])
@problems
def cancel(req: func.HttpRequest) -> func.HttpResponse:
    """Ask the endpoint to end the run of a request."""
    query_as(req, Nothing)
    return answer(view(operators.cancel(app(), req.route_params["key"])), HTTPStatus.ACCEPTED)


@blueprint.function_name("pause")
@blueprint.route(route="pause", methods=["POST"])
@problems
def pause(req: func.HttpRequest) -> func.HttpResponse:
    """Let a rule, or all of them, send nothing."""
    query_as(req, Nothing)
    asked = body_as(req, Pause) if req.get_body() else Pause()
    return answer(pausing.pause(app(), asked.rule, asked.reason))


@blueprint.function_name("resume")
@blueprint.route(route="resume", methods=["POST"])
@problems
def resume(req: func.HttpRequest) -> func.HttpResponse:
    """Let it go on."""
    query_as(req, Nothing)
    asked = body_as(req, Resume) if req.get_body() else Resume()
    pausing.resume(app(), asked.rule)
    return answer({"rule": asked.rule or "*", "paused": False})


@blueprint.function_name("close")
@blueprint.route(route="retrains/{key}/close", methods=["POST"])
@problems
def close(req: func.HttpRequest) -> func.HttpResponse:
    """End an open request without acting."""
    query_as(req, Nothing)
    made, wish = app(), body_as(req, Close) if req.get_body() else Close()
    return answer(view(operators.close(made, req.route_params["key"], wish.reason)))
