"""The text side of a sequence that is embedded or scored: there is no text."""

from dataclasses import dataclass

from engine.api import Delta, Usage
from engine.wire import Output


@dataclass(frozen=True, slots=True)
class VectorWriter:
    """Makes the one delta of such a sequence. index: its place in what was asked."""

    index: int
    num_tokens: int

    def write(self, output: Output) -> tuple[Delta | None, bool]:
        """The delta, once its vector is there, and that the worker need not be told to stop."""
        if output.failure:
            return Delta(self.index, failure=output.failure), False
        if output.finish_reason is None:
            return None, False
        usage = Usage(self.num_tokens, 0, output.cached_tokens)
        return Delta(self.index, vector=output.vector, finish_reason="stop", usage=usage), False
