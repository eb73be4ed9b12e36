"""Asks the grammar child, and says what its silence means."""

import msgspec

from engine.api import EngineError, Failure, Grammar
from engine.sandbox import Child, SandboxError

DEADLINE_SECONDS = 2.0
MEMORY_BYTES = 2 * 2**30
"""Of address space, of which the interpreter and its libraries take a part."""

_decoder = msgspec.msgpack.Decoder(Failure | None)


class GrammarChecks:
    """Grammars are programs of somebody else's, so they are tried out of harm's way."""

    def __init__(self) -> None:
        self._child = Child(
            "engine.text.grammar_child",
            deadline_seconds=DEADLINE_SECONDS,
            memory_bytes=MEMORY_BYTES,
        )

    async def check(self, grammar: Grammar) -> None:
        """Raises `EngineError` bad_request with the reason, for one that no text could follow."""
        try:
            failure = _decoder.decode(await self._child.call(msgspec.msgpack.encode(grammar)))
        except SandboxError as error:
            message = f"it takes too much to compile: {error}"
            raise EngineError("bad_request", message, "grammar") from None
        if failure is not None:
            raise failure.error()

    def close(self) -> None:
        """Ends the child, if there is one."""
        self._child.close()
