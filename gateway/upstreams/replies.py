"""What an upstream streams, as the deltas that an engine would give."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from engine.api import Delta, FinishReason, ToolCallDelta, Usage
from gateway.upstreams import wire
from gateway.upstreams.events import DONE
from gateway.upstreams.failures import broken, of_event
from gateway.upstreams.logprobs import read_logprobs

_decode = msgspec.json.Decoder(wire.Chunk).decode

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""Whatever else ended it, a filter too, it has stopped."""


@dataclass(slots=True)
class _Call:
    """A call whose name is not told before it is known."""

    index: int
    id: str
    is_told: bool = False
    held: str = ""

    def add(self, piece: wire.FunctionPiece) -> ToolCallDelta | None:
        arguments = self.held + _text(piece.arguments)
        if self.is_told:
            return ToolCallDelta(self.index, arguments=arguments) if arguments else None
        if not piece.name:
            self.held = arguments
            return None
        self.is_told, self.held = True, ""
        return ToolCallDelta(self.index, self.id, piece.name, arguments)


class Choice:
    """What one choice has come to."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.num_pieces = 0
        self.finish_reason: FinishReason | None = None
        self._calls: dict[int | str, _Call] = {}
        self._last: int | str = 0

    def read(self, said: wire.ChunkChoice) -> Delta | None:
        """What is new, or None for nothing. The end itself waits for the usage."""
        if said.finish_reason:
            reason = _REASONS.get(said.finish_reason, "stop")
            self.finish_reason = "tool_calls" if self._calls and reason == "stop" else reason
        delta = said.delta or wire.ChunkDelta(content=said.text)
        text = delta.content or delta.refusal or ""
        thought = delta.reasoning_content or delta.reasoning
        reasoning = thought if isinstance(thought, str) else ""
        calls = [c for piece in delta.tool_calls or () if (c := self._call(piece))]
        logprobs = read_logprobs(said.logprobs)
        if not (text or reasoning or calls or logprobs):
            return None
        self.num_pieces += 1
        return Delta(self.index, text, reasoning, calls, logprobs=logprobs)

    def _call(self, piece: wire.CallPiece) -> ToolCallDelta | None:
        """Numbered anew: some servers begin at 1, and some say ids alone."""
        key = piece.index if piece.index is not None else piece.id or self._last
        if key not in self._calls:
            call_id = piece.id or f"call_{secrets.token_hex(12)}"
            self._calls[key] = _Call(len(self._calls), call_id)
        self._last = key
        return self._calls[key].add(piece.function or wire.FunctionPiece())


class ReplyReader:
    """Turns events into deltas. Raises `UpstreamFailure` for what is none of ours. No I/O.

    name: the upstream's, for errors.
    """

    def __init__(self, name: str, num_choices: int) -> None:
        self._name = name
        self._choices = [Choice(index) for index in range(num_choices)]
        self._usage: wire.Usage | None = None
        self.is_done = False

    def read(self, event: bytes) -> Iterator[Delta]:
        if event == DONE:
            self.is_done = True
            return
        chunk = self._decode(event)
        self._usage = chunk.usage or self._usage
        for said in chunk.choices or ():
            if not 0 <= said.index < len(self._choices):
                raise broken(self._name, f"sent a choice {said.index}, which was not asked for")
            if delta := self._choices[said.index].read(said):
                yield delta

    def end(self) -> Iterator[Delta]:
        """How every choice ended. Raises if one has not."""
        for choice in self._choices:
            if choice.finish_reason is None:
                raise broken(self._name, "ended its stream too early", "again")
        for choice in self._choices:
            usage = self._total() if choice.index == 0 else Usage(0, 0)
            yield Delta(choice.index, finish_reason=choice.finish_reason, usage=usage)

    def _decode(self, event: bytes) -> wire.Chunk:
        try:
            chunk = _decode(event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise broken(self._name, "sent an event that is no chunk of OpenAI's") from error
        if chunk.error:
            raise of_event(self._name, event)
        return chunk

    def _total(self) -> Usage:
        """Of all choices; where it says nothing each piece counts as a token."""
        usage = self._usage or wire.Usage()
        prompt = usage.prompt_tokens_details or wire.PromptDetails()
        completion = usage.completion_tokens_details or wire.CompletionDetails()
        num_pieces = sum(choice.num_pieces for choice in self._choices)
        said = usage.completion_tokens
        return Usage(
            usage.prompt_tokens or 0,
            num_pieces if said is None else said,
            prompt.cached_tokens or 0,
            completion.reasoning_tokens or 0,
            completion.accepted_prediction_tokens or 0,
            completion.rejected_prediction_tokens or 0,
        )


def _text(arguments: str | dict[str, object] | None) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()
