"""Chat completions: the deltas to chunks or a whole reply."""

from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET, Struct, UnsetType

from engine.api import Delta, ToolCallDelta
from engine.api import Usage as EngineUsage
from gateway.llamacpp.timings import Timings
from gateway.openai import chat as wire
from gateway.openai.chat import ChatChunk, ChatCompletion
from gateway.openai.usage import Usage
from gateway.translate.job import Job
from gateway.translate.logprobs import read_logprob
from gateway.translate.reply import new_id, now
from gateway.translate.timings import Stopwatch
from gateway.translate.usage import total_usage


@dataclass(slots=True)
class _Choice:
    """What has come of one choice of a reply that does not stream."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[list[ToolCallDelta]] = field(default_factory=list)
    logprobs: list[wire.TokenLogprob] = field(default_factory=list)

    def add(self, delta: Delta, logprobs: list[wire.TokenLogprob]) -> None:
        self.text.append(delta.text)
        self.reasoning.append(delta.reasoning)
        self.logprobs += logprobs
        for piece in delta.tool_calls:
            if piece.index == len(self.calls):
                self.calls.append([])
            self.calls[piece.index].append(piece)

    def message(self, *, calls_function: bool) -> wire.ReplyMessage:
        text = "".join(self.text)
        reasoning = "".join(self.reasoning) or UNSET
        calls = [_whole_call(pieces) for pieces in self.calls]
        return wire.ReplyMessage(
            None if calls and not text else text,
            reasoning_content=reasoning,
            reasoning=reasoning,
            tool_calls=calls if calls and not calls_function else UNSET,
            function_call=calls[0].function if calls and calls_function else UNSET,
        )


@dataclass(slots=True)
class ChatReply:
    """`translate.reply.Reply` for one chat completion."""

    model: str
    job: Job
    id: str = field(default_factory=lambda: new_id("chatcmpl"))
    created: int = field(default_factory=now)
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _finish_reasons: dict[int, str] = field(default_factory=dict)
    _usages: dict[int, EngineUsage] = field(default_factory=dict)
    _stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = total_usage(self._usages, self.job.n)
        return usage.prompt_tokens, usage.completion_tokens

    def begin(self) -> list[Struct]:
        # all roles first: SDKs index choices by their place and want them to appear in order
        choice = self.job.generation.tools
        is_forced = choice is not None and choice.mode == "required"
        opening = wire.ChoiceDelta(role="assistant", content=None if is_forced else "")
        return [self._chunk(wire.ChunkChoice(n, opening)) for n in range(self.job.num_choices)]

    def add(self, delta: Delta) -> list[Struct]:
        logprobs = [read_logprob(token) for token in delta.logprobs] if self._has_logprobs else []
        delta = self._told(delta)
        if not self.job.stream:
            self._choices.setdefault(delta.index, _Choice()).add(delta, logprobs)
        if delta.finish_reason:
            self._finish_reasons[delta.index] = self._reason(delta.finish_reason)
        if delta.usage:
            self._usages[delta.index] = delta.usage
        return self._chunks(delta, logprobs) if self.job.stream else []

    def end(self) -> list[Struct]:
        return [self._chunk(usage=self._usage)] if self.job.include_usage else []

    def whole(self) -> Struct:
        choices = [self._choice(index) for index in range(self.job.num_choices)]
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=choices,
            usage=self._usage,
            service_tier=self._service_tier,
            timings=self._timings,
        )

    @property
    def _has_logprobs(self) -> bool:
        return self.job.generation.sampling.logprobs is not None

    @property
    def _usage(self) -> Usage:
        return total_usage(self._usages, self.job.n)

    @property
    def _service_tier(self) -> str | UnsetType:
        return self.job.manner.service_tier or UNSET

    @property
    def _timings(self) -> Timings | UnsetType:
        if not self.job.manner.has_timings:
            return UNSET
        return self._stopwatch.read(self.job.num_prompt_tokens, self._usages)

    def _told(self, delta: Delta) -> Delta:
        """What of a delta the client is to hear."""
        if self.job.manner.has_timings:
            self._stopwatch.note(delta)
        if delta.reasoning and self.job.manner.hides_reasoning:
            return msgspec.structs.replace(delta, reasoning="")
        return delta

    def _reason(self, reason: str) -> str:
        if reason == "tool_calls" and self.job.manner.calls_function:
            return "function_call"
        return reason

    def _call(self, piece: ToolCallDelta) -> wire.ChoiceDelta:
        if self.job.manner.calls_function:
            return wire.ChoiceDelta(function_call=_function_delta(piece))
        return wire.ChoiceDelta(tool_calls=[_call_delta(piece)])

    def _chunks(self, delta: Delta, logprobs: list[wire.TokenLogprob]) -> list[Struct]:
        """Thoughts, words, calls and the end, each in a chunk of its own."""
        said: list[tuple[wire.ChoiceDelta, wire.ChoiceLogprobs | UnsetType]] = []
        if delta.reasoning:
            thought = delta.reasoning
            said.append((wire.ChoiceDelta(reasoning_content=thought, reasoning=thought), UNSET))
        if delta.text or logprobs:
            shown = wire.ChoiceLogprobs(logprobs) if self._has_logprobs else UNSET
            said.append((wire.ChoiceDelta(content=delta.text), shown))
        said += [(self._call(piece), UNSET) for piece in delta.tool_calls]
        chunks: list[Struct] = [
            self._chunk(wire.ChunkChoice(delta.index, part, shown)) for part, shown in said
        ]
        if delta.finish_reason:
            reason = self._reason(delta.finish_reason)
            closing = wire.ChunkChoice(delta.index, wire.ChoiceDelta(), finish_reason=reason)
            chunks.append(self._chunk(closing))
        return chunks

    def _chunk(self, *choices: wire.ChunkChoice, usage: Usage | None = None) -> ChatChunk:
        shown: Usage | UnsetType | None = usage if self.job.include_usage else UNSET
        return ChatChunk(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=list(choices),
            usage=shown,
            service_tier=self._service_tier,
            timings=self._timings,
        )

    def _choice(self, index: int) -> wire.Choice:
        choice = self._choices.get(index, _Choice())
        logprobs = wire.ChoiceLogprobs(choice.logprobs) if self._has_logprobs else None
        message = choice.message(calls_function=self.job.manner.calls_function)
        return wire.Choice(index, message, logprobs, self._finish_reasons[index])


def _whole_call(pieces: list[ToolCallDelta]) -> wire.ReplyToolCall:
    arguments = "".join(piece.arguments for piece in pieces)
    return wire.ReplyToolCall(pieces[0].id, wire.ReplyFunction(pieces[0].name, arguments))


def _call_delta(piece: ToolCallDelta) -> wire.ToolCallDelta:
    function = _function_delta(piece)
    if not piece.name:
        return wire.ToolCallDelta(piece.index, function)
    return wire.ToolCallDelta(piece.index, function, piece.id, "function")


def _function_delta(piece: ToolCallDelta) -> wire.FunctionDelta:
    return wire.FunctionDelta(piece.arguments, piece.name or UNSET)
