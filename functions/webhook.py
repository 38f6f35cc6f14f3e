"""POST /api/retrain: a caller names a blob, or storage events tell of some. Never answers 2xx before each arrival has
its row or its skip.
"""

from http import HTTPStatus
from typing import Any, Literal

import azure.functions as func
import msgspec

from functions.http import LARGEST_BODY, LARGEST_EVENTS, Nothing, answer, json_of, problem, problems, query_as, typed
from shared.app import app
from shared.flow.outcome import Outcome
from shared.operate.calls import Call, request
from shared.operate.events import deliver
from shared.operate.handshake import confirm
from shared.operate.plan import plan_call
from shared.operate.views import view
from shared.rules import events

blueprint = func.Blueprint()
LONGEST_KEY = 255  # characters of an Idempotency-Key


class Query(msgspec.Struct):
    """The query parameters of a call."""

    dry_run: Literal["true", "false"] = "false"
    """Only say what would be done."""


@blueprint.function_name("retrain")
@blueprint.route(route="retrain", methods=["POST", "OPTIONS"])
@problems
def retrain(req: func.HttpRequest) -> func.HttpResponse:
    """Act on what the body names or tells of."""
    if req.method == "OPTIONS":
        return _allow(req)
    made = app()  # with a faulty configuration nothing is even read: 503, whatever is asked
    if len(req.get_body()) > LARGEST_EVENTS:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {LARGEST_EVENTS:,} bytes.")
    headers = {name.lower(): value for name, value in req.headers.items()}
    body = json_of(req)
    if events.are_events(headers.get("content-type", ""), headers, body):
        return _events(req, headers, body)
    if len(req.get_body()) > LARGEST_BODY:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A call has more than {LARGEST_BODY:,} bytes.")
    call, once = typed(body, Call), headers.get("idempotency-key", "")
    if len(once) > LONGEST_KEY:
        return problem(HTTPStatus.BAD_REQUEST, f"The Idempotency-Key has more than {LONGEST_KEY} characters.")
    if query_as(req, Query).dry_run == "true":
        return answer({"planned": plan_call(made, call)})
    return _answer(request(made, call, once))


def _allow(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the handshake of CloudEvents (abuse protection, "HTTP 1.1 Web Hooks for Event Delivery")."""
    origin = req.headers.get("webhook-request-origin")
    if not origin:
        return problem(HTTPStatus.BAD_REQUEST, "OPTIONS is for the handshake of CloudEvents: WebHook-Request-Origin.")
    return func.HttpResponse(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})


def _events(req: func.HttpRequest, headers: dict[str, str], body: Any) -> func.HttpResponse:
    """Act on events, or prove that they are wanted."""
    made = app()
    query_as(req, Nothing)
    try:
        told = events.read(headers, body)
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, f"These are no events: {error}.")
    if (wanted := events.validation_of(told)) is not None:
        return answer(confirm(*wanted))
    return answer({"events": [_told(outcomes) for outcomes in deliver(made, told)]})


def _told(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return what became of an event or a call, in short."""
    started = [{**view(outcome.entry), "duplicate": outcome.duplicate} for outcome in outcomes if outcome.entry]
    return {
        "started": [{"key": one["key"], "state": one["state"], "run_id": one["run_id"]} for one in started],
        "duplicates": [outcome.key for outcome in outcomes if outcome.duplicate],
        **_rest(outcomes),
    }


def _rest(outcomes: list[Outcome]) -> dict[str, Any]:
    skipped = [{"rule": outcome.skip.rule, "reason": outcome.skip.reason} for outcome in outcomes if outcome.skip]
    settling = [{"rule": one.settling.rule, "folder": one.settling.folder} for one in outcomes if one.settling]
    return {"settling": settling, "skipped": skipped}


def _answer(outcomes: list[Outcome]) -> func.HttpResponse:
    """Return the request that was started, or was there; what further rules made of the blob is told beside it."""
    started = [{**view(outcome.entry), "duplicate": outcome.duplicate} for outcome in outcomes if outcome.entry]
    rest = _rest(outcomes)
    if not started and not rest["settling"]:
        return answer({"state": "skipped", **rest})
    first, *others = started or [{"state": "settling"}]
    return answer({**first, "others": others, **rest}, HTTPStatus.ACCEPTED)
