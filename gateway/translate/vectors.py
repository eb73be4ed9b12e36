"""Requests whose answer is numbers, in the engine's words."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from engine.api import ModelCard, Prepared, Prompt, Task, TextPrompt, TokenPrompt
from gateway.errors import ContextLengthExceeded, InvalidRequest, Unsupported
from gateway.translate.job import least_tokens

MAX_TOKENS = 300_000
"""Of all inputs of a request together, as OpenAI has it."""

WriteReply = Callable[[str, int, list[bytes]], Struct]
"""The reply of a model's id, the number of tokens that were read, and vectors in order."""


@dataclass(frozen=True, slots=True)
class VectorJob:
    """What a request asks for. param: its field that the prompts come from, for errors.

    keep_alive: as of `translate.job.Job`. max_tokens: longer prompts are cut to so many, and to what
    the model reads; None refuses them.
    """

    prompts: tuple[Prompt, ...]
    param: str
    write: WriteReply
    keep_alive: float | None = None
    max_tokens: int | None = None

    def fitted(self, context_length: int) -> tuple[Prompt, ...]:
        """The prompts, cut where that was asked for."""
        if self.max_tokens is None:
            return self.prompts
        limit = min(self.max_tokens, context_length)
        return tuple(_cut(prompt, limit) for prompt in self.prompts)

    def refuse_hopeless(self, context_length: int) -> None:
        """Raises for inputs that cannot fit, before minutes are spent on tokenizing them."""
        if self.max_tokens is not None:
            return
        for index, prompt in enumerate(self.prompts):
            self._check_length(index, least_tokens(prompt), context_length, "at least ")

    def check(self, prepared: Sequence[Prepared], context_length: int) -> None:
        """Raises for an input that the model cannot read whole, and for too many tokens in all."""
        for index, each in enumerate(prepared):
            self._check_length(index, len(each.token_ids), context_length)
        total = num_tokens(prepared)
        if total > MAX_TOKENS:
            message = f"{self.param}: {total} tokens in all, limit {MAX_TOKENS}"
            raise InvalidRequest(message, self.param)

    def _check_length(self, index: int, count: int, context_length: int, about: str = "") -> None:
        if count > context_length:
            raise ContextLengthExceeded(
                f"{self.param}[{index}]: {about}{count} tokens; this model reads {context_length} "
                f"at most, those that it adds itself included.",
                self.param,
            )


def _cut(prompt: Prompt, max_tokens: int) -> Prompt:
    match prompt:
        case TextPrompt():
            return replace(prompt, max_tokens=max_tokens)
        case TokenPrompt():
            return replace(prompt, token_ids=prompt.token_ids[:max_tokens])
    return prompt


def num_tokens(prepared: Sequence[Prepared]) -> int:
    return sum(len(each.token_ids) for each in prepared)


def require_task(card: ModelCard, task: Task) -> None:
    """Raises for a model that is for something else."""
    if task not in card.tasks:
        tasks = ", ".join(card.tasks)
        raise Unsupported(f"The model is for {tasks}, and not for {task}.", "model")


def values_of(vector: bytes) -> list[float]:
    """Of what `Engine.embed` gives."""
    return array("f", vector).tolist()
