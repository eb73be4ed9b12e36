"""Asks the inspecting child, and says what its silence means."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from engine.api import DType, Failure, KVDType, ModelCard
from engine.residency.sidecar import Question, Sidecars
from engine.sandbox import Child, SandboxError
from engine.wire import Inspect, Inspected

DEADLINE_SECONDS = 10.0
MEMORY_BYTES = 8 * 2**30
"""Of address space; importing torch alone takes several GiB of it."""


class Inspector:
    """Makes cards in a child, so that a file that hangs or kills its reader hurts nobody else.

    known: where cards are kept, so that a file is read once, whichever process asks.
    """

    def __init__(
        self,
        dtype: DType,
        kv_dtype: KVDType = "auto",
        known: Sidecars | None = None,
        kinds: Sequence[str] = ("cpu",),
    ) -> None:
        """kinds: as of `engine.inspect`."""
        self._dtype, self._kv_dtype, self._kinds = dtype, kv_dtype, tuple(kinds)
        self._known = known or Sidecars(None)
        self._child = Child(
            "engine.inspect", deadline_seconds=DEADLINE_SECONDS, memory_bytes=MEMORY_BYTES
        )

    async def inspect(self, asked: Inspect) -> Inspected:
        """The answer, a failure among them; one inspection at a time."""
        asked = self._settled(asked)
        question, card = await asyncio.to_thread(self._look, asked)
        if card is not None:
            return Inspected(asked.call, card)
        inspected = await self._ask(asked)
        if inspected.card is not None:
            answer = msgspec.msgpack.encode(inspected.card)
            await asyncio.to_thread(self._known.keep, question, answer)
        return inspected

    def _settled(self, asked: Inspect) -> Inspect:
        """In what the worker was started with, where the model has nothing of its own."""
        return msgspec.structs.replace(
            asked,
            dtype=self._dtype if asked.dtype == "auto" else asked.dtype,
            kv_dtype=self._kv_dtype if asked.kv_dtype == "auto" else asked.kv_dtype,
        )

    def _look(self, asked: Inspect) -> tuple[Question, ModelCard | None]:
        template = asked.chat_template
        hashed = "" if template is None else sha256(template.encode()).hexdigest()
        how = asked.dtype, asked.kv_dtype, hashed, *self._kinds
        question = Question.of(Path(asked.path), "card", *how)
        answer = self._known.find(question)
        try:
            card = None if answer is None else msgspec.msgpack.decode(answer, type=ModelCard)
        except msgspec.DecodeError:
            card = None
        return question, None if card is None else msgspec.structs.replace(card, path=asked.path)

    async def _ask(self, asked: Inspect) -> Inspected:
        try:
            reply = await self._child.call(msgspec.msgpack.encode((asked, self._kinds)))
        except SandboxError as error:
            failure = Failure("bad_checkpoint", f"its headers could not be read: {error}")
            return Inspected(asked.call, None, failure)
        return msgspec.msgpack.decode(reply, type=Inspected)
