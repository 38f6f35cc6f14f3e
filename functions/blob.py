"""Blob triggers, one for each container that a datastore is registered on. Never reads a blob's content."""

import azure.functions as func
import azurefunctions.extensions.bindings.blob as sdk

from shared.app import app
from shared.flow.arrive import arrive as act_on
from shared.rules.arrival import Source
from shared.settings.model import Settings

DETECTORS = {
    "EventGrid": (func.BlobSource.EVENT_GRID, Source.BLOB_EVENT),
    "LogsAndContainerScan": (func.BlobSource.LOGS_AND_CONTAINER_SCAN, Source.BLOB_SCAN),
}


def blueprint(settings: Settings) -> func.Blueprint:
    """Return a blueprint with a blob trigger for each container of `settings`."""
    made = func.Blueprint()
    places = dict.fromkeys((store.connection, store.container) for store in settings.datastores.values())
    for connection, container in places:
        _add(made, connection, container, settings.datastores_on(connection, container), settings.blob_source)
    return made


def _add(made: func.Blueprint, connection: str, container: str, datastores: list[str], blob_source: str) -> None:
    detector, source = DETECTORS[blob_source]

    # The binding gives a client, so that the host downloads nothing, however large the blob. Only its name is used:
    # the app's own client keeps its connection from one arrival to the next.
    @made.function_name(f"arrive_{datastores[0]}")
    @made.blob_trigger(arg_name="blob", path=f"{container}/{{name}}", connection=connection, source=detector)
    def arrive(blob: sdk.BlobClient) -> None:
        for datastore in datastores:
            act_on(app(), datastore, blob.blob_name, source)
