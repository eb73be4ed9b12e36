"""Chat completions: the deltas to chunks or a whole reply."""

from dataclasses import dataclass, field

from msgspec import UNSET, Struct, UnsetType

from engine.api import Delta, ToolCallDelta
from engine.api import Usage as EngineUsage
from gateway.openai import chat as wire
from gateway.openai.chat import ChatChunk, ChatCompletion
from gateway.openai.usage import Usage
from gateway.translate.job import Job
from gateway.translate.logprobs import read_logprob
from gateway.translate.reply import new_id, now
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

    def message(self) -> wire.ReplyMessage:
        text = "".join(self.text)
        reasoning = "".join(self.reasoning) or UNSET
        return wire.ReplyMessage(
            None if self.calls and not text else text,
            reasoning_content=reasoning,
            reasoning=reasoning,
            tool_calls=[_whole_call(pieces) for pieces in self.calls] or UNSET,
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
        if not self.job.stream:
            self._choices.setdefault(delta.index, _Choice()).add(delta, logprobs)
        if delta.finish_reason:
            self._finish_reasons[delta.index] = delta.finish_reason
        if delta.usage:
            self._usages[delta.index] = delta.usage
        return self._chunks(delta, logprobs) if self.job.stream else []

    def end(self) -> list[Struct]:
        return [self._chunk(usage=self._usage)] if self.job.include_usage else []

    def whole(self) -> Struct:
        choices = [self._choice(index) for index in range(self.job.num_choices)]
        return ChatCompletion(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=self._usage
        )

    @property
    def _has_logprobs(self) -> bool:
        return self.job.generation.sampling.logprobs is not None

    @property
    def _usage(self) -> Usage:
        return total_usage(self._usages, self.job.n)

    def _chunks(self, delta: Delta, logprobs: list[wire.TokenLogprob]) -> list[Struct]:
        """Thoughts, words, calls and the end, each in a chunk of its own."""
        said: list[tuple[wire.ChoiceDelta, wire.ChoiceLogprobs | UnsetType]] = []
        if delta.reasoning:
            thought = delta.reasoning
            said.append((wire.ChoiceDelta(reasoning_content=thought, reasoning=thought), UNSET))
        if delta.text or logprobs:
            shown = wire.ChoiceLogprobs(logprobs) if self._has_logprobs else UNSET
            said.append((wire.ChoiceDelta(content=delta.text), shown))
        calls = [wire.ChoiceDelta(tool_calls=[_call_delta(piece)]) for piece in delta.tool_calls]
        said += [(call, UNSET) for call in calls]
        chunks: list[Struct] = [
            self._chunk(wire.ChunkChoice(delta.index, part, shown)) for part, shown in said
        ]
        if delta.finish_reason:
            closing = wire.ChunkChoice(
                delta.index, wire.ChoiceDelta(), finish_reason=delta.finish_reason
            )
            chunks.append(self._chunk(closing))
        return chunks

    def _chunk(self, *choices: wire.ChunkChoice, usage: Usage | None = None) -> ChatChunk:
        shown: Usage | UnsetType | None = usage if self.job.include_usage else UNSET
        return ChatChunk(
            id=self.id, created=self.created, model=self.model, choices=list(choices), usage=shown
        )

    def _choice(self, index: int) -> wire.Choice:
        choice = self._choices.get(index, _Choice())
        logprobs = wire.ChoiceLogprobs(choice.logprobs) if self._has_logprobs else None
        return wire.Choice(index, choice.message(), logprobs, self._finish_reasons[index])


def _whole_call(pieces: list[ToolCallDelta]) -> wire.ReplyToolCall:
    arguments = "".join(piece.arguments for piece in pieces)
    return wire.ReplyToolCall(pieces[0].id, wire.ReplyFunction(pieces[0].name, arguments))


def _call_delta(piece: ToolCallDelta) -> wire.ToolCallDelta:
    if not piece.name:
        return wire.ToolCallDelta(piece.index, wire.FunctionDelta(piece.arguments))
    function = wire.FunctionDelta(piece.arguments, piece.name)
    return wire.ToolCallDelta(piece.index, function, piece.id, "function")
