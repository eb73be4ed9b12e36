"""The exchange of a response, whose store has it before its client knows that it is finished."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import msgspec
import structlog

from gateway import sse
from gateway.keys import visit
from gateway.log import note
from gateway.openai.errors import ErrorReply
from gateway.openai.responses import InputItem, ResponseRequest
from gateway.routes.exchange import Exchange
from gateway.routes.history import own_items, past_items
from gateway.routes.services import Services
from gateway.store import Kept, ResponseStore, StoreError
from gateway.translate.responses import read_response
from gateway.translate.responses_reply import ResponsesReply
from gateway.translate.responses_tools import ignored_tools

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


@dataclass(eq=False)
class Responding:
    """`routes.respond.Source` for one response. items: what the request adds to its conversation.

    owner: the id of the key that asked.
    """

    store: ResponseStore
    request: ResponseRequest
    items: list[InputItem]
    reply: ResponsesReply
    exchange: Exchange
    owner: str = field(default_factory=lambda: visit().key.id)

    @property
    def framing(self) -> sse.Framing:
        return self.exchange.framing

    def progress(self) -> str:
        return self.exchange.progress()

    async def answer(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.exchange.answer()) as pieces:
            async for piece in pieces:
                if self.reply.is_final and self.request.store is not False:
                    await self.keep()
                yield piece

    async def keep(self, events: bytes | None = None) -> None:
        """events: as they were sent, where they may be asked for again."""
        response, previous_id = self.reply.response, self.request.previous_response_id
        kept = Kept(
            response.id, previous_id, _encode(response), _encode(self.items), events, self.owner
        )
        ids = [item.id for item in [*self.items, *response.output] if item.id]
        try:
            await self.store.put(kept, ids)
        except StoreError as error:  # a full disk costs the memory of it, not the answer
            log.warning("response_not_kept", response=response.id, reason=str(error))


async def make_responding(
    services: Services, request: ResponseRequest, *, is_stream: bool
) -> Responding:
    """Looks up what the request goes on from, and raises what can be wrong with that."""
    if ignored := ignored_tools(request.tools):
        note(tools_ignored=ignored)
    items = await own_items(services.store, request)
    past = await past_items(services.store, request)
    reply = ResponsesReply(request)

    def fail(failure: ErrorReply) -> bytes:
        return b"".join(map(sse.named_event, reply.fail(failure)))

    exchange = Exchange(
        services,
        request.model,
        lambda model: replace(read_response(request, items, past, model), stream=is_stream),
        reply.serve,
        replace(sse.NAMED, failure=fail),
    )
    return Responding(services.store, request, items, reply, exchange)
