"""The tokens that a device has drawn, put where the next batch reads them."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.triton.base import ceil_div

_BLOCK = 1024


@triton.jit(do_not_specialize=["num_rows"])
def drawn_kernel(token_ids, drawn, out, num_rows, BLOCK: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ids = tl.load(token_ids + rows, mask=rows < num_rows, other=0)
    found = tl.load(drawn + tl.maximum(-1 - ids, 0), mask=(rows < num_rows) & (ids < 0), other=0)
    tl.store(out + rows, tl.where(ids < 0, tl.maximum(found, 0), ids), mask=rows < num_rows)


def drawn_ids(token_ids: Tensor, drawn: Tensor) -> Tensor:
    """As `engine.kernels.reference_fused.drawn_ids`, in one launch."""
    out = torch.empty_like(token_ids)
    num_rows = len(token_ids)
    drawn_kernel[(ceil_div(num_rows, _BLOCK),)](token_ids, drawn, out, num_rows, BLOCK=_BLOCK)
    return out


KERNELS = {"drawn_ids": drawn_ids}
