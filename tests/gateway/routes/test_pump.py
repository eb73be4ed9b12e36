import asyncio
from collections.abc import AsyncGenerator

from gateway.errors import ClientGone
from gateway.routes.pump import MAX_BUFFER_BYTES, Pump


class Source:
    """Pieces to be pumped; knows how many were taken, and whether it was closed."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.taken = 0
        self.closed = asyncio.Event()
        self._pieces = pieces

    async def run(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                self.taken += 1
                yield piece
            await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_what_is_ready_is_taken_at_once():
    """A reader that lags gets fewer and larger pieces."""
    source = Source(b"a", b"b", ValueError("end"))
    pump = Pump(source.run(), 1)
    await source.closed.wait()

    assert await pump.wait(1)
    assert pump.take() == b"ab"
    assert pump.take() == b""


async def test_a_failure_comes_after_the_pieces():
    """What was made before it is still worth reading."""
    pump = Pump(Source(b"a", ValueError("end")).run(), 1)
    await pump.task

    assert pump.has_pieces
    assert pump.is_done
    assert isinstance(pump.error, ValueError)


async def test_silence_is_noticed():
    """Waiting ends without news, so that a sign of life can be sent."""
    pump = Pump(Source().run(), 1)

    assert not await pump.wait(0.01)
    pump.cancel()


async def test_a_wait_can_be_interrupted():
    """Whoever waits on something else as well is let go at once, and may wait again."""
    source = Source()
    pump = Pump(source.run(), 1)
    asyncio.get_running_loop().call_soon(pump.interrupt)

    assert not await pump.wait(60)
    pump.cancel()
    assert await pump.wait(60)


async def test_cancelling_closes_the_source():
    """The source cleans up in its own task; nobody has to wait for it."""
    source = Source(b"a")
    pump = Pump(source.run(), 1)
    await pump.wait(1)
    pump.cancel()

    async with asyncio.timeout(1):
        await source.closed.wait()


async def test_a_full_buffer_holds_the_source():
    """What nobody reads is not made."""
    piece = b"x" * MAX_BUFFER_BYTES
    source = Source(piece, piece)
    pump = Pump(source.run(), 60)
    await pump.wait(1)
    assert source.taken == 1

    pump.take()
    await pump.wait(1)

    assert source.taken == 2
    pump.cancel()


async def test_a_reader_that_stalls_is_gone():
    """A full buffer that nobody empties ends the source."""
    source = Source(b"x" * MAX_BUFFER_BYTES)
    pump = Pump(source.run(), 0.01)
    await pump.task

    assert isinstance(pump.error, ClientGone)
    assert source.closed.is_set()


async def test_cleaning_up_is_not_cut_short():
    """Whoever cancels a second time does not cancel what the first has set going."""
    is_cleaning, may_end = asyncio.Event(), asyncio.Event()
    cleaned = []

    async def source() -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            is_cleaning.set()
            await may_end.wait()
            cleaned.append(True)

    pump = Pump(source(), 1)
    await pump.wait(1)
    pump.cancel()
    await is_cleaning.wait()
    pump.cancel()
    may_end.set()
    await asyncio.wait({pump.task})

    assert cleaned
