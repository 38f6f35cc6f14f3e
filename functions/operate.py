"""For operators: what has been started, acting on it again, and whether the app is fit to start more.

Never starts anything that an operator did not ask for.
"""

from http import HTTPStatus

import azure.functions as func

from functions.answers import RedrivenMany, Resumed, Retrains
from functions.asked import Blob, Nothing, Page, ToClose, ToPause, ToRedrive, ToRedriveMany, ToResume
from functions.http import answer, body_as, is_browser, operation, query_as
from shared.app import app
from shared.errors import ConfigurationError
from shared.ledger.entries import State
from shared.ledger.pauses import Pause
from shared.ledger.table import Only
from shared.operate import health as healths
from shared.operate import overview as overviews
from shared.operate import pausing
from shared.operate import redrive as operators
from shared.operate import status as statuses
from shared.operate import why as stories
from shared.operate.health import Health
from shared.operate.status import Status
from shared.operate.views import Detail, View, detail, view
from shared.operate.why import Story
from shared.rules.durations import duration

blueprint = func.Blueprint()


@blueprint.function_name("status")
@blueprint.route(route="status", methods=["GET"])
@operation(answers={200: (Status,)}, is_page=True)
def status(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 200 when the configuration is sound and the ledger can be reached, else 503 with what is wrong."""
    query_as(req, Nothing)
    made = app()
    if is_browser(req):
        from functions import pages

        return pages.status(req, overviews.overview(made))
    return answer(statuses.status(made))


@blueprint.function_name("health")
@blueprint.route(route="health", methods=["GET"])
@operation(answers={200: (Health,), 503: (Health,)})
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
@operation(query=Page, answers={200: (Retrains,)}, problems=(404,))
def retrains(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the newest retrain requests; see `Page` for what may be asked."""
    made, asked = app(), query_as(req, Page)
    written_since = made.ledger.now() - duration(asked.since) if asked.since else None
    only = Only(
        state=asked.state if isinstance(asked.state, State) else None,
        written_since=written_since,
        prefix=asked.prefix,
        after=asked.after,
    )
    entries = made.history(asked.limit, asked.rule, only)
    more = entries[-1].key if len(entries) == asked.limit else None
    return answer(Retrains(retrains=[view(entry) for entry in entries], next=more))


@blueprint.function_name("why")
@blueprint.route(route="why", methods=["GET"])
@operation(query=Blob, answers={200: (Story,)}, problems=(404,))
def why(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the whole story of one blob."""
    made, asked = app(), query_as(req, Blob)
    return answer(stories.why(made, asked.datastore or made.only_datastore(), asked.path))


@blueprint.function_name("retrain_by_key")
@blueprint.route(route="retrains/{key}", methods=["GET"])
@operation(answers={200: (Detail,)}, problems=(404,), is_page=True)
def retrain_by_key(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one retrain request, with the times of its way and what was sent."""
    query_as(req, Nothing)
    made = app()
    told = detail(made, operators.found(made, req.route_params["key"]).entry)
    if is_browser(req):
        from functions import pages

        return pages.retrain(req, told, made.ledger.now())
    return answer(told)


@blueprint.function_name("redrive")
@blueprint.route(route="retrains/{key}/redrive", methods=["POST"])
@operation(body=(ToRedrive,), answers={202: (View,)}, problems=(404, 409), has_form=True)
def redrive(req: func.HttpRequest) -> func.HttpResponse:
    """Act again on a request that came to a bad end."""
    query_as(req, Nothing)
    made, wish = app(), body_as(req, ToRedrive) if req.get_body() else ToRedrive()
    outcome = operators.redrive(made, req.route_params["key"], wish.force)
    assert outcome.entry is not None  # a redrive always has a row
    return answer(view(outcome.entry), HTTPStatus.ACCEPTED)


@blueprint.function_name("redrive_many")
@blueprint.route(route="redrive", methods=["POST"])
@operation(
    body=(ToRedriveMany,), optional_body=False, answers={200: (RedrivenMany,), 202: (RedrivenMany,)}, problems=(404,)
)
def redrive_many(req: func.HttpRequest) -> func.HttpResponse:
    """Queue another attempt for what a rule has in a state; the timer sends them."""
    query_as(req, Nothing)
    made, asked = app(), body_as(req, ToRedriveMany)
    since = duration(asked.since) if asked.since else None
    entries = operators.wished(made, operators.Wish(rule=asked.rule, state=asked.state, since=since, limit=asked.limit))
    if asked.dry_run:
        return answer(RedrivenMany(redriven=[], would=[entry.key for entry in entries]))
    redriven = list(operators.redrive_many(made, entries))
    return answer(RedrivenMany(redriven=redriven), HTTPStatus.ACCEPTED)


@blueprint.function_name("cancel")
@blueprint.route(route="retrains/{key}/cancel", methods=["POST"])
@operation(answers={202: (View,)}, problems=(404, 409), has_form=True)
def cancel(req: func.HttpRequest) -> func.HttpResponse:
    """Ask the endpoint to end the run of a request."""
    query_as(req, Nothing)
    return answer(view(operators.cancel(app(), req.route_params["key"])), HTTPStatus.ACCEPTED)


@blueprint.function_name("pause")
@blueprint.route(route="pause", methods=["POST"])
@operation(body=(ToPause,), answers={200: (Pause,)}, problems=(404,), has_form=True)
def pause(req: func.HttpRequest) -> func.HttpResponse:
    """Let a rule, or all of them, send nothing."""
    query_as(req, Nothing)
    asked = body_as(req, ToPause) if req.get_body() else ToPause()
    return answer(pausing.pause(app(), asked.rule, asked.reason))


@blueprint.function_name("resume")
@blueprint.route(route="resume", methods=["POST"])
@operation(body=(ToResume,), answers={200: (Resumed,)}, problems=(404,), has_form=True)
def resume(req: func.HttpRequest) -> func.HttpResponse:
    """Let it go on."""
    query_as(req, Nothing)
    asked = body_as(req, ToResume) if req.get_body() else ToResume()
    pausing.resume(app(), asked.rule)
    return answer(Resumed(rule=asked.rule or "*"))


@blueprint.function_name("close")
@blueprint.route(route="retrains/{key}/close", methods=["POST"])
@operation(body=(ToClose,), answers={200: (View,)}, problems=(404, 409), has_form=True)
def close(req: func.HttpRequest) -> func.HttpResponse:
    """End an open request without acting."""
    query_as(req, Nothing)
    made, wish = app(), body_as(req, ToClose) if req.get_body() else ToClose()
    return answer(view(operators.close(made, req.route_params["key"], wish.reason)))
