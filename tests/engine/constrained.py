"""A real tiny model that follows grammars: the text side and the worker's side in one thread.

It knows nothing, so what it says is valid if and only if decoding is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from engine.api import Delta, Generation, Run, Usage
from engine.checkpoint import open_checkpoint
from engine.core.admission import sequence_of
from engine.core.opening import open_resident
from engine.core.pacing import ALONE_SECONDS
from engine.core.resident import Resident
from engine.core.sequence import Sequence
from engine.sampling.vocabularies import Vocabularies
from engine.text.chat_format import ChatFormat
from engine.text.constraints import constrain, is_constrained
from engine.text.generations import Generations
from engine.text.prompts import PreparedPrompt
from engine.text.store import load_tokenizer
from engine.text.tokenizer import Tokenizer
from engine.text.writer import Writer
from engine.wire import Output

PATH = Path(__file__).parents[1] / "fixtures/llama-plain/llama-plain-F32.gguf"
PROMPT = [5, 6, 7]

Asked = tuple[ChatFormat | None, Generation]


@dataclass
class Answer:
    """What came of a generation. calls: names and arguments."""

    text: str = ""
    thought: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = None
    usage: Usage | None = None


class ConstrainedModel:
    """tokenizer: in place of the checkpoint's own."""

    def __init__(
        self, folder: Path, kv_tokens: int = 4096, tokenizer: Tokenizer | None = None
    ) -> None:
        self.tokenizer = tokenizer or own_tokenizer(folder)
        self.resident, _ = open_resident(PATH, "dense", torch.float32, kv_tokens)
        self._vocabularies = Vocabularies()

    def say(self, *asked: Generation) -> list[tuple[str, str | None]]:
        """The texts and finish reasons of generations that run together."""
        answers = self.answer(*((None, generation) for generation in asked))
        return [(answer.text, answer.reason) for answer in answers]

    def answer(self, *asked: Asked) -> list[Answer]:
        """What each says, put together from its deltas; at once it would have been the same."""
        generations = Generations()
        runs = [Run(index, 0, generation) for index, (_, generation) in enumerate(asked)]
        prompts = [self._prompt(chat) for chat, _ in asked]
        for run, prompt in zip(runs, prompts, strict=True):
            self.resident.scheduler.add(self._sequence(run, prompt, generations))
        answers = [Answer() for _ in asked]
        outputs: dict[int, list[Output]] = {}
        try:
            for output in _outputs(self.resident):
                outputs.setdefault(output.sequence, []).append(output)
                for _, delta in generations.step([output])[0]:
                    _add(answers[delta.index], delta)
        finally:  # what failed leaves nothing for the next
            for sequence in list(self.resident.scheduler):
                self.resident.scheduler.remove(sequence)
        for (_, found), run, prompt, answer in zip(
            sorted(outputs.items()), runs, prompts, answers, strict=True
        ):
            at_once = _at_once(found, run, prompt)
            assert at_once == answer, (at_once, answer)
        return answers

    def _prompt(self, chat: ChatFormat | None) -> PreparedPrompt:
        vocab_size = self.resident.vocab_size
        return PreparedPrompt(self.tokenizer, PROMPT, chat=chat, vocab_size=vocab_size)

    def _sequence(self, run: Run, prompt: PreparedPrompt, generations: Generations) -> Sequence:
        grammar = constraint = None
        if is_constrained(prompt, run.generation):
            grammar, vocabulary = constrain(prompt, run.generation)
            constraint = self._vocabularies.constraint(grammar, vocabulary)
        start = generations.start(1, 1, run, prompt, grammar)
        return sequence_of(start, None, self.resident.vocab_size, constraint)


def own_tokenizer(folder: Path) -> Tokenizer:
    with open_checkpoint(PATH) as checkpoint:
        return load_tokenizer(checkpoint, folder)


def _outputs(resident: Resident) -> Iterator[Output]:
    while not resident.is_idle:
        yield from (output for _, output in resident.step(ALONE_SECONDS))
    resident.scheduler.check()


def _at_once(outputs: list[Output], run: Run, prompt: PreparedPrompt) -> Answer:
    whole = Output(
        sequence=outputs[0].sequence,
        token_ids=[token for output in outputs for token in output.token_ids],
        logprobs=[logprob for output in outputs for logprob in output.logprobs],
        prompt_logprobs=[],
        finish_reason=outputs[-1].finish_reason,
        cached_tokens=outputs[-1].cached_tokens,
    )
    answer = Answer()
    delta, _ = Writer(prompt, run).write(whole)
    assert delta is not None
    _add(answer, delta)
    return answer


def _add(answer: Answer, delta: Delta) -> None:
    assert delta.failure is None, delta.failure
    answer.text += delta.text
    answer.thought += delta.reasoning
    for call in delta.tool_calls:
        if call.name:
            answer.calls.append((call.name, ""))
        name, arguments = answer.calls.pop()
        answer.calls.append((name, arguments + call.arguments))
    answer.reason = delta.finish_reason or answer.reason
    answer.usage = delta.usage or answer.usage
