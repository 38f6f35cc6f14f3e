"""The workspace, once a process. In Azure this is one line of the documentation, a call more than here:

    Workspace.get(name, subscription_id=..., resource_group=..., auth=MsiAuthentication())

On this machine nobody answers for Azure Resource Manager, so the workspace is put together from what it would say.
Never used but by this app.
"""

import functools
import json
import os
import urllib.parse
import urllib.request
from typing import Any

from azureml._restclient.service_context import ServiceContext
from azureml.core import Workspace
from azureml.core.authentication import AbstractAuthentication


class Identity(AbstractAuthentication):
    """The managed identity's token, fetched once, as MsiAuthentication does."""

    def __init__(self) -> None:
        query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": "https://management.azure.com"})
        headers = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}
        request = urllib.request.Request(f"{os.environ['IDENTITY_ENDPOINT']}?{query}", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.token = json.load(answer)["access_token"]

    def _get_arm_token(self) -> str:
        return str(self.token)

    def _get_graph_token(self) -> str:
        return str(self.token)

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Nothing that is used here asks for one in this way."""
        raise NotImplementedError

    def _get_all_subscription_ids(self) -> tuple[list[str], None]:
        return [], None


@functools.cache
def workspace() -> Workspace:
    """Return the workspace."""
    url = os.environ["WORKSPACE_URL"]
    _, _, subscription, _, group, _, _, _, name = os.environ["WORKSPACE_PATH"].split("/")
    context = ServiceContext(subscription, group, name, "workspace-id", f"{url}/discovery", Identity())
    return Workspace._from_service_context(context, "local")
