"""What became of one decision. Never more than data."""

import msgspec

from shared.ledger.entries import Entry
from shared.rules.decision import Settling, Skip


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A row in the ledger, a folder that gathers, or a skip."""

    key: str = ""
    """The request's, when there is one."""
    rule: str = ""
    entry: Entry | None = None
    """The request's row; None for a duplicate, whose row nobody has read."""
    settling: Settling | None = None
    skip: Skip | None = None
    duplicate: bool = False
    """The row was there before: this delivery started nothing."""
