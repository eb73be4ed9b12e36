"""One request from its decoded body to the last byte of its reply."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import msgspec
from msgspec.structs import replace

from engine.api import Delta
from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.journey import Journey, operation_of
from gateway.keys import visit
from gateway.log import note
from gateway.routes.fallback import with_fallback
from gateway.routes.grammars import check_grammar
from gateway.routes.lease import leased, served_context
from gateway.routes.naming import needed_model
from gateway.routes.on_demand import pull_progress
from gateway.routes.prepare import prepared
from gateway.routes.progress import progress_of
from gateway.routes.prompt_log import log_prompts
from gateway.routes.services import Services
from gateway.translate.job import Job
from gateway.translate.reply import Reply

Making = tuple[Job, AsyncIterator[Delta]]
"""What is asked for, as long as its prompts are known to be, and what comes of it."""

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

    def answer(self) -> AsyncGenerator[bytes, None]:
        """The reply's bytes, ready to send. What needs no model in memory is refused before one is.

        Closing it gives back the lease and stops the engine, or the upstream.
        """
        return with_fallback(self.services, self.name, self._answer)

    async def _answer(self, name: str) -> AsyncGenerator[bytes, None]:
        with self.services.journeys.track("chat", name) as journey:
            model = self.model = await needed_model(self.services, name)
            note(model=model.id)
            self.services.journeys.follow(journey, model.id, model.key)
            job = self.read(model)
            journey.operation = operation_of(job.prompts)
            log_prompts(self.services.settings.log, job.prompts)
            making = self._made_there if model.upstream else self._made_here
            async with making(model, job, journey) as (job, deltas):
                reply = self.reply_of(model.id, job)
                visit().spend_tokens(job.num_prompt_tokens)
                async with aclosing(cast("AsyncGenerator[Delta, None]", deltas)) as source:
                    framing = self.framing if job.stream else None
                    async for piece in _render(reply, source, framing, journey):
                        yield piece

    @asynccontextmanager
    async def _made_there(
        self, model: KnownModel, job: Job, journey: Journey
    ) -> AsyncIterator[Making]:
        self.has_lease = True
        journey.prepared(0, job.num_choices, job.max_tokens)
        journey.granted()
        yield job, _spending(self.services.upstreams.generate(model, job))

    @asynccontextmanager
    async def _made_here(
        self, model: KnownModel, job: Job, journey: Journey
    ) -> AsyncIterator[Making]:
        context_length = served_context(self.services.pool, model)
        job.refuse_hopeless(context_length)
        await check_grammar(self.services, model, job)
        async with prepared(self.services, model, job.prompts) as prompts:
            salt = visit().key.salt
            runs = [replace(run, salt=salt) for run in job.runs(prompts, context_length)]
            job = job.measured(prompts)
            journey.prepared(job.num_prompt_tokens, job.num_choices, job.max_tokens)
            async with leased(self.services.pool, model, job.keep_alive) as lease:
                self.has_lease = True
                journey.granted()
                deltas = self.services.engine.generate(lease.device, lease.handle, runs)
                with visit().using(lease.device):
                    yield job, deltas

    def progress(self) -> str:
        """What the server is busy with, for a client that waits."""
        if self.model is None and (pulling := pull_progress(self.services, self.name)):
            return pulling
        return progress_of(self.services.pool, self.model, has_lease=self.has_lease)


async def _spending(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """The same; what was read and said is known at the end alone."""
    async with aclosing(deltas):
        async for delta in deltas:
            if delta.usage:
                visit().spend_tokens(delta.usage.prompt_tokens + delta.usage.completion_tokens)
            yield delta


async def _render(
    reply: Reply, deltas: AsyncIterator[Delta], framing: sse.Framing | None, journey: Journey
) -> AsyncIterator[bytes]:
    """The reply's pieces; without a framing it is one.

    A failure in a delta ends the whole request: half an answer is none. Before the first delta nothing
    is told, so that a fallback may still begin.
    """
    has_begun = False
    async for delta in deltas:
        if delta.failure:
            raise delta.failure.error()
        visit().spend_tokens(len(delta.token_ids))
        opening = reply.begin() if framing and not has_begun else []
        if not has_begun:
            journey.began()
        has_begun = True
        if delta.finish_reason:
            journey.choice_ended(delta.finish_reason, delta.usage)
        messages = [*opening, *reply.add(delta)]
        if framing and (piece := b"".join(map(framing.event, messages))):
            yield piece
    journey.answered()
    prompt_tokens, completion_tokens = reply.num_tokens
    note(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    if framing:
        yield b"".join(map(framing.event, reply.end())) + framing.closing
    else:
        yield _encode(reply.whole())
