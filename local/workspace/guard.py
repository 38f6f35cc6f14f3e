"""What stands in front of each handler: requests are counted, then the token, the role and the faults on order decide.

In this order, so that a caller without a token or a role uses up no fault. Never answers a request that is in order.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from local.workspace.errors import WireError, code_of
from local.workspace.faults import Call, commit, take
from local.workspace.state import Counted, Workspace
from local.workspace.submission import query
from local.workspace.tokens import Service

type Handler = Callable[[Request], Awaitable[Response]]


def guarded(handler: Handler, on: Call | None, *, token: bool = True, service: Service = "pipelines") -> Handler:
    """Put everything in front of a handler. `on`: the kind of call for faults; `token`: whether it needs one."""
    count: Counted = "history" if service == "history" else (on or "other")

    async def guard(request: Request) -> Response:
        workspace: Workspace = request.app.state.workspace
        workspace.requests[count] += 1
        if token:
            authorization = request.headers.get("authorization")
            request.app.state.tokens.check(authorization, workspace, service)
            _check_role(workspace, request, on)
        fault = None
        if on:
            about = _about(workspace, request)
            fault = take(workspace.faults, on, about) or workspace.dice.roll(on, about)
        return await (commit(fault, request, lambda: handler(request)) if fault else handler(request))

    return guard


def _check_role(workspace: Workspace, request: Request, on: Call | None) -> None:
    """Raise a 403 WireError for what the identity's role (setting `role`) does not allow."""
    role = workspace.settings.role
    writes = request.method != "GET" and on != "list"  # runs:query is a POST that reads
    if role == "none" or (role == "reader" and writes):
        what = "submit runs in" if on == "submit" else "change" if writes else "read"
        message = f"The identity does not have authorization to {what} the workspace (its role here: {role})."
        raise WireError(403, code_of(403), message)


def _about(workspace: Workspace, request: Request) -> Callable[[str], bool]:
    """Return whether a request is about the endpoint, or published pipeline, with the given id."""
    given = request.path_params
    named = given.get("id", "") or given.get("endpoint", "")

    def about(endpoint_id: str) -> bool:
        if given.get("endpoint") == endpoint_id:
            return True
        experiment = given.get("experiment") or workspace.experiment_with_id(given.get("experiment_id", ""))
        if run := workspace.runs.get(named):
            return endpoint_id in (run.endpoint_id, run.pipeline.id)
        if experiment and not named:
            runs = [run for run in workspace.runs.values() if run.submission.experiment == experiment]
            return any(endpoint_id in (run.endpoint_id, run.pipeline.id) for run in runs)
        if named == endpoint_id:
            return True
        endpoint = workspace.endpoints.get(endpoint_id)
        return endpoint is not None and (named in endpoint.versions.values() or query(request, "name") == endpoint.name)

    return about
