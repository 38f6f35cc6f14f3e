"""POST /api/retrain: a caller names a blob, or storage events tell of some. Never answers 2xx before each arrival has
its row or its skip.
"""

import os
from http import HTTPStatus
from typing import Any

import azure.functions as func
import msgspec

from functions.answers import Accepted, Acted, Events, Gathers, Handshake, NotStarted, Passed, Plan, Run, Started
from functions.asked import Dry, Nothing
from functions.http import LARGEST_BODY, LARGEST_EVENTS, answer, json_of, operation, query_as, too_large, typed
from shared.app import app
from shared.errors import BadRequestError
from shared.flow import send
from shared.flow.outcome import Outcome
from shared.operate.callers import proved
from shared.operate.calls import Call, request
from shared.operate.events import deliver
from shared.operate.handshake import confirm
from shared.operate.plan import plan_call
from shared.operate.views import view
from shared.rules import events

blueprint = func.Blueprint()
LONGEST_KEY = 255  # characters of an Idempotency-Key


def _level() -> func.AuthLevel:
    """Return whether the platform asks for a function key; the configuration sees to it that something else does."""
    anonymous = os.environ.get("RETRAIN_WEBHOOK_LEVEL") == "anonymous"
    return func.AuthLevel.ANONYMOUS if anonymous else func.AuthLevel.FUNCTION


@blueprint.function_name("retrain")
@blueprint.route(route="retrain", methods=["POST", "OPTIONS"], auth_level=_level())
@operation(
    query=Dry,
    body=(Call, events.GridEvent, list[events.GridEvent], events.CloudEvent, list[events.CloudEvent]),
    optional_body=False,
    answers={202: (Accepted, NotStarted), 200: (NotStarted, Plan, Events, Handshake)},
    problems=(401, 404, 409, 413),
)
def retrain(req: func.HttpRequest) -> func.HttpResponse:
    """Act on what the body names or tells of."""
    if req.method == "OPTIONS":
        return _allow(req)
    made = app()  # with a faulty configuration nothing is even read: 503, whatever is asked
    if len(req.get_body()) > LARGEST_EVENTS:
        return too_large(LARGEST_EVENTS)
    headers = {name.lower(): value for name, value in req.headers.items()}
    caller = proved(made.settings.callers, headers, req.get_body())
    body = json_of(req)
    if events.are_events(headers.get("content-type", ""), headers, body):
        return _events(req, headers, body)
    if len(req.get_body()) > LARGEST_BODY:
        return too_large(LARGEST_BODY)
    call, once = typed(body, Call), headers.get("idempotency-key", "")
    if caller and caller.once:  # who replays a signed call can change a header, and not this
        once = caller.once
    if len(once) > LONGEST_KEY:
        raise BadRequestError(f"The Idempotency-Key has more than {LONGEST_KEY} characters.")
    if query_as(req, Dry).dry_run == "true":
        return answer(Plan(planned=plan_call(made, call)))
    return _answer(request(made, call, once))


def _allow(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the handshake of CloudEvents (abuse protection, "HTTP 1.1 Web Hooks for Event Delivery")."""
    origin = req.headers.get("webhook-request-origin")
    if not origin:
        raise BadRequestError("OPTIONS is for the handshake of CloudEvents: WebHook-Request-Origin.")
    return func.HttpResponse(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})


def _events(req: func.HttpRequest, headers: dict[str, str], body: Any) -> func.HttpResponse:
    """Act on events, or prove that they are wanted."""
    made = app()
    query_as(req, Nothing)
    try:
        told = events.read(headers, body)
    except ValueError as error:
        raise BadRequestError(f"These are no events: {error}.") from error
    if (wanted := events.validation_of(told)) is not None:
        return answer(Handshake(validation_response=confirm(*wanted)))
    return answer(Events(events=[_acted(outcomes) for outcomes in deliver(made, told, send.promptly())]))


def _acted(outcomes: list[Outcome]) -> Acted:
    """Return what became of an event."""
    return Acted(
        started=[Run(key=one.key, state=one.state, run_id=one.run_id) for one in _started(outcomes)],
        duplicates=[outcome.key for outcome in outcomes if outcome.duplicate],
        settling=_settling(outcomes),
        skipped=_skipped(outcomes),
    )


def _answer(outcomes: list[Outcome]) -> func.HttpResponse:
    """Return the request that was started, or was there; what further rules made of the blob is told beside it."""
    started, settling, skipped = _started(outcomes), _settling(outcomes), _skipped(outcomes)
    if started:
        first = msgspec.structs.asdict(started[0])
        found = Accepted(**first, others=started[1:], settling=settling, skipped=skipped)
        return answer(found, HTTPStatus.ACCEPTED)
    if settling:
        return answer(NotStarted(state="settling", settling=settling, skipped=skipped), HTTPStatus.ACCEPTED)
    return answer(NotStarted(state="skipped", settling=settling, skipped=skipped))


def _started(outcomes: list[Outcome]) -> list[Started]:
    entries = [(outcome.entry, outcome.duplicate) for outcome in outcomes if outcome.entry]
    return [Started(**msgspec.structs.asdict(view(entry)), duplicate=duplicate) for entry, duplicate in entries]


def _settling(outcomes: list[Outcome]) -> list[Gathers]:
    return [Gathers(rule=one.settling.rule, folder=one.settling.folder) for one in outcomes if one.settling]


def _skipped(outcomes: list[Outcome]) -> list[Passed]:
    return [Passed(rule=one.skip.rule, reason=one.skip.reason) for one in outcomes if one.skip]
