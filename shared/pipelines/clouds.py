"""Azure's clouds: which hosts and audiences belong together. Never asks anybody: data only.

By the suffix of a batch endpoint's scoring URI. Sources: azure-ai-ml's table (`_azure_environments.py`) for Resource
Manager and the audiences; that the other hosts of China and US Government are called so is not established.
"""

import msgspec


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    management: str
    """Scheme and host of Azure Resource Manager; empty: the endpoint's own."""
    audience: str
    """Audience of tokens for that."""
    machine_learning: str
    """Audience of tokens for batch endpoints."""
    services: str
    """What follows the region in the host of a workspace's services; empty: the endpoint's own host."""


PUBLIC = Cloud(
    management="https://management.azure.com",
    audience="https://management.azure.com",
    machine_learning="https://ml.azure.com",
    services="api.azureml.ms",
)
CHINA = Cloud(
    management="https://management.chinacloudapi.cn",
    audience="https://management.chinacloudapi.cn",
    machine_learning="https://ml.azure.cn",
    services="api.ml.azure.cn",
)
US_GOVERNMENT = Cloud(
    management="https://management.usgovcloudapi.net",
    audience="https://management.usgovcloudapi.net",
    machine_learning="https://ml.azure.us",
    services="api.ml.azure.us",
)
LOCAL = Cloud(management="", audience=PUBLIC.audience, machine_learning=PUBLIC.machine_learning, services="")
"""The stand-in."""

CLOUDS = {
    "inference.ml.azure.com": PUBLIC,
    "inference.ml.azure.cn": CHINA,
    "inference.ml.azure.us": US_GOVERNMENT,
}


def cloud_of(management: str) -> Cloud:
    """Return the cloud whose Resource Manager this is; the stand-in's, where it is none's."""
    return next((cloud for cloud in CLOUDS.values() if cloud.management == management), LOCAL)
