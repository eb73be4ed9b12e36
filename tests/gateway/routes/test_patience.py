import asyncio

from gateway.routes.patience import Patience

LONG = 60.0
SHORT = 0.01


async def test_a_wait_ends_when_it_is_ended():
    """Long before its bound."""
    patience = Patience()
    waiting = asyncio.create_task(patience.wait(LONG))
    await asyncio.sleep(0)
    patience.end()

    async with asyncio.timeout(1):
        await waiting
    patience.close()


async def test_a_wait_that_nobody_ends_is_over_at_its_bound():
    """Also after others that were ended, whose timer it inherits."""
    patience = Patience()
    began = asyncio.get_running_loop().time()
    for _ in range(3):
        asyncio.get_running_loop().call_soon(patience.end)
        await patience.wait(SHORT)

    await patience.wait(2 * SHORT)
    assert asyncio.get_running_loop().time() - began >= 2 * SHORT
    patience.close()


async def test_a_shorter_wait_does_not_wait_for_the_timer_of_a_longer_one():
    """The timer that is set may ring later than this wait allows."""
    patience = Patience()
    asyncio.get_running_loop().call_soon(patience.end)
    await patience.wait(LONG)

    async with asyncio.timeout(1):
        await patience.wait(SHORT)
    patience.close()


async def test_closing_ends_the_wait():
    """Nothing is left to ring afterwards."""
    patience = Patience()
    waiting = asyncio.create_task(patience.wait(LONG))
    await asyncio.sleep(0)
    patience.close()

    async with asyncio.timeout(1):
        await waiting


async def test_an_abandoned_wait_leaves_nothing_behind():
    """A wait that was cancelled is not ended again."""
    patience = Patience()
    waiting = asyncio.create_task(patience.wait(LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    patience.end()

    await patience.wait(SHORT)
    patience.close()
