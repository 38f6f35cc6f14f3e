"""The app's identity in Azure: one credential, and bearer tokens from it.

Never writes a token to a log, an error or the ledger.
"""

import os
import threading
import time
from functools import lru_cache

from azure.core.credentials import TokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from shared.errors import EndpointError

# Renewed this long before the end, in seconds: a token must outlive the request it is sent with, and clocks differ.
_AHEAD = 300


@lru_cache
def credential(client_id: str | None = None) -> TokenCredential:
    """Return the credential: the managed identity where there is one (`client_id`: a user-assigned one), else the
    developer's, such as `az login`."""
    client_id = client_id or os.environ.get("AZURE_CLIENT_ID")
    if os.environ.get("IDENTITY_ENDPOINT"):  # the platform offers one: nobody else's words are of interest
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential(managed_identity_client_id=client_id, exclude_interactive_browser_credential=True)


class Tokens:
    """Bearer tokens for one audience; safe to share between threads."""

    def __init__(self, audience: str) -> None:
        """Serve tokens for `audience`, such as `https://management.azure.com`."""
        self._scope = f"{audience.rstrip('/')}/.default"
        self._lock = threading.Lock()
        self._value, self._renew_at = "", 0.0

    def get(self) -> str:
        """Return a token, from memory while it has more than five minutes left.

        Raises EndpointError when the identity cannot get one.
        """
        with self._lock:
            if time.time() >= self._renew_at:
                try:
                    token = credential().get_token(self._scope)
                except ClientAuthenticationError as error:
                    raise EndpointError(
                        f"No token for {self._scope}: {_cause(str(error.message))} "
                        "Give the function app a managed identity with a role on the workspace, or run 'az login'."
                    ) from error
                # Of a token that lives shorter than twice that, use half of its life.
                life = token.expires_on - time.time()
                self._value, self._renew_at = token.token, token.expires_on - min(_AHEAD, life / 2)
            return self._value

    def forget(self) -> None:
        """Drop what is in memory, the credential's own memory included: the next token is a fresh one."""
        with self._lock:
            self._renew_at = 0.0
            credential.cache_clear()


def _cause(message: str) -> str:
    """Return why there is no token, in one line: the first line of a chain only says that all of it was tried."""
    first, *others = [line.strip() for line in message.splitlines() if line.strip()]
    tried = [line for line in others if line.partition(":")[0].endswith("Credential")]
    return "; ".join(tried)[:1000] if tried else first
