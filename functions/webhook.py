"""POST /api/retrain: a caller names a blob. Never answers 2xx before the arrival has its row or its skip."""

from http import HTTPStatus
from typing import Literal

import azure.functions as func
import msgspec

from functions.http import LARGEST_BODY, answer, body_as, problem, problems, query_as
from shared.app import app
from shared.flow.outcome import Outcome
from shared.operate.calls import Call, request
from shared.operate.plan import plan_call
from shared.operate.views import view

blueprint = func.Blueprint()


class Query(msgspec.Struct):
    """The query parameters of a call."""

    dry_run: Literal["true", "false"] = "false"
    """Only say what would be done."""


@blueprint.function_name("retrain")
@blueprint.route(route="retrain", methods=["POST"])
@problems
def retrain(req: func.HttpRequest) -> func.HttpResponse:
    """Act on the blob that the body names."""
    made = app()  # with a faulty configuration nothing is even read: 503, whatever is asked
    if len(req.get_body()) > LARGEST_BODY:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {LARGEST_BODY:,} bytes.")
    call = body_as(req, Call)
    if query_as(req, Query).dry_run == "true":
        return answer({"planned": plan_call(made, call)})
    return _answer(request(made, call))


def _answer(outcomes: list[Outcome]) -> func.HttpResponse:
    """Return the request that was started, or was there; what further rules made of the blob is told beside it."""
    started = [{**view(outcome.entry), "duplicate": outcome.duplicate} for outcome in outcomes if outcome.entry]
    skipped = [{"rule": outcome.skip.rule, "reason": outcome.skip.reason} for outcome in outcomes if outcome.skip]
    settling = [{"rule": one.settling.rule, "folder": one.settling.folder} for one in outcomes if one.settling]
    rest = {"settling": settling, "skipped": skipped}
    if not started and not settling:
        return answer({"state": "skipped", **rest})
    first, *others = started or [{"state": "settling"}]
    return answer({**first, "others": others, **rest}, HTTPStatus.ACCEPTED)
