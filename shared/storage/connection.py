"""What is wrong with a connection, in words, before anything connects with it. Never shows a key or a signature."""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

EMULATOR = "devstoreaccount1"  # the account of every copy of Azurite, whose key is no secret
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SERVICES = re.compile(r"(?i)(blob|queue|table)endpoint")


def fault(name: str, environ: Mapping[str, str]) -> str | None:
    """Say what is wrong with the Functions connection `name`, as a value of the app settings `environ`; else None.

    It is the setting itself or the settings of its prefix, with or without AzureWebJobs in front, as in Functions.
    """
    for full in (name, f"AzureWebJobs{name}"):
        if text := environ.get(full):
            found = _of_text(text)
            return f"the app setting {full!r} {found}" if found else None
        uris = [key for key in environ if key.startswith(f"{full}__")]
        plain = [key for key in uris if environ[key].lower().startswith("http://") and not _local(environ[key])]
        if plain:
            return f"the app setting {plain[0]!r} is an http address: a token is sent over https only"
        if uris:
            return None
    return f"there is no app setting {name!r}, nor one that begins with it and '__'"


def _of_text(text: str) -> str | None:
    """Say what is wrong with a connection string; else None."""
    if text[:1] in "\"'":
        return "is in quotes; give it without"
    if text.lower().startswith("usedevelopmentstorage=true"):
        return None
    parts = {key.strip().lower(): value for key, _, value in (part.partition("=") for part in text.split(";"))}
    endpoints = [value for key, value in parts.items() if _SERVICES.fullmatch(key)]
    if not endpoints and "accountname" not in parts:
        return "is no connection string of a storage account: it has neither AccountName nor BlobEndpoint"
    if "accountkey" in parts:
        try:
            base64.b64decode(parts["accountkey"], validate=True)
        except binascii.Error:
            return "has an AccountKey that is no base64: is it there as a whole?"
    elif "sharedaccesssignature" not in parts:
        return "has neither AccountKey nor SharedAccessSignature; for a managed identity give its parts (NAME__...)"
    default = parts.get("defaultendpointsprotocol", "https").lower() if not endpoints else "https"
    plain = default == "http" or any(one.lower().startswith("http://") and not _local(one) for one in endpoints)
    if plain and parts.get("accountname") != EMULATOR:
        return "says http, over which keys and data would go unencrypted; write https"
    return None


def _local(address: str) -> bool:
    """Tell whether an address is on this machine."""
    return urlsplit(address).hostname in _LOOPBACK
