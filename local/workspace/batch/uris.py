"""Paths on datastores as batch endpoints take them: the short form, the long one, and the ARM form.

Never asks whether anything is there.
"""

import re

from local.workspace.runs import DataPath
from local.workspace.state import NAME, PATH, RESOURCE_GROUP, SUBSCRIPTION

_SHORT = re.compile(r"azureml://datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)", re.DOTALL)
_LONG = re.compile(
    rf"azureml://subscriptions/{SUBSCRIPTION}/resourcegroups/{RESOURCE_GROUP}/(providers/[^/]+/)?workspaces/{NAME}"
    r"/datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)",
    re.IGNORECASE | re.DOTALL,
)
_ARM = re.compile(rf"{re.escape(PATH)}/datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)", re.IGNORECASE | re.DOTALL)


def data_path(uri: str) -> DataPath | None:
    """Return the path on a datastore of this workspace that a URI is; None when it is none."""
    for form in (_SHORT, _LONG, _ARM):
        if found := form.fullmatch(uri):
            return DataPath(found["datastore"], found["path"])
    return None
