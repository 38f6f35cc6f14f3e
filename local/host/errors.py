"""What can go wrong before the host is ready; each of these ends the process with code 1.

    HostError
    ├── SettingsError    host.json, local.settings.json, a setting, a connection or a binding: edit it
    ├── IndexingError    the app's own code failed on import: read its traceback
    └── StorageError     the storage account of a connection does not answer: start it

Failures of storage or of functions after that never end the host: they are logged where they happen, and the work
comes back.
"""


class HostError(Exception):
    """The host cannot start; the message says what to do."""


class SettingsError(HostError):
    """Configuration that cannot be used; the message names every fault found."""


class IndexingError(HostError):
    """The app could not be imported or declares something the platform refuses; carries the original traceback."""


class StorageError(HostError):
    """A storage account did not answer at the start."""
