"""Which address is what of batch endpoints: (method, path, handler, kind of call for faults). Nothing else."""

from local.workspace.batch import arm, scoring
from local.workspace.faults import Call
from local.workspace.guard import Handler

Routes = list[tuple[str, str, Handler, Call | None]]

ARM: Routes = [
    ("GET", "", arm.get_workspace, None),
    ("GET", "/batchEndpoints", arm.list_endpoints, None),
    ("GET", "/batchEndpoints/{endpoint}", arm.get_endpoint, "endpoint"),
    ("GET", "/batchEndpoints/{endpoint}/deployments", arm.list_deployments, None),
    ("GET", "/batchEndpoints/{endpoint}/deployments/{deployment}", arm.get_deployment, "endpoint"),
    ("GET", "/components/{name}/versions/{version}", arm.get_component, None),
    ("GET", "/components/{name}/versions", arm.list_component_versions, "endpoint"),
    ("GET", "/datastores/{name}", arm.get_datastore, None),
    ("GET", "/jobs", arm.list_jobs, "list"),
    ("GET", "/jobs/{id}", arm.get_job, "status"),
    ("PUT", "/jobs/{id}", arm.put_job, "submit"),
    ("POST", "/jobs/{id}/cancel", arm.cancel_job, None),
]
SCORING: Routes = [
    ("POST", "/batch/{endpoint}/jobs", scoring.invoke, "submit"),
    ("GET", "/batch/{endpoint}/jobs/{id}", scoring.get_job, "status"),
]
MANAGEMENT_FRONTEND: Routes = [
    ("GET", "/batchEndpoints/{endpoint}/jobs", scoring.list_jobs, "list"),
    ("GET", "/batchEndpoints/{endpoint}/deployments/{deployment}/jobs", scoring.list_jobs, "list"),
]
