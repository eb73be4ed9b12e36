"""Plain completions: the request to a `Job`, the deltas to chunks or a whole reply."""

from collections import defaultdict
from dataclasses import dataclass, field

from msgspec import UNSET, Struct, UnsetType

from engine.api import Delta, ModelCard, Prompt, TextPrompt, TokenLogprob, TokenPrompt
from engine.api import Usage as EngineUsage
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.completion import Completion, CompletionChoice, CompletionRequest, Logprobs
from gateway.openai.usage import Usage
from gateway.translate.formats import read_grammar
from gateway.translate.job import Job
from gateway.translate.logprobs import LogprobsWriter
from gateway.translate.reply import new_id, now
from gateway.translate.sampling import (
    check_token_ids,
    read_generation,
    read_include_usage,
    read_keep_alive,
    read_n,
)
from gateway.translate.usage import total_usage
from gateway.translate.vectors import require_task

DEFAULT_MAX_TOKENS = 16


def read_completion(
    request: CompletionRequest, card: ModelCard, max_choices: int, max_prompts: int
) -> Job:
    """Raises `InvalidRequest` naming the field at fault."""
    require_task(card, "completion")
    if request.suffix:
        raise Unsupported("suffix: this model cannot fill in the middle.", "suffix")
    n = read_n(request, max_choices)
    if (request.best_of or n) != n:
        raise Unsupported("best_of: only as many as n are supported.", "best_of")
    echo = request.echo or False
    max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    if not max_tokens and not echo:
        raise InvalidRequest("max_tokens: 0 only with echo", "max_tokens")
    return Job(
        prompts=tuple(_read_prompts(request, card, max_prompts)),
        generation=read_generation(
            request,
            card,
            logprobs=request.logprobs,
            prompt_logprobs=echo and request.logprobs is not None,
            echo=echo,
        ),
        prompt_param="prompt",
        grammar_param=read_grammar(request)[1],
        n=n,
        max_tokens=max_tokens,
        stream=request.stream or False,
        include_usage=read_include_usage(request),
        keep_alive=read_keep_alive(request.keep_alive),
    )


def _read_prompts(request: CompletionRequest, card: ModelCard, max_prompts: int) -> list[Prompt]:
    prompt = request.prompt
    if prompt is None:
        return [TextPrompt("")]
    if isinstance(prompt, str):
        return [TextPrompt(prompt)]
    if not prompt:
        raise InvalidRequest("prompt: an empty list", "prompt")
    texts = [item for item in prompt if isinstance(item, str)]
    ids = [item for item in prompt if isinstance(item, int)]
    lists = [item for item in prompt if isinstance(item, list)]
    if len(prompt) not in (len(texts), len(ids), len(lists)):
        raise InvalidRequest("prompt: texts, token ids and lists of them do not mix", "prompt")
    if max(len(texts), len(lists)) > max_prompts:
        raise InvalidRequest(f"prompt: at most {max_prompts} prompts in a request", "prompt")
    if texts:
        return [TextPrompt(text) for text in texts]
    return [_token_prompt(item, card) for item in lists or [ids]]


def _token_prompt(ids: list[int], card: ModelCard) -> TokenPrompt:
    check_token_ids(ids, card, "prompt")
    return TokenPrompt(ids)


@dataclass(slots=True)
class CompletionReply:
    """`translate.reply.Reply` for one completion request."""

    model: str
    job: Job
    id: str = field(default_factory=lambda: new_id("cmpl"))
    created: int = field(default_factory=now)
    _texts: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    _tokens: dict[int, list[TokenLogprob]] = field(default_factory=lambda: defaultdict(list))
    _writers: dict[int, LogprobsWriter] = field(default_factory=dict)
    _finish_reasons: dict[int, str] = field(default_factory=dict)
    _usages: dict[int, EngineUsage] = field(default_factory=dict)

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = total_usage(self._usages, self.job.n)
        return usage.prompt_tokens, usage.completion_tokens

    def begin(self) -> list[Struct]:
        return []

    def add(self, delta: Delta) -> list[Struct]:
        if delta.finish_reason:
            self._finish_reasons[delta.index] = delta.finish_reason
        if delta.usage:
            self._usages[delta.index] = delta.usage
        if self.job.stream:
            return self._chunks(delta)
        self._texts[delta.index].append(delta.text)
        self._tokens[delta.index] += delta.logprobs
        return []

    def end(self) -> list[Struct]:
        return [self._reply([], self._usage)] if self.job.include_usage else []

    def whole(self) -> Struct:
        choices = [self._choice(index) for index in range(self.job.num_choices)]
        return self._reply(choices, self._usage)

    @property
    def _usage(self) -> Usage:
        return total_usage(self._usages, self.job.n)

    def _chunks(self, delta: Delta) -> list[Struct]:
        if not (delta.text or delta.logprobs or delta.finish_reason):
            return []
        logprobs = self._logprobs(delta.index, delta.logprobs, delta.text)
        choice = CompletionChoice(delta.index, delta.text, logprobs, delta.finish_reason)
        return [self._reply([choice], None if self.job.include_usage else UNSET)]

    def _choice(self, index: int) -> CompletionChoice:
        text = "".join(self._texts[index])
        logprobs = self._logprobs(index, self._tokens[index], text)
        return CompletionChoice(index, text, logprobs, self._finish_reasons[index])

    def _logprobs(self, index: int, tokens: list[TokenLogprob], text: str) -> Logprobs | None:
        num_top = self.job.generation.sampling.logprobs
        if num_top is None:
            return None
        writer = self._writers.setdefault(index, LogprobsWriter(num_top))
        return writer.write(tokens, text)

    def _reply(
        self, choices: list[CompletionChoice], usage: Usage | UnsetType | None
    ) -> Completion:
        return Completion(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=usage
        )
