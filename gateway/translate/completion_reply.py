"""Plain completions: the deltas to chunks or a whole reply."""

from collections import defaultdict
from dataclasses import dataclass, field

from msgspec import UNSET, Struct, UnsetType

from engine.api import Delta, TokenLogprob
from engine.api import Usage as EngineUsage
from gateway.llamacpp.timings import Timings
from gateway.openai.completion import Completion, CompletionChoice, Logprobs
from gateway.openai.usage import Usage
from gateway.translate.best import Best
from gateway.translate.job import Job
from gateway.translate.logprobs import LogprobsWriter
from gateway.translate.reply import new_id, now
from gateway.translate.timings import Stopwatch
from gateway.translate.usage import total_usage


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
    _stopwatch: Stopwatch = field(default_factory=Stopwatch)
    _best: Best = field(default_factory=Best)

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = total_usage(self._usages, self.job.n)
        return usage.prompt_tokens, usage.completion_tokens

    def begin(self) -> list[Struct]:
        return []

    def add(self, delta: Delta) -> list[Struct]:
        if self.job.manner.has_timings:
            self._stopwatch.note(delta)
        if delta.finish_reason:
            self._finish_reasons[delta.index] = delta.finish_reason
        if delta.usage:
            self._usages[delta.index] = delta.usage
        if self.job.manner.num_kept is not None:
            self._best.note(delta)
        if self.job.stream:
            return self._chunks(delta)
        self._texts[delta.index].append(delta.text)
        self._tokens[delta.index] += delta.logprobs
        return []

    def end(self) -> list[Struct]:
        return [self._reply([], self._usage)] if self.job.include_usage else []

    def whole(self) -> Struct:
        choices = [self._choice(made, place) for place, made in enumerate(self._kept())]
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

    def _kept(self) -> list[int]:
        num_kept = self.job.manner.num_kept
        if num_kept is None:
            return list(range(self.job.num_choices))
        return self._best.kept(len(self.job.prompts), self.job.n, num_kept)

    def _choice(self, made: int, place: int) -> CompletionChoice:
        """made: its index among all that were made. place: among those that are told."""
        text = "".join(self._texts[made])
        logprobs = self._logprobs(made, self._tokens[made], text)
        return CompletionChoice(place, text, logprobs, self._finish_reasons[made])

    def _logprobs(self, index: int, tokens: list[TokenLogprob], text: str) -> Logprobs | None:
        num_top = self.job.generation.sampling.logprobs
        if num_top is None or self.job.manner.hides_logprobs:
            return None
        writer = self._writers.setdefault(index, LogprobsWriter(num_top))
        return writer.write(tokens, text)

    def _reply(
        self, choices: list[CompletionChoice], usage: Usage | UnsetType | None
    ) -> Completion:
        return Completion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=choices,
            usage=usage,
            timings=self._timings,
        )

    @property
    def _timings(self) -> Timings | UnsetType:
        if not self.job.manner.has_timings:
            return UNSET
        return self._stopwatch.read(self.job.num_prompt_tokens, self._usages)
