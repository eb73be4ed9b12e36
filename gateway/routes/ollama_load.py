"""What Ollama takes for an order rather than a question: a request that says nothing."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from gateway import sse
from gateway.log import note
from gateway.routes.exchange import Exchange
from gateway.routes.lease import leased, served_context
from gateway.routes.naming import needed_model
from gateway.translate.ollama_reply import Kind, empty_answer
from gateway.translate.sampling import read_keep_alive

_encode = msgspec.json.Encoder().encode


@dataclass(eq=False)
class Loading:
    """`routes.respond.Source` that has a model loaded, or unloaded if it is to be kept for no time."""

    exchange: Exchange
    kind: Kind
    keep_alive: str | float | None
    is_stream: bool

    @property
    def framing(self) -> sse.Framing:
        return self.exchange.framing

    def progress(self) -> str:
        return self.exchange.progress()

    async def answer(self) -> AsyncGenerator[bytes, None]:
        services = self.exchange.services
        model = self.exchange.model = await needed_model(services, self.exchange.name)
        note(model=model.id)
        seconds = read_keep_alive(self.keep_alive)
        if model.upstream:  # it is ready there, or is made so when it is asked something
            yield self._line(model.id, "unload" if seconds == 0 else "load")
            return
        if seconds == 0:
            services.pool.unload(model.key)
            yield self._line(model.id, "unload")
            return
        served_context(services.pool, model)
        async with leased(services.pool, model, seconds):
            yield self._line(model.id, "load")

    def _line(self, model_id: str, done_reason: str) -> bytes:
        answer = empty_answer(self.kind, model_id, done_reason)
        return self.framing.event(answer) if self.is_stream else _encode(answer)
