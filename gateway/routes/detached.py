"""Responses that are made in the background, whoever listens."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from gateway import sse
from gateway.errors import ShuttingDown
from gateway.keys import visit
from gateway.openai.responses import InputItem
from gateway.routes.respond import late_problem
from gateway.routes.responding import Responding
from gateway.routes.services import Services


class Detached:
    """Runs at once, and is among `services.detached` until the store has the response.

    Its events are all kept while it runs: each by its number, which is its place.
    """

    def __init__(self, services: Services, responding: Responding) -> None:
        self.reply = responding.reply
        self._responding = responding
        self._events = [sse.named_event(event) for event in self.reply.queue()]
        self._news = asyncio.Event()
        self._is_cancelled = False
        self.task = asyncio.create_task(self._run(), name=f"response-{self.reply.id}")
        asked_in = visit()
        asked_in.stay()
        self.task.add_done_callback(lambda _: asked_in.left())
        services.detached[self.reply.id] = self
        services.answering.add(self.task)
        self.task.add_done_callback(services.answering.discard)
        self.task.add_done_callback(lambda _: services.detached.pop(self.reply.id, None))
        self.task.add_done_callback(lambda _: self._wake())

    @property
    def owner(self) -> str:
        """The id of the key that asked."""
        return self._responding.owner

    @property
    def items(self) -> list[InputItem]:
        """What was asked."""
        return self._responding.items

    async def cancel(self) -> None:
        """Returns when it has ended; what had been said until then stays."""
        self._is_cancelled = True
        self.task.cancel()
        await asyncio.wait({self.task})

    async def follow(self, after: int) -> AsyncGenerator[bytes, None]:
        """The events from the one after number `after` on, as they come."""
        place = after + 1
        while True:
            if ready := self._events[place:]:
                place += len(ready)
                yield b"".join(ready)
            elif self.task.done():
                return
            else:
                await self._news.wait()

    async def _run(self) -> None:
        try:
            async with aclosing(self._responding.exchange.answer()) as pieces:
                async for piece in pieces:
                    await self._take(piece)
        except asyncio.CancelledError:
            if not self.reply.is_final:
                await self._take(self._ending(ShuttingDown("The server is shutting down.")))
        except Exception as error:  # noqa: BLE001  # whoever asks for the response reads it there
            await self._take(self._ending(error))

    def _ending(self, error: Exception) -> bytes:
        if self._is_cancelled:
            self.reply.cancel()
            return b""
        return self._responding.framing.failure(late_problem(error))

    async def _take(self, piece: bytes) -> None:
        """The last piece is heard of when the store has it, so that one can go on from there."""
        events = split_events(piece)
        if self.reply.is_final:
            is_streamed = self._responding.request.stream
            said = b"".join([*self._events, *events])
            await self._responding.keep(said if is_streamed else None)
        self._events += events
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


@dataclass(eq=False)
class Following:
    """`routes.respond.Source` of a detached response, for one of those who listen."""

    detached: Detached
    after: int
    framing: sse.Framing = sse.NAMED

    def progress(self) -> str:
        return "working"

    def answer(self) -> AsyncGenerator[bytes, None]:
        return self.detached.follow(self.after)


def split_events(piece: bytes) -> list[bytes]:
    """The events of a stream, one by one: JSON has no line breaks of its own."""
    return [event + b"\n\n" for event in piece.split(b"\n\n") if event]
