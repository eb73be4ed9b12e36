from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.quant.format import Format, ggml_format

# No op of a piece is large enough for torch to spread it over threads, which then meet at a barrier
# after every op: beside one other busy process that was measured to run at a twentieth of this
# speed. A pass also finds the last one's result in the cache. Taking blocks apart is many small
# ops, on an eighth of the elements or fewer, so more blocks go through it at a time.
_VALUES_WRITTEN_AT_A_TIME = 2**15
_VALUES_TAKEN_AT_A_TIME = 2**16


@dataclass(frozen=True, slots=True)
class Codes:
    """n blocks taken apart: value = (code - zero) * scale + minimum, float32, in this order.

    codes: (n, block_size) uint8 or int8. scales, minima: (n, groups) float32, one for each run of
    block_size / groups values. steps: where given, a code stands for the value at its place there.
    """

    codes: Tensor
    scales: Tensor
    minima: Tensor | None = None
    zero: int = 0
    steps: Tensor | None = None

    def write(self, values: Tensor) -> None:
        """values: (n, block_size) of any type."""
        num_blocks, block_size = values.shape
        step = _VALUES_WRITTEN_AT_A_TIME // block_size
        for start in range(0, num_blocks, step):
            piece = slice(start, start + step)
            target = values[piece]
            if target.dtype == torch.float32:
                self._write(piece, target)
                continue
            exact = torch.empty(target.shape, dtype=torch.float32, device=target.device)
            self._write(piece, exact)
            target.copy_(exact)

    def _write(self, piece: slice, values: Tensor) -> None:
        codes = self.codes[piece]
        if self.steps is None:
            values.copy_(codes)
        else:
            torch.index_select(self.steps, 0, codes.int().view(-1), out=values.view(-1))
        if self.zero:
            values.sub_(self.zero)
        scales = self.scales[piece].unsqueeze(2)
        groups = values.view(*scales.shape[:2], -1).mul_(scales)
        if self.minima is not None:
            groups.add_(self.minima[piece].unsqueeze(2))


def coded_format(name: str, take_apart: Callable[[Tensor], Codes]) -> Format:
    """A format of GGML's whose blocks, (n, block_bytes) uint8, `take_apart` splits into codes."""

    def unpack_blocks(blocks: Tensor, values: Tensor) -> None:
        step = _VALUES_TAKEN_AT_A_TIME // values.shape[1]
        for start in range(0, len(blocks), step):
            piece = slice(start, start + step)
            take_apart(blocks[piece]).write(values[piece])

    return ggml_format(name, unpack_blocks)
