"""A request's deltas as Ollama answers them: lines with pieces, or one answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from engine.api import Delta, TokenLogprob
from engine.api import Usage as EngineUsage
from gateway.ollama.replies import (
    Answer,
    ChatAnswer,
    FunctionCall,
    GenerateAnswer,
    Logprob,
    Message,
    ToolCall,
    TopLogprob,
)
from gateway.translate.calls import Call, Calls
from gateway.translate.job import Job
from gateway.translate.reply import finite

Kind = Literal["chat", "generate"]


@dataclass(slots=True)
class _Said:
    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.thinking or self.calls or self.logprobs)

    def add(self, other: "_Said") -> None:
        self.text += other.text
        self.thinking += other.thinking
        self.calls += other.calls
        self.logprobs += other.logprobs


@dataclass(slots=True)
class OllamaReply:
    """`translate.reply.Reply` for one chat or generation.

    began: when the request came, by `clock`, in nanoseconds. The reply is made when the model is
    ready, so what is between counts as loading.
    """

    model: str
    job: Job
    kind: Kind
    began: int
    clock: Callable[[], int] = time.monotonic_ns
    _loaded: int = field(init=False)
    _first: int | None = None
    _calls: Calls = field(default_factory=Calls)
    _said: _Said = field(default_factory=_Said)
    _finish_reason: str = "stop"
    _usage: EngineUsage | None = None

    def __post_init__(self) -> None:
        self._loaded = self.clock()

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = self._usage or EngineUsage(self.job.num_prompt_tokens, 0)
        return usage.prompt_tokens, usage.completion_tokens

    def begin(self) -> list[Struct]:
        return []

    def add(self, delta: Delta) -> list[Struct]:
        if self._first is None:
            self._first = self.clock()
        if delta.usage:
            self._usage = delta.usage
        if delta.finish_reason:
            self._finish_reason = "length" if delta.finish_reason == "length" else "stop"
        said = self._read(delta)
        if self.job.stream:
            return [self._answer(said)] if said else []
        self._said.add(said)
        return []

    def end(self) -> list[Struct]:
        return [self.whole()]

    def whole(self) -> Struct:
        """A stream's last line too, which says nothing new and how it all went."""
        return self._answer(self._said, **self._statistics())

    def _read(self, delta: Delta) -> _Said:
        has_logprobs = self.job.generation.sampling.logprobs is not None
        return _Said(
            delta.text,
            delta.reasoning,
            [_read_call(call) for call in self._calls.add(delta)],
            [_read_logprob(token) for token in delta.logprobs] if has_logprobs else [],
        )

    def _answer(self, said: _Said, **statistics: Any) -> Answer:
        common: dict[str, Any] = {
            "model": self.model,
            "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "done": bool(statistics),
            "logprobs": said.logprobs or UNSET,
            **statistics,
        }
        thinking, calls = said.thinking or UNSET, said.calls or UNSET
        if self.kind == "chat":
            message = Message(content=said.text, thinking=thinking, tool_calls=calls)
            return ChatAnswer(message=message, **common)
        context: list[int] | UnsetType = [] if statistics else UNSET
        return GenerateAnswer(
            response=said.text, thinking=thinking, tool_calls=calls, context=context, **common
        )

    def _statistics(self) -> dict[str, Any]:
        ended = self.clock()
        first = self._first or ended
        prompt_tokens, completion_tokens = self.num_tokens
        return {
            "done_reason": self._finish_reason,
            "total_duration": ended - self.began,
            "load_duration": self._loaded - self.began,
            "prompt_eval_count": prompt_tokens,
            "prompt_eval_duration": first - self._loaded,
            "eval_count": completion_tokens,
            "eval_duration": ended - first,
        }


def _read_call(call: Call) -> ToolCall:
    return ToolCall(call.id, FunctionCall(call.index, call.name, call.arguments))


def _read_logprob(token: TokenLogprob) -> Logprob:
    top = [TopLogprob(t.text, finite(t.logprob), list(t.raw)) for t in token.top]
    # only a prompt's first token has none, and replies hold no prompt tokens
    return Logprob(token.text, finite(token.logprob or 0.0), list(token.raw), top)


def empty_answer(kind: Kind, model: str, done_reason: str) -> Answer:
    """What a request is answered that only had a model loaded or unloaded."""
    created_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    common: dict[str, Any] = {
        "model": model,
        "created_at": created_at,
        "done": True,
        "done_reason": done_reason,
    }
    if kind == "chat":
        return ChatAnswer(message=Message(content=""), **common)
    return GenerateAnswer(response="", **common)
