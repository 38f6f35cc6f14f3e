"""What became of one decision. Never more than data."""

import msgspec

from shared.ledger import Entry
from shared.rules import Skip


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A row in the ledger, or a skip."""

    entry: Entry | None = None
    skip: Skip | None = None
    duplicate: bool = False
    """The row was there before: this delivery started nothing."""
