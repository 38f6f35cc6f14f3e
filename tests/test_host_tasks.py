"""Background work of the host that must not be cut in two."""

import asyncio

import pytest

from local.host.tasks import finish


def test_work_is_cancelled_half_way() -> None:
    """It goes on to its end, and the cancellation comes after that."""
    done: list[str] = []

    async def work(go_on: asyncio.Event) -> None:
        done.append("begun")
        await go_on.wait()
        done.append("ended")

    async def scenario() -> None:
        go_on = asyncio.Event()
        task = asyncio.create_task(finish(work(go_on)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert done == ["begun"]
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["begun", "ended"]

    asyncio.run(scenario())
