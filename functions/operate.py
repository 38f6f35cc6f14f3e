"""For operators: what has been started, acting on it again, and whether the app is fit to start more.

Never starts anything that an operator did not ask for.
"""

from http import HTTPStatus

import azure.functions as func
import msgspec

from functions.http import answer, body_as, problems
from shared import flow, wiring
from shared.errors import BadRequestError, NotFoundError
from shared.views import view

blueprint = func.Blueprint()


class Redrive(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a redrive; it may be left out."""

    force: bool = False
    """Also what could double a live run."""


@blueprint.function_name("status")
@blueprint.route(route="status", methods=["GET"])
@problems
def status(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 200 when the configuration is sound and the ledger can be reached, else 503 with what is wrong."""
    app = wiring.app()
    app.prepare()
    rules = [
        {"name": rule.name, "datastore": rule.datastore, "path": rule.path, "pipeline": rule.pipeline}
        | {"version": app.settings.pins[rule.pipeline], "since": rule.since or app.first_seen(rule)}
        for rule in app.settings.rules
    ]
    work = {name: len(app.ledger.open(name)) for name in app.rule_names()}
    return answer({"status": "ready", "rules": rules, "open": work, "blob_source": app.settings.blob_source})


@blueprint.function_name("retrains")
@blueprint.route(route="retrains", methods=["GET"])
@problems
def retrains(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the newest retrain requests of all rules, or of `?rule=`; `?limit=` of them (50)."""
    app = wiring.app()
    limit = req.params.get("limit", "50")
    if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
        raise BadRequestError(f"limit: expected a number from 1 to 1000, got {limit[:20]!r}.")
    entries = app.history(int(limit), req.params.get("rule"))
    return answer({"retrains": [view(entry) for entry in entries]})


@blueprint.function_name("retrain_by_key")
@blueprint.route(route="retrains/{key}", methods=["GET"])
@problems
def retrain_by_key(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one retrain request."""
    app = wiring.app()
    row = app.ledger.get(req.route_params["key"], app.rule_names())
    if row is None:
        raise NotFoundError(f"There is no retrain request {req.route_params['key'][:100]!r}.")
    return answer(view(row.entry))


@blueprint.function_name("redrive")
@blueprint.route(route="retrains/{key}/redrive", methods=["POST"])
@problems
def redrive(req: func.HttpRequest) -> func.HttpResponse:
    """Act again on a request that came to a bad end."""
    wish = body_as(req, Redrive) if req.get_body() else Redrive()
    outcome = flow.redrive(wiring.app(), req.route_params["key"], wish.force)
    assert outcome.entry is not None  # a redrive always has a row
    return answer(view(outcome.entry), HTTPStatus.ACCEPTED)
