"""One request from its decoded body to the last byte of its reply."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import msgspec

from engine.api import Delta
from gateway import sse
from gateway.catalog.catalog import KnownModel
from gateway.log import note
from gateway.routes.grammars import check_grammar
from gateway.routes.lease import leased, served_context
from gateway.routes.prepare import prepared
from gateway.routes.progress import progress_of
from gateway.routes.services import Services
from gateway.translate.job import Job
from gateway.translate.reply import Reply

_encode = msgspec.json.Encoder().encode


@dataclass(eq=False)
class Exchange:
    """name: the model as the client calls it. read: makes the job, once the model is known.

    framing: how the reply streams.
    """

    services: Services
    name: str
    read: Callable[[KnownModel], Job]
    reply_of: Callable[[str, Job], Reply]
    framing: sse.Framing = sse.OPENAI
    model: KnownModel | None = None
    has_lease: bool = False

    async def answer(self) -> AsyncGenerator[bytes, None]:
        """The reply's bytes, ready to send. What needs no model in memory is refused before one is.

        Closing it gives back the lease and stops the engine.
        """
        model = self.model = await self.services.catalog.resolve(self.name)
        note(model=model.id)
        job = self.read(model)
        context_length = served_context(self.services.pool, model)
        job.refuse_hopeless(context_length)
        await check_grammar(self.services, model, job)
        async with prepared(self.services, model, job.prompts) as prompts:
            runs = job.runs(prompts, context_length)
            async with leased(self.services.pool, model, job.keep_alive) as lease:
                self.has_lease = True
                deltas = self.services.engine.generate(lease.device, lease.handle, runs)
                reply = self.reply_of(model.id, job.measured(prompts))
                async with aclosing(cast("AsyncGenerator[Delta, None]", deltas)) as source:
                    framing = self.framing if job.stream else None
                    async for piece in _render(reply, source, framing):
                        yield piece

    def progress(self) -> str:
        """What the server is busy with, for a client that waits."""
        return progress_of(self.services.pool, self.model, has_lease=self.has_lease)


async def _render(
    reply: Reply, deltas: AsyncIterator[Delta], framing: sse.Framing | None
) -> AsyncIterator[bytes]:
    """The reply's pieces; without a framing it is one.

    A failure in a delta ends the whole request: half an answer is none.
    """
    opening = b"".join(map(framing.event, reply.begin())) if framing else b""
    async for delta in deltas:
        if delta.failure:
            raise delta.failure.error()
        messages = reply.add(delta)
        if framing and (piece := opening + b"".join(map(framing.event, messages))):
            yield piece
        opening = b""
    prompt_tokens, completion_tokens = reply.num_tokens
    note(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    if framing:
        yield b"".join(map(framing.event, reply.end())) + framing.closing
    else:
        yield _encode(reply.whole())
