"""Asks the grammar child, and says what its silence means."""

from collections import OrderedDict
from hashlib import blake2b

import msgspec

from engine.api import EngineError, Failure, Grammar
from engine.sandbox import Child, SandboxError

DEADLINE_SECONDS = 2.0
MEMORY_BYTES = 2 * 2**30
"""Of address space, of which the interpreter and its libraries take a part."""

MAX_PASSED = 256
"""Agents send the same tools with every request."""

_decoder = msgspec.msgpack.Decoder(Failure | None)


class GrammarChecks:
    """Grammars are programs of somebody else's, so they are tried out of harm's way."""

    def __init__(self) -> None:
        self._child = Child(
            "engine.text.grammar_child",
            deadline_seconds=DEADLINE_SECONDS,
            memory_bytes=MEMORY_BYTES,
        )
        self._passed: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, grammar: Grammar) -> None:
        """Raises `EngineError` bad_request with the reason, for one that no text could follow."""
        asked = msgspec.msgpack.encode(grammar)
        digest = blake2b(asked, digest_size=16).digest()
        if digest in self._passed:
            self._passed.move_to_end(digest)
            return
        await self._ask(asked)
        self._passed[digest] = None
        if len(self._passed) > MAX_PASSED:
            self._passed.popitem(last=False)

    async def _ask(self, asked: bytes) -> None:
        try:
            failure = _decoder.decode(await self._child.call(asked))
        except SandboxError as error:
            message = f"it takes too much to compile: {error}"
            raise EngineError("bad_request", message, "grammar") from None
        if failure is not None:
            raise failure.error()

    def close(self) -> None:
        """Ends the child, if there is one."""
        self._child.close()
