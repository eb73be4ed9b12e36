"""Asks the inspecting child, and says what its silence means."""

import msgspec

from engine.api import Failure
from engine.cache.spec import KVDType
from engine.core.device import DType
from engine.sandbox import Child, SandboxError
from engine.wire import Inspected

DEADLINE_SECONDS = 10.0
MEMORY_BYTES = 8 * 2**30
"""Of address space; importing torch alone takes several GiB of it."""


class Inspector:
    """Makes cards in a child, so that a file that hangs or kills its reader hurts nobody else."""

    def __init__(self, dtype: DType, kv_dtype: KVDType = "auto") -> None:
        self._dtype, self._kv_dtype = dtype, kv_dtype
        self._child = Child(
            "engine.inspect", deadline_seconds=DEADLINE_SECONDS, memory_bytes=MEMORY_BYTES
        )

    async def inspect(self, call: int, path: str, chat_template: str | None = None) -> Inspected:
        """The answer to a call, a failure among them; one inspection at a time."""
        try:
            question = (call, path, self._dtype, self._kv_dtype, chat_template)
            reply = await self._child.call(msgspec.msgpack.encode(question))
        except SandboxError as error:
            failure = Failure("bad_checkpoint", f"its headers could not be read: {error}")
            return Inspected(call, None, failure)
        return msgspec.msgpack.decode(reply, type=Inspected)
