"""A request in the engine's words, before and after its prompts are tokenized."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from engine.api import (
    ChatPrompt,
    FillPrompt,
    Generation,
    PairPrompt,
    Prepared,
    Prompt,
    Run,
    TextPrompt,
)
from gateway.errors import ContextLengthExceeded, InvalidRequest

CHARACTERS_PER_TOKEN = 16
"""More than any text has on average, however well its words are known."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request wants its answer told, where there is more than one way.

    calls_function: its call as a `function_call`. hides_reasoning: thoughts are made, and not told.
    has_timings: with how long it took. service_tier: said back; None leaves it out. num_kept: so many
    of each prompt's choices are told, the best; None for all. hides_logprobs: they only help to choose.
    """

    calls_function: bool = False
    hides_reasoning: bool = False
    has_timings: bool = False
    service_tier: str | None = None
    num_kept: int | None = None
    hides_logprobs: bool = False


PLAIN = Manner()


@dataclass(frozen=True, slots=True)
class Job:
    """What a request asks for. Its choices are prompt-major: index = prompt * n + j.

    generation.max_tokens is not used: `max_tokens` is, where None means the rest of the window.
    prompt_param, grammar_param: the request's fields that hold them, for errors. keep_alive: seconds that the
    model stays after the request; None leaves it to the model's own. clamps: `max_tokens` that the
    window has no room for are cut, as APIs do whose clients always ask for a great many.
    num_prompt_tokens: of all prompts, once they are prepared.
    """

    prompts: tuple[Prompt, ...]
    generation: Generation
    prompt_param: str
    n: int = 1
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    keep_alive: float | None = None
    clamps: bool = False
    num_prompt_tokens: int = 0
    grammar_param: str | None = None
    manner: Manner = PLAIN

    @property
    def num_choices(self) -> int:
        return len(self.prompts) * self.n

    def refuse_hopeless(self, context_length: int) -> None:
        """Raises for prompts that cannot fit, before minutes are spent on tokenizing them."""
        for prompt in self.prompts:
            least = least_tokens(prompt)
            if least > context_length and self.clamps:
                raise self._too_long(f"at least {least}", context_length)
            if least > context_length:
                raise ContextLengthExceeded(
                    f"This model's context length is {context_length} tokens; the prompt is far "
                    f"longer.",
                    self.prompt_param,
                )

    def measured(self, prepared: Sequence[Prepared]) -> "Job":
        """The same, knowing how long its prompts are."""
        return replace(self, num_prompt_tokens=sum(len(p.token_ids) for p in prepared))

    def runs(self, prepared: Sequence[Prepared], context_length: int) -> list[Run]:
        """One run per choice. Raises if a prompt and its completion do not fit the context."""
        return [
            Run(place * self.n + j, prompt.ticket, self._generation(prompt, context_length, j))
            for place, prompt in enumerate(prepared)
            for j in range(self.n)
        ]

    def _generation(self, prompt: Prepared, context_length: int, j: int) -> Generation:
        sampling = self.generation.sampling
        if sampling.seed is not None and j:
            # each choice draws on its own, the same way every time
            seed = (sampling.seed + j + 2**63) % 2**64 - 2**63
            sampling = msgspec.structs.replace(sampling, seed=seed)
        max_tokens = self._max_tokens(len(prompt.token_ids), context_length)
        return msgspec.structs.replace(self.generation, sampling=sampling, max_tokens=max_tokens)

    def _max_tokens(self, num_prompt_tokens: int, context_length: int) -> int:
        if not num_prompt_tokens:
            raise InvalidRequest("The prompt is empty.", self.prompt_param)
        room = context_length - num_prompt_tokens
        least = 1 if self.max_tokens is None or self.clamps else self.max_tokens
        if room < least and self.clamps:
            raise self._too_long(f"{num_prompt_tokens}", context_length)
        if room < least:
            raise ContextLengthExceeded(
                f"This model's context length is {context_length} tokens, but {num_prompt_tokens} "
                f"of the prompt and {least} of the completion were requested.",
                self.prompt_param,
            )
        max_tokens = room if self.max_tokens is None else min(self.max_tokens, room)
        if self.generation.min_tokens > max_tokens:
            raise InvalidRequest(f"min_tokens is more than the {max_tokens} possible", "min_tokens")
        return max_tokens

    def _too_long(self, num_tokens: str, context_length: int) -> ContextLengthExceeded:
        # Claude Code looks for these words, and makes its conversation shorter
        message = f"prompt is too long: {num_tokens} tokens > {context_length - 1} maximum"
        return ContextLengthExceeded(message, self.prompt_param)


def least_tokens(prompt: Prompt) -> int:
    """That a prompt is going to have, without tokenizing it."""
    match prompt:
        case ChatPrompt(messages):
            return sum(len(m["content"]) for m in messages) // CHARACTERS_PER_TOKEN
        case TextPrompt(text):
            return len(text) // CHARACTERS_PER_TOKEN
        case PairPrompt(first, second):
            return (len(first) + len(second)) // CHARACTERS_PER_TOKEN
        case FillPrompt(prefix, suffix, snippets):
            texts = [prefix, suffix, *(snippet.text for snippet in snippets)]
            return sum(map(len, texts)) // CHARACTERS_PER_TOKEN
        case _:
            return len(prompt.token_ids)
