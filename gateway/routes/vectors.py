"""One request for vectors or scores, from its decoded body to its reply."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import msgspec

from engine.api import EngineError
from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.journey import Journey
from gateway.keys import visit
from gateway.log import note
from gateway.routes.fallback import with_fallback
from gateway.routes.lease import leased, served_context
from gateway.routes.naming import needed_model
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

    def answer(self) -> AsyncGenerator[bytes, None]:
        """The reply. What needs no model in memory is refused before one is."""
        return with_fallback(self.services, self.name, self._answer)

    async def _answer(self, name: str) -> AsyncGenerator[bytes, None]:
        with self.services.journeys.track("embeddings", name) as journey:
            model = self.model = await needed_model(self.services, name)
            note(model=model.id)
            self.services.journeys.follow(journey, model.id, model.key)
            job = self.read(model)
            vectors, count = await self._embedded(model, job, journey)
            journey.answered()
        note(prompt_tokens=count)
        visit().spend_tokens(count)
        # millions of numbers become text: everybody's streams would wait for that
        yield await asyncio.to_thread(lambda: _encode(job.write(model.id, count, vectors)))

    async def _embedded(
        self, model: KnownModel, job: VectorJob, journey: Journey
    ) -> tuple[list[bytes], int]:
        embed = self._embed_there if model.upstream else self._embed_here
        try:
            return await embed(model, job, journey)
        except EngineError as error:
            if error.param != "prompt":
                raise
            raise EngineError(error.code, error.message, job.param) from error

    async def _embed_there(
        self, model: KnownModel, job: VectorJob, journey: Journey
    ) -> tuple[list[bytes], int]:
        self.has_lease = True
        journey.prepared(0, 1, None)
        journey.granted()
        return await self.services.upstreams.embed(model, job)

    async def _embed_here(
        self, model: KnownModel, job: VectorJob, journey: Journey
    ) -> tuple[list[bytes], int]:
        # a cache is of whole blocks, and may be longer than what the model can read
        served = served_context(self.services.pool, model)
        context_length = min(served, model.card.context_length)
        job.refuse_hopeless(context_length)
        async with prepared(self.services, model, job.fitted(context_length)) as prompts:
            job.check(prompts, context_length)
            tickets = [prompt.ticket for prompt in prompts]
            journey.prepared(num_tokens(prompts), 1, None)
            async with leased(self.services.pool, model, job.keep_alive) as lease:
                self.has_lease = True
                journey.granted()
                with visit().using(lease.device):
                    vectors = await self.services.engine.embed(
                        lease.device, lease.handle, tickets, visit().key.salt
                    )
        return vectors, num_tokens(prompts)

    def progress(self) -> str:
        """What the server is busy with, for a client that waits."""
        return progress_of(self.services.pool, self.model, has_lease=self.has_lease)
