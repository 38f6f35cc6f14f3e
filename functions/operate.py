"""For operators: what has been started, and whether the app is fit to start more. Never starts anything."""

import azure.functions as func

from functions.http import answer, problems
from shared import wiring
from shared.errors import BadRequestError, NotFoundError
from shared.views import view

blueprint = func.Blueprint()


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
    return answer({"status": "ready", "rules": rules, "blob_source": app.settings.blob_source})


@blueprint.function_name("retrains")
@blueprint.route(route="retrains", methods=["GET"])
@problems
def retrains(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the newest retrain requests of each rule, or of `?rule=`; `?limit=` of them (50)."""
    app = wiring.app()
    limit = req.params.get("limit", "50")
    if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
        raise BadRequestError(f"limit: expected a number from 1 to 1000, got {limit[:20]!r}.")
    rules = [rule.name for rule in app.settings.rules if req.params.get("rule") in (None, rule.name)]
    if not rules:
        raise NotFoundError(f"There is no rule {req.params.get('rule')!r}.")
    entries = [entry for rule in rules for entry in app.ledger.history(rule, int(limit))]
    entries.sort(key=lambda entry: entry.key, reverse=True)  # a key begins with the time its data was written
    return answer({"retrains": [view(entry) for entry in entries[: int(limit)]]})


@blueprint.function_name("retrain_by_key")
@blueprint.route(route="retrains/{key}", methods=["GET"])
@problems
def retrain_by_key(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one retrain request."""
    app = wiring.app()
    row = app.ledger.get(req.route_params["key"], [rule.name for rule in app.settings.rules])
    if row is None:
        raise NotFoundError(f"There is no retrain request {req.route_params['key'][:100]!r}.")
    return answer(view(row.entry))
