"""List prices, all in one place, in USD, pay-as-you-go, East US, storage with local redundancy, before discounts.

They vary by region, currency and contract, and change: whoever decides by them looks at the pages that are named. As
they stood on the pages in 2025; nothing here is read from anywhere. Never has what was measured.
"""

from typing import NamedTuple

AS_OF = "2025"


class Price(NamedTuple):
    """Of one thing."""

    usd: float
    per: int
    """So many of it cost that much."""
    unit: str
    source: str
    free: float = 0
    """So many a month and subscription cost nothing."""

    def of(self, count: float) -> float:
        """Return what so many cost, without what is free."""
        return self.usd * count / self.per


_AZURE = "azure.microsoft.com/pricing/details"
EXECUTIONS = Price(0.40, 1_000_000, "executions, Flex Consumption on demand", f"{_AZURE}/functions", 250_000)
MEMORY = Price(0.000026, 1, "GB-s, Flex Consumption on demand", f"{_AZURE}/functions", 100_000)
TABLE = Price(0.00036, 10_000, "table transactions", f"{_AZURE}/storage/tables")
QUEUE = Price(0.004, 10_000, "queue operations", f"{_AZURE}/storage/queues")
BLOB_READ = Price(0.004, 10_000, "blob reads, hot", f"{_AZURE}/storage/blobs")
BLOB_LIST = Price(0.05, 10_000, "blob listings and writes, hot", f"{_AZURE}/storage/blobs")
EVENTS = Price(0.60, 1_000_000, "Event Grid operations", f"{_AZURE}/event-grid", 100_000)
CONNECTOR = Price(0.000125, 1, "Logic Apps calls of a standard connector", f"{_AZURE}/logic-apps")
ACTION = Price(0.000025, 1, "Logic Apps built-in actions", f"{_AZURE}/logic-apps", 4_000)
ORCHESTRATION = Price(1.00, 1_000, "Data Factory activity and trigger runs", f"{_AZURE}/data-factory")
EXTERNAL = Price(0.00025, 1, "hours of a Data Factory external activity", f"{_AZURE}/data-factory")
ALL = (
    *(EXECUTIONS, MEMORY, TABLE, QUEUE, BLOB_READ, BLOB_LIST, EVENTS, CONNECTOR, ACTION),
    *(ORCHESTRATION, EXTERNAL),
)
LEAST_S = 1.0
"""An execution on Flex Consumption is billed for at least so long."""
PAGE = 5_000
"""Blobs in one answer of a listing."""
