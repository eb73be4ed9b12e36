"""What is measured, the same for both sides."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Case:
    """A phase whose tokens per second count.

    num_prompt: tokens before that phase, or, if it is the prefill, its tokens. num_new: tokens that
    each of `num_sequences` decodes. is_busy: beside one foreign process that never rests.
    """

    name: str
    phase: Literal["prefill", "decode"]
    num_prompt: int
    num_new: int
    num_sequences: int = 1
    is_busy: bool = False

    @property
    def reads_weights_once(self) -> bool:
        """Whether a token costs one reading of the weights, and memory is thus the limit."""
        return self.phase == "decode" and self.num_sequences == 1


CASES = {
    case.name: case
    for case in (
        Case("decode", "decode", 1, 64),
        Case("decode-2048", "decode", 2048, 32),
        Case("prefill", "prefill", 512, 0),
        Case("batch-16", "decode", 128, 64, num_sequences=16),
        Case("busy", "decode", 1, 64, is_busy=True),
    )
}
