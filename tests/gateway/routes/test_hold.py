import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace

import pytest

from gateway.errors import ClientGone
from gateway.routes.hold import hold
from gateway.routes.pump import Pump


class Client:
    """What a request hears of its client: nothing, until it leaves."""

    def __init__(self) -> None:
        self.has_left = asyncio.Event()

    @property
    def request(self) -> SimpleNamespace:
        return SimpleNamespace(receive=self._receive)

    async def _receive(self) -> dict[str, str]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}


async def source(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece
    await asyncio.Event().wait()


async def test_a_client_that_leaves_ends_what_was_made_for_it():
    """Nobody waits for the first piece until the hold is over."""
    client, pump = Client(), Pump(source(), 1)
    asyncio.get_running_loop().call_soon(client.has_left.set)

    with pytest.raises(ClientGone):
        await hold(pump, client.request, 60)

    with pytest.raises(asyncio.CancelledError):
        await pump.task


async def test_silence_ends_the_hold():
    """The headers go out, and the reply goes on."""
    pump = Pump(source(), 1)

    await hold(pump, Client().request, 0.01)

    assert not pump.has_pieces
    assert not pump.is_done
    pump.cancel()


async def test_the_hold_leaves_later_waits_alone():
    """Once it is over, it no longer interrupts: silence that is none would be filled in a stream."""
    pump = Pump(source(b"a"), 1)
    await hold(pump, Client().request, 60)
    assert pump.take() == b"a"

    waiting = asyncio.create_task(pump.wait(60))
    for _ in range(5):
        await asyncio.sleep(0)

    assert not waiting.done()
    pump.cancel()
    assert await waiting
