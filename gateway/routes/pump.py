"""Runs what makes a reply in a task of its own, so that whoever reads it can leave at any time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.errors import ClientGone, ShuttingDown
from gateway.routes.patience import Patience

MAX_BUFFER_BYTES = 256 * 1024


class Pump:
    """Pieces of `source`, buffered up to a bound. `error`: what the source ended with, if it failed.

    A reader that leaves a full buffer alone for `stall_seconds` is taken for gone.
    """

    def __init__(self, source: AsyncGenerator[bytes, None], stall_seconds: float) -> None:
        self.error: Exception | None = None
        self.is_done = False
        self._stall_seconds = stall_seconds
        self._pieces: list[bytes] = []
        self._num_bytes = 0
        self._patience = Patience()
        self._room = asyncio.Event()
        self.task = asyncio.create_task(self._run(source), name="pump")

    @property
    def has_pieces(self) -> bool:
        return bool(self._pieces)

    async def wait(self, seconds: float) -> bool:
        """Whether there is something to take, an end included, within `seconds`."""
        if not (self._pieces or self.is_done):
            await self._patience.wait(seconds)
        return bool(self._pieces) or self.is_done

    def take(self) -> bytes:
        """All that is ready, as one piece: fewer, larger writes when the reader lags."""
        ready = b"".join(self._pieces)
        self._pieces.clear()
        self._num_bytes = 0
        self._room.set()
        return ready

    def interrupt(self) -> None:
        """Ends a wait at once, whether there is something or not."""
        self._patience.end()

    def cancel(self) -> None:
        """Ends the source. Needs no waiting: it cleans up in its own task.

        Once: a second cancellation would end the cleaning up. An upstream's connection, cut so in the
        middle of being closed, stayed open, and its server went on generating.
        """
        if not self.task.cancelling():
            self.task.cancel()

    async def _run(self, source: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(source):
                async for piece in source:
                    self._pieces.append(piece)
                    self._num_bytes += len(piece)
                    self._patience.end()
                    if self._num_bytes >= MAX_BUFFER_BYTES:
                        await self._wait_for_room()
        except asyncio.CancelledError:
            self.error = ShuttingDown("The server is shutting down.")  # or nobody reads it
            raise
        except Exception as error:  # noqa: BLE001  # whoever reads raises it, or sends it
            self.error = error
        finally:
            self.is_done = True
            self._patience.close()

    async def _wait_for_room(self) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._room.wait()
        except TimeoutError:
            raise ClientGone("it does not read its reply") from None
