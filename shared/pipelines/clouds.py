"""Azure's clouds: which hosts and audiences belong together. Never asks anybody: data only.

By the suffix of a batch endpoint's scoring URI. Sources: azure-ai-ml's table (`_azure_environments.py`) for Resource
Manager and the audiences; that the other hosts of China and US Government are called so is not established.
"""

import msgspec


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    name: str
    management: str
    """Scheme and host of Azure Resource Manager; empty: the endpoint's own."""
    audience: str
    """Audience of tokens for that."""
    machine_learning: str
    """Audience of tokens for batch endpoints."""
    authority: str
    """Host where identities sign in, but for managed ones (`AZURE_AUTHORITY_HOST`)."""
    services: str
    """What follows the region in the host of a workspace's services; empty: the endpoint's own host."""


PUBLIC = Cloud(
    name="public",
    management="https://management.azure.com",
    audience="https://management.azure.com",
    machine_learning="https://ml.azure.com",
    authority="login.microsoftonline.com",
    services="api.azureml.ms",
)
CHINA = Cloud(
    name="China",
    management="https://management.chinacloudapi.cn",
    audience="https://management.chinacloudapi.cn",
    machine_learning="https://ml.azure.cn",
    authority="login.chinacloudapi.cn",
    services="api.ml.azure.cn",
)
US_GOVERNMENT = Cloud(
    name="US Government",
    management="https://management.usgovcloudapi.net",
    audience="https://management.usgovcloudapi.net",
    machine_learning="https://ml.azure.us",
    authority="login.microsoftonline.us",
    services="api.ml.azure.us",
)
LOCAL = Cloud(
    name="local",
    management="",
    audience=PUBLIC.audience,
    machine_learning=PUBLIC.machine_learning,
    authority=PUBLIC.authority,
    services="",
)
"""The stand-in."""

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
CLOUDS = {
    "inference.ml.azure.com": PUBLIC,
    "inference.ml.azure.cn": CHINA,
    "inference.ml.azure.us": US_GOVERNMENT,
}


def cloud_of(management: str) -> Cloud:
    """Return the cloud whose Resource Manager this is; the stand-in's, where it is none's."""
    return next((cloud for cloud in CLOUDS.values() if cloud.management == management), LOCAL)


def cloud_at(host: str) -> Cloud:
    """Return the cloud that a service's host is in, whichever service; the public one, where that cannot be told."""
    if host in LOOPBACK:
        return LOCAL
    for suffix, cloud in CLOUDS.items():
        own = cloud.management.removeprefix("https://")
        if host == own or host.endswith((f".{suffix}", f".{cloud.services}")):
            return cloud
    return PUBLIC
