"""Draws from rows of logits of which top_k, top_p and min_p leave a part: the second half of `sampling`.

What may stay is collected, and the boundaries are found by bisection over the bits of weights, whose
order is that of the weights.
"""

import triton
from triton import language as tl

from engine.kernels.triton.weights import DONE, WHOLE, asked, step_of

PIVOTS = tl.constexpr(4)
HEAVIEST = tl.constexpr(0x3F800000)  # the bits of 1, what the best token weighs


@triton.jit
def collect(
    logits,
    parameters,
    starts,
    totals,
    plans,
    values,
    ids,
    stride,
    vocab,
    num_blocks,
    capacity,
    BLOCK: tl.constexpr,
):
    """Puts a block's tokens that may stay where its row collects them, in order."""
    row = tl.program_id(1).to(tl.int64)
    if tl.load(plans + row * 2) > 0:
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(logits + row * stride + place, place < vocab, float("-inf"))
        x = tl.where(x == x, x, float("-inf"))  # noqa: PLR0124  # as in _summarise
        _uniform, _temperature, inverse, _top_p, _min_p, _top_k = asked(parameters, row, vocab)
        best = tl.load(totals + row * 2).to(tl.float32)
        below = step_of(best, inverse) - step_of(x, inverse)
        stays = (place < vocab) & (below <= tl.load(plans + row * 2 + 1).to(tl.float32))
        start = tl.load(starts + row * num_blocks + tl.program_id(0))
        at = row * capacity + start + tl.cumsum(stays.to(tl.int32)) - 1
        tl.store(values + at, x, stays)
        tl.store(ids + at, place, stays)


@triton.jit
def choose(
    logits,
    parameters,
    totals,
    plans,
    values,
    ids,
    tokens,
    stride,
    vocab,
    capacity,
    CHUNK: tl.constexpr,
):
    """The token of a row whose plan is not DONE."""
    row = tl.program_id(0).to(tl.int64)
    plan = tl.load(plans + row * 2)
    if plan != DONE:
        if plan == WHOLE:
            x, count = logits + row * stride, vocab
        else:
            x, count = values + row * capacity, plan
        uniform, temperature, _inverse, top_p, min_p, top_k = asked(parameters, row, vocab)
        best = tl.load(totals + row * 2).to(tl.float32)
        mass = tl.load(totals + row * 2 + 1)
        # Those that are heavier than `bound` stay; and of those that are as heavy the first, as many as
        # `ties`, as long as those before them weigh less than `spare`.
        bound = tl.full((), -1, tl.int64)
        ties = vocab
        spare = tl.full((), float("inf"), tl.float64)
        if top_k < vocab:
            bound, heavier, above = _boundary(
                x, count, best, temperature, bound, top_k, float("inf"), CHUNK
            )
            ties = top_k - heavier
            mass = above + ties * _as_weight(bound).to(tl.float64)
        if top_p < 1:
            wanted = tl.maximum(top_p.to(tl.float64) * mass, 1e-300)  # the heaviest always stays
            bound, _heavier, above = _boundary(
                x, count, best, temperature, bound - 1, vocab + 1, wanted, CHUNK
            )
            spare = wanted - above
            ties = vocab  # what `top_k` leaves of them weighs more than is to spare
        total = tl.zeros((), tl.float64)
        ranked = tl.zeros((), tl.int32)
        for start in range(0, count, CHUNK):
            place, weight, bits = _chunk(x, start, count, best, temperature, CHUNK)
            kept, ranked = _kept(weight, bits, bound, ties, spare, min_p, ranked)
            total += tl.sum(kept)
        target = tl.minimum(uniform * total, total * (1 - 1.1102230246251565e-16))
        reached = tl.zeros((), tl.float64)
        ranked = tl.zeros((), tl.int32)
        chosen, last = vocab, tl.zeros((), tl.int32)
        for start in range(0, count, CHUNK):
            place, weight, bits = _chunk(x, start, count, best, temperature, CHUNK)
            kept, ranked = _kept(weight, bits, bound, ties, spare, min_p, ranked)
            passes = (reached + tl.cumsum(kept) > target) & (kept > 0)
            chosen = tl.minimum(chosen, tl.min(tl.where(passes, place, vocab)))
            last = tl.maximum(last, tl.max(tl.where(kept > 0, place, 0)))
            reached += tl.sum(kept)
        token = tl.minimum(chosen, last)  # rounding may leave nothing behind the target
        if plan != WHOLE:
            token = tl.load(ids + row * capacity + token)
        tl.store(tokens + row, token.to(tl.int64))


