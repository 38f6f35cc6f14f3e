"""The error tree, by what the caller does next. Never carries a token or a key.

    RetrainError
    |-- ConfigurationError     fix retrain.toml or the app settings; nothing is submitted until then
    |-- BadRequestError        fix the request; nothing was started
    |-- CallerError            prove who is calling; nothing was looked at
    |-- NotFoundError          it names something that is not there
    |-- ConflictError          somebody else was first, or it would double a live run
    |-- RowError               mend or remove a row of the ledger; everything else goes on
    |-- StorageError           try again: the storage account did not do as asked
    '-- EndpointError          reading from the pipeline's endpoint failed; the next tick tries again

What a *submission* may come to is not an error but data: see `pipelines/base.py`.
"""

import re
from collections.abc import Sequence
from datetime import date

# What gives access: values of connection strings, parts of addresses, bearer tokens, bare keys of accounts and
# functions, secrets of app registrations. A name between slashes is a folder's (`code=us/`), and stays.
_VALUE = r"[^;&\s'\"\\]+"
_SECRETS = re.compile(
    rf"((?:AccountKey|SharedAccessKey|SharedAccessSignature)\s*=\s*){_VALUE}"
    rf"|((?:^|[?&;,\s'\"])(?:sig|code|password|pwd|secret|client_secret|token|access_token)=){_VALUE}"
    rf"|(Bearer\s+){_VALUE}"
    r"|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]+"
    r"|(?<![\w+/-])[\w+/-]{40,}={1,2}(?![\w=])"
    r"|\b[\w.~-]{3}\dQ~[\w.~-]{31,}"
    r"|\bwhsec_[\w+/=-]+",
    re.IGNORECASE,
)
LONGEST_SHOWN = 200  # characters of a value


def masked(text: str) -> str:
    """Return a text without what gives access; whatever is shown to people goes through this."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2] or found[3] or ''}***", text)


def shown(value: object) -> str:
    """Return a value that somebody wrote as a message quotes it: masked, and not at any length."""
    plain = value.isoformat() if isinstance(value, date) else str(value).lower() if isinstance(value, bool) else None
    text = masked(plain or repr(value))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text):,} characters)"


class RetrainError(Exception):
    """Base of all errors of this application; the text says what, where, why and what to do."""

    def __str__(self) -> str:
        return masked(super().__str__())


class ConfigurationError(RetrainError):
    """The configuration has faults; `faults` lists all of them, one sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        faults = [masked(fault) for fault in faults]
        self.faults = tuple(faults)
        count = f"{len(faults)} faults" if len(faults) != 1 else "1 fault"
        super().__init__(
            f"The configuration has {count}; nothing is submitted until it is mended:\n- " + "\n- ".join(faults)
        )


class BadRequestError(RetrainError):
    """The caller's request cannot be acted on as it stands."""


class CallerError(RetrainError):
    """Nothing proves who is calling, or what should is wrong."""


class NotFoundError(RetrainError):
    """The datastore, blob, rule or key that was named does not exist."""


class ConflictError(RetrainError):
    """The ledger holds something else than the caller assumed; the text says what."""


class RowError(RetrainError):
    """A row of the ledger cannot be read: another version of the app wrote it, or it was damaged."""


class StorageError(RetrainError):
    """Blob or table storage could not be reached or refused; nothing was lost, the call can be repeated."""

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        """HTTP status of the answer; None when there was none."""
        super().__init__(text)


class EndpointError(RetrainError):
    """The workspace could not be read (run, run list, endpoint); nothing was changed by trying."""
