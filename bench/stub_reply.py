"""What the stubs answer, whichever protocol they speak: a word a token, at once or in steps.

AT_ONCE: a model whose tokens all come in the moment that it is asked. PACED: one that takes a step
of `STEP_SECONDS` for each token, all its streams in the same step, as an engine does.
"""

import asyncio
from collections.abc import Callable, Iterator

from engine.api import Delta, Run, Usage

AT_ONCE, PACED = "at-once", "paced"
STEP_SECONDS = 0.02
NUM_PROMPT = 8


def word(number: int) -> str:
    """The text of a token; no two in a row are alike, since LiteLLM cuts a model that repeats itself."""
    return " tick" if number % 2 else " tock"


def deltas(run: Run) -> Iterator[Delta]:
    """As many tokens as were asked for, each in a delta of its own."""
    num_tokens = run.generation.max_tokens
    for number in range(1, num_tokens):
        yield Delta(run.index, word(number), token_ids=[number])
    usage = Usage(NUM_PROMPT, num_tokens)
    text, ids = word(num_tokens), [num_tokens]
    yield Delta(run.index, text, token_ids=ids, finish_reason="length", usage=usage)


class Steps:
    """Writes of a token each, as the model has them. flush: called at the end of every step."""

    def __init__(self, flush: Callable[[], None] = lambda: None) -> None:
        self._flush = flush
        self._writes: list[Callable[[], bool]] = []

    def run(self, model: str, write: Callable[[], bool]) -> None:
        """write: writes a token, and says whether there are more."""
        if model == PACED:
            self._writes.append(write)
            if len(self._writes) == 1:
                self._later(asyncio.get_running_loop().time())
            return
        while write():
            pass
        self._flush()

    def _later(self, last: float) -> None:
        loop = asyncio.get_running_loop()
        due = max(last + STEP_SECONDS, loop.time())
        loop.call_at(due, self._step, due)

    def _step(self, now: float) -> None:
        self._writes = [write for write in self._writes if write()]
        self._flush()
        if self._writes:
            self._later(now)
