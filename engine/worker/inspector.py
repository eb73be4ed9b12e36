"""Asks the inspecting child, and says what its silence means."""

import asyncio
from hashlib import sha256
from pathlib import Path

import msgspec

from engine.api import Failure, ModelCard
from engine.cache.spec import KVDType
from engine.core.device import DType
from engine.residency.sidecar import Question, Sidecars
from engine.sandbox import Child, SandboxError
from engine.wire import Inspected

DEADLINE_SECONDS = 10.0
MEMORY_BYTES = 8 * 2**30
"""Of address space; importing torch alone takes several GiB of it."""


class Inspector:
    """Makes cards in a child, so that a file that hangs or kills its reader hurts nobody else.

    known: where cards are kept, so that a file is read once, whichever process asks.
    """

    def __init__(
        self, dtype: DType, kv_dtype: KVDType = "auto", known: Sidecars | None = None
    ) -> None:
        self._dtype, self._kv_dtype = dtype, kv_dtype
        self._known = known or Sidecars(None)
        self._child = Child(
            "engine.inspect", deadline_seconds=DEADLINE_SECONDS, memory_bytes=MEMORY_BYTES
        )

    async def inspect(self, call: int, path: str, chat_template: str | None = None) -> Inspected:
        """The answer to a call, a failure among them; one inspection at a time."""
        asked, card = await asyncio.to_thread(self._look, path, chat_template)
        if card is not None:
            return Inspected(call, card)
        inspected = await self._ask(call, path, chat_template)
        if inspected.card is not None:
            answer = msgspec.msgpack.encode(inspected.card)
            await asyncio.to_thread(self._known.keep, asked, answer)
        return inspected

    def _look(self, path: str, chat_template: str | None) -> tuple[Question, ModelCard | None]:
        template = "" if chat_template is None else sha256(chat_template.encode()).hexdigest()
        asked = Question.of(Path(path), "card", self._dtype, self._kv_dtype, template)
        answer = self._known.find(asked)
        try:
            card = None if answer is None else msgspec.msgpack.decode(answer, type=ModelCard)
        except msgspec.DecodeError:
            card = None
        return asked, None if card is None else msgspec.structs.replace(card, path=path)

    async def _ask(self, call: int, path: str, chat_template: str | None) -> Inspected:
        try:
            question = (call, path, self._dtype, self._kv_dtype, chat_template)
            reply = await self._child.call(msgspec.msgpack.encode(question))
        except SandboxError as error:
            failure = Failure("bad_checkpoint", f"its headers could not be read: {error}")
            return Inspected(call, None, failure)
        return msgspec.msgpack.decode(reply, type=Inspected)
