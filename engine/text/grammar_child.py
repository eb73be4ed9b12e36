"""The child process that tries grammars: one that takes too long or too much is stopped with it."""

import json

import msgspec
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from engine.api import EngineError, Failure, Grammar
from engine.sandbox import serve
from engine.text.grammars import after_thinking, check_size
from engine.text.references import empty_circle
from engine.text.refusals import refusal

CPU_SECONDS = 2.0

_LIMITS = LLParserLimits(verbose_errors=False)
_BYTES = LLTokenizer("byte")


def answer(payload: bytes) -> bytes:
    """None for a grammar that texts can follow, or why not."""
    grammar = msgspec.msgpack.decode(payload, type=Grammar)
    try:
        _check(grammar)
    except EngineError as error:
        return msgspec.msgpack.encode(Failure(error.code, error.message, error.param))
    return msgspec.msgpack.encode(None)


def _check(grammar: Grammar) -> None:
    """Raises `EngineError` bad_request."""
    check_size(grammar)
    if reason := _compile_error(grammar) or _circle(grammar) or _first_error(grammar):
        raise EngineError("bad_request", reason, "grammar")


def _compile_error(grammar: Grammar) -> str:
    reason = _reason(grammar)
    if not reason or grammar.kind != "json_schema":
        return reason
    schema = json.loads(grammar.text)
    return refusal(schema, reason, lambda text: _reason(Grammar("json_schema", text)))


def _reason(grammar: Grammar) -> str:
    """Why a grammar cannot be compiled; empty where it can. Raises as `after_thinking`."""
    reason = LLMatcher.validate_grammar(_whole(grammar), None, limits=_LIMITS).strip()
    return "" if reason.startswith("WARNING:") else reason


def _circle(grammar: Grammar) -> str:
    # llguidance takes them, and fails once an answer shall follow them
    circle = empty_circle(grammar.text) if grammar.kind == "json_schema" else None
    return f"$ref: {circle[:200]!r} leads back to itself alone" if circle else ""


def _first_error(grammar: Grammar) -> str:
    """Why no text can begin; a grammar of very many branches fails only then."""
    matcher = LLMatcher(_BYTES, _whole(grammar), log_level=0, limits=_LIMITS)
    matcher.compute_bitmask()
    return matcher.get_error().removesuffix("<non-verbose/>").strip()


def _whole(grammar: Grammar) -> str:
    return after_thinking(grammar, None, lambda _: None)


if __name__ == "__main__":
    serve(answer, cpu_seconds=CPU_SECONDS)
