"""Datastore REST: one registered datastore, read by its name.

camelCase, as azureml-core reads it. Never tells a credential: datastores are those of identity-based access.
"""

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.workspace.errors import WireError
from local.workspace.state import Datastore, Workspace

OTHER_SECTIONS = (
    "azureDataLakeSection",
    "azureSqlDatabaseSection",
    "azurePostgreSqlSection",
    "azureMySqlSection",
    "hdfsSection",
    "glusterFsSection",
)


async def get_datastore(request: Request) -> Response:
    """GET …/datastores/{name}."""
    workspace: Workspace = request.app.state.workspace
    name = request.path_params["name"]
    if store := workspace.datastores.get(name):
        return JSONResponse(datastore_entity(workspace, store))
    raise WireError(404, "UserError", f"Could not find datastore: {name}")


def datastore_entity(workspace: Workspace, store: Datastore) -> dict[str, Any]:
    """Write a DataStore: a blob container of the account that the workspace works with."""
    account, protocol, endpoint = account_of(workspace.storage)
    section: dict[str, Any] = {
        "accountName": account,
        "containerName": store.container,
        "endpoint": endpoint,
        "protocol": protocol,
        "credentialType": "None",
        "credential": None,
        "clientCredentials": None,
        "blobCacheTimeout": 0,
        "isSas": False,
        "accountKey": None,
        "sasToken": None,
        "areWorkspaceManagedIdentitiesAllowed": False,
        "subscriptionId": None,
        "resourceGroup": None,
        "serviceDataAccessAuthIdentity": "None",
    }
    return {
        "name": store.name,
        "dataStoreType": "AzureBlob",
        "hasBeenValidated": True,
        "tags": {},
        "azureStorageSection": section,
        **dict.fromkeys(OTHER_SECTIONS),
    }


def account_of(storage: str) -> tuple[str, str, str]:
    """Return account, protocol and endpoint of a connection string; without an address it is the emulator's."""
    values = dict(part.split("=", 1) for part in storage.split(";") if "=" in part)
    account = values.get("AccountName", "devstoreaccount1")
    if blob := values.get("BlobEndpoint"):
        return account, urlsplit(blob).scheme, urlsplit(blob).netloc
    if values.get("UseDevelopmentStorage"):
        return account, "http", "127.0.0.1:10000"
    return account, values.get("DefaultEndpointsProtocol", "https"), values.get("EndpointSuffix", "core.windows.net")
