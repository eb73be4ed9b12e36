"""Prompts on their way through the text process, which keeps them for as long as they are used."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from engine.api import ChatPrompt, EngineError, Prepared, Prompt
from gateway.catalog.models import KnownModel
from gateway.routes.services import Services
from gateway.translate.messages import merge_systems

MAX_PREPARING = 8


@asynccontextmanager
async def prepared(
    services: Services, model: KnownModel, prompts: Sequence[Prompt]
) -> AsyncIterator[list[Prepared]]:
    """The prompts' tickets, which are given back at the end whatever happens."""
    limit = asyncio.Semaphore(MAX_PREPARING)
    tickets: list[int] = []

    async def prepare(prompt: Prompt) -> Prepared:
        async with limit:
            done = await _prepare(services, model, prompt)
        tickets.append(done.ticket)
        return done

    try:
        yield await _all([prepare(prompt) for prompt in prompts])
    finally:
        for ticket in tickets:
            services.engine.discard(ticket)


async def _prepare(services: Services, model: KnownModel, prompt: Prompt) -> Prepared:
    try:
        return await services.engine.prepare(model.text_source, prompt)
    except EngineError as error:
        merged = merge_systems(prompt.messages) if isinstance(prompt, ChatPrompt) else None
        if error.code != "template_failed" or merged is None:
            raise
    # the template may only have refused a second or late system message
    again = msgspec.structs.replace(prompt, messages=merged)
    return await services.engine.prepare(model.text_source, again)


async def _all(calls: list[Coroutine[Any, Any, Prepared]]) -> list[Prepared]:
    """The results in order. The first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
