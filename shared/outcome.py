"""What became of one decision. Never more than data."""

import msgspec

from shared.ledger import Entry
from shared.rules import Settling, Skip


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A row in the ledger, a folder that is settling, or a skip."""

    entry: Entry | None = None
    settling: Settling | None = None
    skip: Skip | None = None
    duplicate: bool = False
    """The row was there before: this delivery started nothing."""
