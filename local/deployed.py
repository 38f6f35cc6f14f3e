"""What the workspace stand-in's ARM is told of a running stack, and what azd would have noted of it.

So that `./retrain doctor` looks at `./retrain start --events grid` and `--events queue` as at an app in Azure. Data
only: deploys nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from local.azurite import ACCOUNT
from local.process import HOST
from local.workspace.state import GROUP, RESOURCE_GROUP, SUBSCRIPTION

APP, TOPIC = "retrain-local", "training-local"
TOKEN = "local"  # in the names of subscriptions, as of infra/main.bicep
KEY = "local"  # the system key blobs_extension; the built-in host asks for none
DEAD_LETTERS, QUEUE = "dead-letters", "retrain-events"
STORAGE = f"{GROUP}/Microsoft.Storage/storageAccounts/{ACCOUNT}"
CREATED = ["Microsoft.Storage.BlobCreated"]
WRITTEN = ["PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"]  # as infra/subscriptions.bicep


def told(
    events: str, port: int, functions: Mapping[str, str], settings: Mapping[str, str], found: Iterable[str]
) -> dict[str, Any]:
    """Return the order to POST /_control/app. `functions`: the app's blob function for each container."""
    host = f"{HOST}:{port}"
    subscriptions = [
        {
            "name": f"retrain-{TOKEN}-{container}",
            "properties": subscription(container, "" if events == "queue" else hook),
        }
        for container, function in functions.items()
        for hook in [webhook(host, function)]
    ]
    return {
        "name": APP,
        "host": host,
        "functions": [{"name": name} for name in found],
        "settings": dict(settings),
        "system_keys": {} if events == "queue" else {"blobs_extension": KEY},
        "topic": TOPIC,
        "account": ACCOUNT,
        "subscriptions": subscriptions,
    }


def webhook(host: str, function: str, key: str = KEY) -> str:
    """Return the address that a blob function's events go to."""
    return f"http://{host}/runtime/webhooks/blobs?code={key}&functionName=Host.Functions.{function}"


def subscription(container: str, hook: str = "", prefix: str = "") -> dict[str, Any]:
    """Return the properties of a container's subscription, to a webhook, or without one to the queue."""
    identity = {"type": "SystemAssigned"}
    queue = {"resourceId": STORAGE, "queueName": QUEUE, "queueMessageTimeToLiveInSeconds": -1}
    to_queue = {"identity": identity, "destination": {"endpointType": "StorageQueue", "properties": queue}}
    to_hook = {"endpointType": "WebHook", "properties": {"endpointUrl": hook}}
    letters = {"resourceId": STORAGE, "blobContainerName": DEAD_LETTERS}
    return {
        "provisioningState": "Succeeded",
        "eventDeliverySchema": "EventGridSchema",
        "filter": {
            "subjectBeginsWith": f"/blobServices/default/containers/{container}/blobs/{prefix}",
            "includedEventTypes": [*CREATED],
            "advancedFilters": [{"operatorType": "StringIn", "key": "data.api", "values": [*WRITTEN]}],
        },
        "destination": to_hook if hook else None,
        "deliveryWithResourceIdentity": None if hook else to_queue,
        "deadLetterWithResourceIdentity": {
            "identity": identity,
            "deadLetterDestination": {"endpointType": "StorageBlob", "properties": letters},
        },
    }


def outputs(events: str, management: str) -> dict[str, str]:
    """Return the outputs of infra/main.bicep that an operator's commands go by, for the app that `told` tells of."""
    return {
        "RETRAIN_MANAGEMENT_URL": management,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "AZURE_RESOURCE_GROUP": RESOURCE_GROUP,
        "FUNCTION_APP_NAME": APP,
        "EVENT_DELIVERY_IN_USE": "queue" if events == "queue" else "blobTrigger",
        "EVENT_TOPIC_SUBSCRIPTION": SUBSCRIPTION,
        "EVENT_TOPIC_GROUP": RESOURCE_GROUP,
        "EVENT_TOPIC_NAME": TOPIC,
        "EVENT_TOKEN": TOKEN,
    }
