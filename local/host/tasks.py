"""One helper for background loops that end by being cancelled.

Never swallows a cancellation: it is only put off until work that should not be cut in two is done.
"""

import asyncio
from collections.abc import Awaitable


async def finish[T](work: Awaitable[T]) -> T:
    """Await `work`; when cancelled meanwhile, await it to its end first (a second cancellation ends it at once)."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await task
        raise
