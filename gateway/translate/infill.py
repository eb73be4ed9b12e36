"""llama.cpp's `/infill`: the request to a `Job`, and the deltas to pieces or one answer."""

from dataclasses import dataclass, field, replace

import msgspec
from msgspec import Struct

from engine.api import Delta, FillPrompt, Snippet
from engine.api import Usage as EngineUsage
from gateway.catalog.models import KnownModel
from gateway.llamacpp.infill import InfillAnswer, InfillRequest
from gateway.openai.completion import CompletionRequest
from gateway.translate.completion import read_completion, require_fill
from gateway.translate.job import Job
from gateway.translate.presets import preset_completion
from gateway.translate.timings import Stopwatch

_OWN = ("input_prefix", "input_suffix", "prompt", "input_extra", "model", "n_predict", "seed")


def read_infill(request: InfillRequest, model: KnownModel) -> Job:
    """Raises `InvalidRequest`. What there is no room for is not made, as llama.cpp does it."""
    require_fill(model.card, "model")
    fields = msgspec.structs.asdict(request)
    same = {name: value for name, value in fields.items() if name not in _OWN}
    seed = request.seed if (request.seed or 0) >= 0 else None
    asked = msgspec.convert(same | {"model": model.id, "seed": seed}, CompletionRequest)
    job = read_completion(preset_completion(asked, model.defaults), model.card, 1, 1)
    return replace(
        job,
        prompts=(_prompt(request),),
        prompt_param="input_prefix",
        max_tokens=None if request.n_predict in (None, -1) else request.n_predict,
        clamps=True,
    )


def _prompt(request: InfillRequest) -> FillPrompt:
    snippets = [Snippet(extra.text, extra.filename) for extra in request.input_extra or ()]
    return FillPrompt(request.input_prefix + request.prompt, request.input_suffix, snippets)


@dataclass(slots=True)
class InfillReply:
    """`translate.reply.Reply` for one filling."""

    model: str
    job: Job
    _texts: list[str] = field(default_factory=list)
    _token_ids: list[int] = field(default_factory=list)
    _last: Delta | None = None
    _stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def num_tokens(self) -> tuple[int, int]:
        return self._usage.prompt_tokens, self._usage.completion_tokens

    def begin(self) -> list[Struct]:
        return []

    def add(self, delta: Delta) -> list[Struct]:
        self._stopwatch.note(delta)
        if delta.finish_reason:
            self._last = delta
        if self.job.stream:
            shown = InfillAnswer(content=delta.text, stop=False, tokens=delta.token_ids)
            return [shown] if delta.text or delta.token_ids else []
        self._texts.append(delta.text)
        self._token_ids += delta.token_ids
        return []

    def end(self) -> list[Struct]:
        return [self._final("", [])]

    def whole(self) -> Struct:
        return self._final("".join(self._texts), self._token_ids)

    @property
    def _usage(self) -> EngineUsage:
        known = self._last.usage if self._last else None
        return known or EngineUsage(self.job.num_prompt_tokens, 0)

    def _final(self, content: str, token_ids: list[int]) -> InfillAnswer:
        usage = self._usage
        word = self._last.stop_string if self._last else None
        is_cut = self._last is not None and self._last.finish_reason == "length"
        return InfillAnswer(
            content=content,
            stop=True,
            tokens=token_ids,
            model=self.model,
            tokens_predicted=usage.completion_tokens,
            tokens_evaluated=usage.prompt_tokens,
            tokens_cached=usage.cached_tokens,
            stop_type="limit" if is_cut else "word" if word else "eos",
            stopping_word=word or "",
            truncated=False,
            timings=self._stopwatch.read(usage.prompt_tokens, {0: usage}),
        )
