"""The child process that tries grammars: one that takes too long or too much is stopped with it."""

import msgspec
from llguidance import LLMatcher, LLParserLimits

from engine.api import EngineError, Failure, Grammar
from engine.sandbox import serve
from engine.text.grammars import after_thinking, check_size

CPU_SECONDS = 2.0

_LIMITS = LLParserLimits(verbose_errors=False)


def answer(payload: bytes) -> bytes:
    """None for a grammar that texts can follow, or why not."""
    grammar = msgspec.msgpack.decode(payload, type=Grammar)
    try:
        check_size(grammar)
        whole = after_thinking(grammar, None, lambda _: None)
    except EngineError as error:
        return msgspec.msgpack.encode(Failure(error.code, error.message, error.param))
    reason = LLMatcher.validate_grammar(whole, None, limits=_LIMITS)
    if not reason or reason.startswith("WARNING:"):
        return msgspec.msgpack.encode(None)
    return msgspec.msgpack.encode(Failure("bad_request", reason.strip(), "grammar"))


if __name__ == "__main__":
    serve(answer, cpu_seconds=CPU_SECONDS)
