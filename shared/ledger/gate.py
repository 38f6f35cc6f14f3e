"""The gate of a rule with limits: how many were let in today. Whoever lets in changes it, so one at a time does.

Never decides who is let in: `flow/limits.py` does.
"""

from typing import Any

import msgspec
from azure.core import MatchConditions
from azure.data.tables import UpdateMode


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What was let in on a day (UTC)."""

    day: str
    begun: int
    etag: str

    def counted(self, rule: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Return the operation that counts one more, on the condition that nobody else did."""
        row = {"PartitionKey": rule, "RowKey": "gate", "Day": self.day, "Begun": self.begun + 1}
        only = {"etag": self.etag, "match_condition": MatchConditions.IfNotModified, "mode": UpdateMode.MERGE}
        return "update", row, only

    def after(self, etag: str) -> "Gate":
        """Return the gate as it is once one more was counted."""
        return Gate(day=self.day, begun=self.begun + 1, etag=etag)
