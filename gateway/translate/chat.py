"""Chat completions: the request to a `Job`, the deltas to chunks or a whole reply."""

from collections import defaultdict
from dataclasses import dataclass, field

from msgspec import UNSET, Struct, UnsetType

from engine.api import ChatPrompt, Delta, ModelCard, TokenLogprob
from engine.api import Usage as EngineUsage
from gateway.errors import InvalidRequest, NoChatTemplate, Unsupported
from gateway.openai import chat as wire
from gateway.openai.chat import ChatChunk, ChatCompletion, ChatRequest
from gateway.openai.usage import Usage
from gateway.translate.job import Job
from gateway.translate.messages import read_messages
from gateway.translate.reply import finite, new_id, now
from gateway.translate.sampling import (
    UNSUPPORTED,
    read_generation,
    read_include_usage,
    read_keep_alive,
    read_n,
    refuse_unsupported,
)
from gateway.translate.template_kwargs import read_template_kwargs
from gateway.translate.tools import read_tools
from gateway.translate.usage import total_usage

_REFUSED = (
    *UNSUPPORTED,
    "functions",
    "function_call",
    "audio",
    "web_search_options",
    "continue_final_message",
)


def read_chat(request: ChatRequest, card: ModelCard, max_choices: int) -> Job:
    """Raises `InvalidRequest` naming the field at fault."""
    refuse_unsupported(request, _REFUSED)
    if request.response_format and request.response_format.type != "text":
        raise Unsupported("response_format: only text is supported yet.", "response_format.type")
    if request.modalities not in (None, ["text"]):
        raise Unsupported("modalities: only text is supported.", "modalities")
    if "chat" not in card.tasks:
        raise NoChatTemplate(
            "This model has no chat template: it completes only. Use /v1/completions.", "model"
        )
    prompt = ChatPrompt(
        read_messages(request.messages),
        tools=read_tools(request),
        template_kwargs=read_template_kwargs(request),
        add_generation_prompt=request.add_generation_prompt is not False,
    )
    return Job(
        prompts=(prompt,),
        generation=read_generation(request, card, logprobs=_read_logprobs(request)),
        prompt_param="messages",
        n=read_n(request, max_choices),
        max_tokens=request.max_completion_tokens or request.max_tokens,
        stream=request.stream or False,
        include_usage=read_include_usage(request),
        keep_alive=read_keep_alive(request.keep_alive),
    )


def _read_logprobs(request: ChatRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs:
        raise InvalidRequest("top_logprobs: only with logprobs", "top_logprobs")
    return None


@dataclass(slots=True)
class ChatReply:
    """`translate.reply.Reply` for one chat completion."""

    model: str
    job: Job
    id: str = field(default_factory=lambda: new_id("chatcmpl"))
    created: int = field(default_factory=now)
    _texts: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    _logprobs: dict[int, list[wire.TokenLogprob]] = field(default_factory=lambda: defaultdict(list))
    _finish_reasons: dict[int, str] = field(default_factory=dict)
    _usages: dict[int, EngineUsage] = field(default_factory=dict)

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = total_usage(self._usages, self.job.n)
        return usage.prompt_tokens, usage.completion_tokens

    def begin(self) -> list[Struct]:
        # all roles first: SDKs index choices by their place and want them to appear in order
        opening = wire.ChoiceDelta(role="assistant", content="")
        return [self._chunk(wire.ChunkChoice(n, opening)) for n in range(self.job.num_choices)]

    def add(self, delta: Delta) -> list[Struct]:
        logprobs = [_logprob(token) for token in delta.logprobs] if self._has_logprobs else []
        if not self.job.stream:
            self._texts[delta.index].append(delta.text)
            self._logprobs[delta.index] += logprobs
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
        chunks: list[Struct] = []
        if delta.text or logprobs:
            said = wire.ChoiceDelta(content=delta.text)
            shown = wire.ChoiceLogprobs(logprobs) if self._has_logprobs else UNSET
            chunks.append(self._chunk(wire.ChunkChoice(delta.index, said, shown)))
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
        logprobs = wire.ChoiceLogprobs(self._logprobs[index]) if self._has_logprobs else None
        message = wire.ReplyMessage("".join(self._texts[index]))
        return wire.Choice(index, message, logprobs, self._finish_reasons[index])


def _logprob(token: TokenLogprob) -> wire.TokenLogprob:
    top = [wire.TopLogprob(t.text, finite(t.logprob), list(t.raw), t.token_id) for t in token.top]
    # only a prompt's first token has none, and chat replies hold no prompt tokens
    logprob = finite(token.logprob or 0.0)
    return wire.TokenLogprob(token.text, logprob, list(token.raw), token.token_id, top)
