"""Draws a token of each row of logits: what `engine.sampling.choose` does, by many programs a row.

Rows are cut into blocks. `_summarise` finds of each block its best, its mass and, where a row is
filtered, how its mass lies in steps of the exponent; `_settle`, a program a row, has all it takes to end
rows that are greedy or not filtered. Of a filtered row it knows which steps can hold tokens that stay:
`filtering.collect` puts these side by side, and `filtering.choose`, again a program a row, finds the
exact boundaries. Nothing is sorted, no atomics are used, and no row knows of another: the same logits and
number give the same token in any batch.
"""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.triton import filtering
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.weights import DONE, STEPS, WHOLE, asked, step_of, weight_of

UNSOUND, NO_CHOICE = -1, -2
"""Instead of a token: the row has a logit that is no finite number; no token is left."""

_UNSOUND, _NO_CHOICE = tl.constexpr(UNSOUND), tl.constexpr(NO_CHOICE)

MIN_BLOCK, MAX_BLOCKS = 1024, 128
CAPACITY = 16384
"""So many tokens of a row that may stay are collected; where there are more, all the row is searched."""

CHUNK = 2048


@triton.jit
def _summarise(
    logits,
    raw,
    parameters,
    bests,
    firsts,
    sums,
    counts,
    masses,
    stride,
    raw_stride,
    vocab,
    num_blocks,
    ADJUSTED: tl.constexpr,
    FILTERS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Of a block: its best, the first place that has it, and the sum of weights beside it.

    The best is NaN where a logit of `raw` is not finite. FILTERS: and how many and how heavy its tokens
    in each step below its best are.
    """
    row = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    own = row * num_blocks + tl.program_id(0)
    inside = place < vocab
    x = tl.load(logits + row * stride + place, inside, float("-inf"))
    checked = x
    if ADJUSTED:
        checked = tl.load(raw + row * raw_stride + place, inside, 0)
    is_broken = inside & ~(tl.abs(checked) < float("inf"))
    x = tl.where(x == x, x, float("-inf"))  # noqa: PLR0124  # NaN alone is not
    best = tl.max(x)
    tl.store(firsts + own, tl.min(tl.where(x == best, place, vocab)))
    tl.store(bests + own, tl.where(tl.sum(is_broken.to(tl.int32)) > 0, float("nan"), best))
    _uniform, temperature, inverse, top_p, min_p, top_k = asked(parameters, row, vocab)
    if (temperature > 0) & (tl.abs(best) < float("inf")):
        weight = weight_of(x, best, temperature)
        tl.store(sums + own, tl.sum(weight.to(tl.float64)))
        if FILTERS:  # noqa: SIM102  # without, nothing of it is compiled
            if (top_p < 1) | (min_p > 0) | (top_k < vocab):
                step = tl.arange(0, STEPS)
                below = tl.minimum(step_of(best, inverse) - step_of(x, inverse), STEPS - 1)
                below = tl.where(inside, below, STEPS).to(tl.int32)
                is_there = step[:, None] == below[None]
                at = own * STEPS + step
                tl.store(counts + at, tl.sum(tl.where(is_there, 1.0, 0.0), axis=1).to(tl.int32))
                tl.store(masses + at, tl.sum(tl.where(is_there, weight[None], 0.0), axis=1))


@triton.jit
def _settle(
    logits,
    parameters,
    bests,
    firsts,
    sums,
    counts,
    masses,
    starts,
    totals,
    plans,
    tokens,
    stride,
    vocab,
    num_blocks,
    capacity,
    FILTERS: tl.constexpr,
    BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A row's token or outcome; of one that is filtered, how it goes on.

    totals: (S, 2) float64, the best and the mass of all. plans: (S, 2), how many tokens are collected,
    or DONE or WHOLE, and in how many steps from the best's on. starts: where each block's go.
    """
    row = tl.program_id(0).to(tl.int64)
    block = tl.arange(0, BLOCKS)
    own = row * num_blocks + block
    is_real = block < num_blocks
    of_block = tl.load(bests + own, is_real, float("-inf"))
    num_broken = tl.sum((of_block != of_block).to(tl.int32))  # noqa: PLR0124  # NaN alone is
    of_block = tl.where(of_block == of_block, of_block, float("-inf"))  # noqa: PLR0124  # likewise
    best = tl.max(of_block)
    first = tl.load(firsts + own, is_real, vocab)
    token = tl.min(tl.where(of_block == best, first, vocab)).to(tl.int64)
    uniform, temperature, inverse, top_p, min_p, top_k = asked(parameters, row, vocab)
    plan = tl.full((), DONE, tl.int32)
    if num_broken > 0:
        token = tl.full((), _UNSOUND, tl.int64)
    elif tl.abs(best) == float("inf"):
        token = tl.full((), _NO_CHOICE, tl.int64)
    elif temperature > 0:
        factor = tl.where(is_real, weight_of(of_block, best, temperature), 0.0)
        own_mass = tl.load(sums + own, is_real & (of_block > float("-inf")), 0.0)
        own_mass *= factor.to(tl.float64)
        reached = tl.cumsum(own_mass)
        total = tl.max(reached)
        is_filtered = (top_p < 1) | (min_p > 0) | (top_k < vocab)
        if is_filtered:
            if FILTERS:
                step = tl.arange(0, STEPS)
                away = step[None] - (step_of(best, inverse) - step_of(of_block, inverse))[:, None]
                known = is_real[:, None] & (away >= 0) & (away < STEPS - 1)
                at = own[:, None] * STEPS + tl.where(known, away, 0).to(tl.int32)
                count = tl.load(counts + at, known, 0)
                mass = tl.load(masses + at, known, 0.0) * factor[:, None]
                wanted = tl.where(top_k < vocab, 1e30, (top_p * 1.00001).to(tl.float64) * total)
                counted = tl.cumsum(tl.sum(count, axis=0))
                weighed = tl.cumsum(tl.sum(mass.to(tl.float64), axis=0))
                # Steps in which there are surely not enough, of the most or of the mass; and one more, as
                # logits on both sides of an edge may weigh the same.
                by_k = tl.sum(((counted < top_k) & (step < STEPS - 1)).to(tl.int32))
                by_p = tl.sum(((weighed < wanted) & (step < STEPS - 1)).to(tl.int32))
                by_floor = tl.where(
                    min_p > 0, tl.ceil(-tl.log(tl.maximum(min_p, 1e-38))) + 1, STEPS - 1
                )
                last = tl.minimum(tl.where(top_k < vocab, by_k, by_p) + 1, by_floor.to(tl.int32))
                in_block = tl.sum(tl.where(step[None] <= last, count, 0), axis=1)
                plan = tl.sum(in_block)
                plan = tl.where((last < STEPS - 1) & (plan <= capacity), plan, WHOLE)
                tl.store(starts + own, tl.cumsum(in_block) - in_block, is_real)
                tl.store(totals + row * 2, best.to(tl.float64))
                tl.store(totals + row * 2 + 1, total)
                tl.store(plans + row * 2 + 1, last)
        else:
            # the largest number below the total: behind the total itself there is nothing
            target = tl.minimum(uniform * total, total * (1 - 1.1102230246251565e-16))
            chosen = tl.min(tl.where((reached > target) & (own_mass > 0), block, BLOCKS))
            left = target - tl.sum(tl.where(block < chosen, own_mass, 0.0))
            place = chosen * BLOCK + tl.arange(0, BLOCK)
            x = tl.load(logits + row * stride + place, place < vocab, float("-inf"))
            weight = weight_of(tl.where(x == x, x, float("-inf")), best, temperature)  # noqa: PLR0124
            passes = (tl.cumsum(weight.to(tl.float64)) > left) & (weight > 0)
            last = tl.max(tl.where(weight > 0, place, 0))  # rounding may leave nothing behind
            token = tl.minimum(tl.min(tl.where(passes, place, vocab)), last).to(tl.int64)
    tl.store(tokens + row, token)
    if FILTERS:
        tl.store(plans + row * 2, plan)


def draw(
    logits: Tensor, parameters: Tensor, out: Tensor, *, filters: bool, raw: Tensor | None = None
) -> None:
    """Writes to `out` (S,) int64 a token id of each row of logits (S, vocab) float32, or an outcome.

    parameters: (S or more, SETTINGS) float64. filters: whether any row asks for top_k, top_p or min_p.
    raw: the logits as the model gave them, where `logits` were adjusted: they decide about soundness.
    """
    num_rows, vocab = logits.shape
    block = max(MIN_BLOCK, triton.next_power_of_2(ceil_div(vocab, MAX_BLOCKS)))
    blocks = ceil_div(vocab, block)
    raw = logits if raw is None else raw
    assert logits.stride(1) == raw.stride(1) == 1
    assert logits.dtype == raw.dtype == torch.float32

    def scratch(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(num_rows, *shape, dtype=dtype, device=logits.device)

    depth = STEPS.value if filters else 0
    bests, firsts = scratch(blocks, dtype=torch.float32), scratch(blocks, dtype=torch.int32)
    sums = scratch(blocks, dtype=torch.float64)
    counts = scratch(blocks, depth, dtype=torch.int32)
    masses = scratch(blocks, depth, dtype=torch.float32)
    starts, plans = scratch(blocks, dtype=torch.int32), scratch(2, dtype=torch.int32)
    totals = scratch(2, dtype=torch.float64)
    strides = (logits.stride(0), raw.stride(0))
    found = (bests, firsts, sums, counts, masses)
    _summarise[(blocks, num_rows)](
        logits,
        raw,
        parameters,
        *found,
        *strides,
        vocab,
        blocks,
        ADJUSTED=raw is not logits,
        FILTERS=filters,
        BLOCK=block,
        num_warps=max(1, block // (128 if filters else 256)),
    )
    _settle[(num_rows,)](
        logits,
        parameters,
        *found,
        starts,
        totals,
        plans,
        out,
        strides[0],
        vocab,
        blocks,
        CAPACITY,
        FILTERS=filters,
        BLOCKS=triton.next_power_of_2(blocks),
        BLOCK=block,
        num_warps=8,
    )
    if not filters:
        return
    values, ids = (scratch(CAPACITY, dtype=dtype) for dtype in (torch.float32, torch.int32))
    filtering.collect[(blocks, num_rows)](
        logits,
        parameters,
        starts,
        totals,
        plans,
        values,
        ids,
        strides[0],
        vocab,
        blocks,
        CAPACITY,
        BLOCK=block,
    )
    filtering.choose[(num_rows,)](
        logits,
        parameters,
        totals,
        plans,
        values,
        ids,
        out,
        strides[0],
        vocab,
        CAPACITY,
        CHUNK=CHUNK,
        num_warps=8,
    )