@triton.jit
def _boundary(x, count, best, temperature, low, most, mass, CHUNK: tl.constexpr):
    """The lightest weight above `low`, both as bits, of which one stays; how many are heavier, and their mass.

    One stays where fewer than `most` are heavier, and where these weigh less than `mass`.
    """
    high = tl.full((), HEAVIEST, tl.int64)
    num_low, num_high = count + 1, tl.zeros((), tl.int32)
    mass_high = tl.zeros((), tl.float64)
    part = tl.arange(0, PIVOTS)
    while (high - low > 1) & (num_low - num_high > 1):
        pivots = low + (high - low) * (part + 1) // (PIVOTS + 1)
        numbers = tl.zeros((PIVOTS,), tl.int32)
        weights = tl.zeros((PIVOTS,), tl.float64)
        for start in range(0, count, CHUNK):
            _place, weight, bits = _chunk(x, start, count, best, temperature, CHUNK)
            is_heavier = bits[None] > pivots[:, None]
            numbers += tl.sum(is_heavier.to(tl.int32), axis=1)
            weights += tl.sum(tl.where(is_heavier, weight[None], 0.0), axis=1).to(tl.float64)
        one_stays = (numbers < most) & (weights < mass)
        low = tl.maximum(low, tl.max(tl.where(one_stays, -1, pivots)))
        num_low = tl.minimum(num_low, tl.min(tl.where(one_stays, num_low, numbers)))
        high = tl.minimum(high, tl.min(tl.where(one_stays, pivots, high)))
        num_high = tl.maximum(num_high, tl.max(tl.where(one_stays, numbers, 0)))
        mass_high = tl.maximum(mass_high, tl.max(tl.where(one_stays, weights, 0.0)))
    found = tl.full((), -1, tl.int64)
    for start in range(0, count, CHUNK):
        _place, _own, bits = _chunk(x, start, count, best, temperature, CHUNK)
        within = (bits > low) & (bits <= high)
        found = tl.maximum(found, tl.max(tl.where(within, bits, -1)).to(tl.int64))
    return tl.where(found >= 0, found, high), num_high, mass_high


@triton.jit
def _chunk(x, start, count, best, temperature, CHUNK: tl.constexpr):
    """Places, weights and their bits, whose order is theirs; -1 behind the last."""
    place = start + tl.arange(0, CHUNK)
    logit = tl.load(x + place, place < count, float("-inf"))
    logit = tl.where(logit == logit, logit, float("-inf"))  # noqa: PLR0124  # as in _summarise
    weight = tl.exp((logit - best) / temperature)
    return place, weight, tl.where(place < count, weight.to(tl.int32, bitcast=True), -1)


@triton.jit
def _kept(weight, bits, bound, ties, spare, min_p, ranked):
    """A chunk's weights, 0 for those that do not stay; and how many so far are as heavy as `bound`."""
    tied = (bits == bound).to(tl.int32)
    rank = ranked + tl.cumsum(tied) - tied
    fits = (rank < ties) & (rank * _as_weight(bound).to(tl.float64) < spare)
    stays = (bits > bound) | ((tied > 0) & fits)
    return tl.where(stays & (weight >= min_p), weight, 0.0).to(tl.float64), ranked + tl.sum(tied)


@triton.jit
def _as_weight(bits):
    return tl.maximum(bits, 0).to(tl.int32).to(tl.float32, bitcast=True)
