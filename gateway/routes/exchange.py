"""One request from its decoded body to the last byte of its reply."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from engine.api import ChatPrompt, Delta, EngineError, Prepared, Prompt
from gateway import sse
from gateway.catalog.catalog import KnownModel
from gateway.log import note
from gateway.routes.lease import leased, served_context
from gateway.routes.services import Services
from gateway.translate.job import Job
from gateway.translate.messages import merge_systems
from gateway.translate.reply import Reply

MAX_PREPARING = 8

_encode = msgspec.json.Encoder().encode


@dataclass(eq=False)
class Exchange:
    """name: the model as the client calls it. read: makes the job, once the model is known."""

    services: Services
    name: str
    read: Callable[[KnownModel], Job]
    reply_of: Callable[[str, Job], Reply]
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
        async with self._prepared(model, job) as prepared:
            runs = job.runs(prepared, context_length)
            async with leased(self.services.pool, model, job.keep_alive) as lease:
                self.has_lease = True
                deltas = self.services.engine.generate(lease.device, lease.handle, runs)
                reply = self.reply_of(model.id, job)
                async with aclosing(cast("AsyncGenerator[Delta, None]", deltas)) as source:
                    async for piece in _render(reply, source, is_stream=job.stream):
                        yield piece

    def progress(self) -> str:
        """What the server is busy with, for a client that waits."""
        if self.model is None:
            return "looking at the model"
        pool, name = self.services.pool, self.model.id
        status = pool.status(self.model.key)
        if status.state == "loading":
            return f"loading {name} {status.fraction:.0%}"
        if self.has_lease:
            return f"paused, the turn of {name} comes" if status.state == "paused" else "working"
        ahead = pool.ahead(self.model.key)
        return f"waiting for {name}, {ahead} ahead" if ahead else f"waiting for {name}"

    @asynccontextmanager
    async def _prepared(self, model: KnownModel, job: Job) -> AsyncIterator[list[Prepared]]:
        """The prompts' tickets, which are given back at the end whatever happens."""
        limit = asyncio.Semaphore(MAX_PREPARING)
        tickets: list[int] = []

        async def prepare(prompt: Prompt) -> Prepared:
            async with limit:
                prepared = await self._prepare(model, prompt)
            tickets.append(prepared.ticket)
            return prepared

        try:
            yield await _all([prepare(prompt) for prompt in job.prompts])
        finally:
            for ticket in tickets:
                self.services.engine.discard(ticket)

    async def _prepare(self, model: KnownModel, prompt: Prompt) -> Prepared:
        try:
            return await self.services.engine.prepare(model.text_source, prompt)
        except EngineError as error:
            merged = merge_systems(prompt.messages) if isinstance(prompt, ChatPrompt) else None
            if error.code != "template_failed" or merged is None:
                raise
        # the template may only have refused a second or late system message
        again = msgspec.structs.replace(prompt, messages=merged)
        return await self.services.engine.prepare(model.text_source, again)


async def _all(calls: list[Coroutine[Any, Any, Prepared]]) -> list[Prepared]:
    """The results in order. The first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _render(
    reply: Reply, deltas: AsyncIterator[Delta], *, is_stream: bool
) -> AsyncIterator[bytes]:
    """The reply's pieces. A failure in a delta ends the whole request: half an answer is none."""
    opening = b"".join(map(sse.event, reply.begin())) if is_stream else b""
    async for delta in deltas:
        if delta.failure:
            raise delta.failure.error()
        messages = reply.add(delta)
        if piece := opening + b"".join(map(sse.event, messages)):
            yield piece
        opening = b""
    prompt_tokens, completion_tokens = reply.num_tokens
    note(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    if is_stream:
        yield b"".join(map(sse.event, reply.end())) + sse.DONE
    else:
        yield _encode(reply.whole())
