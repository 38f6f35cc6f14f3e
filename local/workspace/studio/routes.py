"""Which address is which page. Nothing else."""

from starlette.routing import Route

from local.workspace.studio import endpoints, runs

VERSION = "/endpoints/{id}/versions/{version}"
ROUTES = [
    Route("/", runs.index, methods=["GET"]),
    Route("/runs/{id}", runs.run_page, methods=["GET"]),
    Route("/endpoints/{id}", endpoints.endpoint_page, methods=["GET"]),
    Route(VERSION, endpoints.version_page, methods=["GET"]),
    Route(f"{VERSION}/submit", endpoints.submit, methods=["POST"]),
    Route(f"{VERSION}/publish", endpoints.publish, methods=["POST"]),
]
