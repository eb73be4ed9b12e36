"""One request for vectors or scores, from its decoded body to its reply."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import msgspec

from engine.api import EngineError
from gateway import sse
from gateway.catalog.catalog import KnownModel
from gateway.log import note
from gateway.routes.lease import leased, served_context
from gateway.routes.prepare import prepared
from gateway.routes.progress import progress_of
from gateway.routes.services import Services
from gateway.translate.vectors import VectorJob, num_tokens

_encode = msgspec.json.Encoder().encode


@dataclass(eq=False)
class VectorExchange:
    """As `Exchange`; the reply is one piece. framing: of the errors that come late."""

    services: Services
    name: str
    read: Callable[[KnownModel], VectorJob]
    framing: sse.Framing = sse.OPENAI
    model: KnownModel | None = None
    has_lease: bool = False

    async def answer(self) -> AsyncGenerator[bytes, None]:
        """The reply. What needs no model in memory is refused before one is."""
        model = self.model = await self.services.catalog.resolve(self.name)
        note(model=model.id)
        job = self.read(model)
        try:
            yield await self._reply(model, job)
        except EngineError as error:
            if error.param != "prompt":
                raise
            raise EngineError(error.code, error.message, job.param) from error

    async def _reply(self, model: KnownModel, job: VectorJob) -> bytes:
        # a cache is of whole blocks, and may be longer than what the model can read
        served = served_context(self.services.pool, model)
        context_length = min(served, model.card.context_length)
        job.refuse_hopeless(context_length)
        async with prepared(self.services, model, job.fitted(context_length)) as prompts:
            job.check(prompts, context_length)
            tickets = [prompt.ticket for prompt in prompts]
            async with leased(self.services.pool, model, job.keep_alive) as lease:
                self.has_lease = True
                vectors = await self.services.engine.embed(lease.device, lease.handle, tickets)
        count = num_tokens(prompts)
        note(prompt_tokens=count)
        # millions of numbers become text: everybody's streams would wait for that
        return await asyncio.to_thread(lambda: _encode(job.write(model.id, count, vectors)))

    def progress(self) -> str:
        """What the server is busy with, for a client that waits."""
        return progress_of(self.services.pool, self.model, has_lease=self.has_lease)
