"""GET /api/openapi.json: what this API takes and answers. Never asks anything of a service."""

import azure.functions as func

from functions.asked import Nothing
from functions.http import operation, query_as

blueprint = func.Blueprint()


@blueprint.function_name("openapi")
@blueprint.route(route="openapi.json", methods=["GET"])
@operation(answers={200: (dict,)})
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the OpenAPI document."""
    from functions.document import text  # what makes it is needed nowhere else

    query_as(req, Nothing)
    return func.HttpResponse(text(), mimetype="application/json")
