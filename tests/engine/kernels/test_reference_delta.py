"""The gated delta rule: its step and its chunks against a plain scan."""

import math

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.reference_delta import CHUNK, delta_chunks, delta_step
from tests.engine.batches import layout_of

KEY_HEADS, HEADS, KEY_DIM, VALUE_DIM = 2, 4, 5, 7

each_decay = pytest.mark.parametrize("per_head", [1, KEY_DIM], ids=["one", "by channel"])


def layout(counts: list[int], states: list[tuple[int, int]]) -> BatchLayout:
    return layout_of(counts, counts, torch.zeros(len(counts), 8, dtype=torch.int64), 16, states)


def rows(count: int, per_head: int, *, seed: int = 0) -> tuple[Tensor, ...]:
    """q, k, v, decay and beta of each head: keys of length 1, and all kinds of decays."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, HEADS, *shape, generator=generator)

    k = torch.nn.functional.normalize(normal(KEY_DIM), dim=-1)
    decay = -(normal(per_head) * 3 - 2).exp()
    return normal(KEY_DIM), k, normal(VALUE_DIM), decay, normal().sigmoid()


def plain_scan(state: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Row by row and head by head, as the rule is written, in float64."""
    state, outputs = state.double().clone(), []
    for q, k, v, decay, beta in zip(*(each.double() for each in rows), strict=True):
        for head in range(len(state)):
            kept = decay[head].exp()[:, None] * state[head]
            wrong = v[head] - kept.T @ k[head]
            state[head] = kept + beta[head] * torch.outer(k[head], wrong)
        outputs.append(torch.stack([s.T @ query for s, query in zip(state, q, strict=True)]))
    return torch.stack(outputs), state


def start(seed: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(HEADS, KEY_DIM, VALUE_DIM, generator=generator)


def stepped(state: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    state, outputs = state[None], []
    for row in range(len(rows[0])):
        output, state = delta_step(state, *(each[row : row + 1] for each in rows))
        outputs.append(output)
    return torch.cat(outputs), state[0]


def close(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(torch.allclose(a.double(), b, rtol=1e-4, atol=1e-4) for a, b in pairs)


@each_decay
@pytest.mark.parametrize("seed", range(6))
def test_steps_and_chunks_equal_the_plain_scan(per_head, seed):
    """Whatever the length of a sequence and of its chunks."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 150, [], generator=generator))
    chunk = int(torch.randint(1, 80, [], generator=generator))
    given = rows(count, per_head, seed=seed)
    expected = plain_scan(start(), given)

    assert close(stepped(start(), given), expected)
    assert close(delta_chunks(start(), *given, chunk=chunk), expected)
    assert close(delta_chunks(start(), *given), expected)


@each_decay
@pytest.mark.parametrize("beta", [1e-6, 1.0, 2.0])
def test_the_ends_of_beta(per_head, beta):
    """What changes nothing, what replaces, and what reflects, with keys that repeat themselves."""
    q, k, v, decay, betas = rows(CHUNK + 9, per_head)
    k[1::2] = k[::2][: len(k[1::2])]
    given = (q, k, v, decay * 0.01, torch.full_like(betas, beta))

    assert close(delta_chunks(start(), *given), plain_scan(start(), given))


@each_decay
@pytest.mark.parametrize("rest", [0.0, -1e-4, -0.1])
def test_extreme_decays_stay_exact(per_head, rest):
    """After rows that forget everything, those that forget next to nothing are as exact as ever."""
    q, k, v, decay, beta = rows(2 * CHUNK, per_head)
    decay = torch.full_like(decay, rest)
    decay[::9] = -1e6
    decay[5] = -torch.inf
    layout_ = layout([len(q)], [(0, 1)])
    state = torch.stack([start(), torch.full_like(start(), torch.nan)])
    logits = torch.logit(beta)
    expected, after = plain_scan(start(), (q / math.sqrt(KEY_DIM), k, v, decay, beta))
    found = ops.gated_delta_rule(q, k, v, decay.flatten(1), logits, state, layout_)

    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert torch.allclose(state[1].double(), after, rtol=1e-4, atol=1e-4)


@each_decay
def test_a_thousand_steps_do_not_drift(per_head):
    """Decoding in float32 stays where a scan in float64 is."""
    given = rows(1000, per_head)
    outputs, state = stepped(start(), given)
    expected, after = plain_scan(start(), given)

    assert outputs.isfinite().all()
    assert torch.allclose(outputs[-50:].double(), expected[-50:], rtol=1e-4, atol=1e-4)
    assert torch.allclose(state.double(), after, rtol=1e-4, atol=1e-4)


@each_decay
def test_each_sequence_has_its_own_state(per_head):
    """Prompts and single rows in one batch, from one slot to another; no other slot is read."""
    counts, slots = [70, 1, 3, 1], [(0, 3), (-1, 2), (-1, 1), (4, 0)]
    q, k, v, decay, beta = rows(sum(counts), per_head)
    state = torch.full([6, HEADS, KEY_DIM, VALUE_DIM], torch.nan)
    state[0], state[4] = start(1), start(2)
    before = [state[read].clone() if read >= 0 else start() * 0 for read, _ in slots]
    found = ops.gated_delta_rule(
        q, k, v, decay.flatten(1), torch.logit(beta), state, layout(counts, slots)
    )

    bounds = torch.tensor([0, *counts]).cumsum(0).tolist()
    for index, (_, write) in enumerate(slots):
        own = slice(bounds[index], bounds[index + 1])
        given = tuple(each[own] for each in (q / math.sqrt(KEY_DIM), k, v, decay, beta))
        assert close((found[own], state[write]), plain_scan(before[index], given))


@pytest.mark.parametrize(("tiled", "key_heads"), [(False, [0, 0, 1, 1]), (True, [0, 1, 0, 1])])
def test_value_heads_share_the_heads_of_keys(tiled, key_heads):
    """Neighbours share one; tiled, they take turns."""
    q, k, v, decay, beta = rows(5, 1)
    q, k = q[:, :KEY_HEADS], k[:, :KEY_HEADS]

    def result(q: Tensor, k: Tensor, *, tiled: bool) -> Tensor:
        state = torch.zeros(1, HEADS, KEY_DIM, VALUE_DIM)
        return ops.gated_delta_rule(
            q, k, v, decay.flatten(1), beta, state, layout([5], [(-1, 0)]), tiled=tiled
        )

    shared = result(q, k, tiled=tiled)

    assert torch.equal(shared, result(q[:, key_heads], k[:, key_heads], tiled=False))


def test_max_beta_scales_what_is_corrected():
    """OLMo-hybrid's rule may turn what is known to its opposite."""
    q, k, v, decay, _ = rows(6, 1)
    given = (q, k, v, decay.flatten(1))
    once, twice = (
        ops.gated_delta_rule(
            *given,
            logits,
            torch.zeros(1, HEADS, KEY_DIM, VALUE_DIM),
            layout([6], [(-1, 0)]),
            **more,
        )
        for logits, more in (
            (torch.full([6, HEADS], 30.0), {}),
            (torch.zeros(6, HEADS), {"max_beta": 2.0}),
        )
    )

    assert torch.allclose(once, twice, rtol=1e-5, atol=1e-6)


def test_l2_norm_gives_length_one():
    """Over the last axis; of zeros it makes no NaN."""
    x = torch.randn(3, 2, 8)
    x[1] = 0
    normed = ops.l2_norm(x, 1e-6)

    assert torch.allclose(normed[0].norm(dim=-1), torch.ones(2))
    assert not normed[1].any()
    assert ops.l2_norm(x.bfloat16(), 1e-6).dtype == torch.bfloat16


def test_log_decay_has_one_factor_for_each_head():
    """-exp(A_log) * softplus(a + dt_bias), float32 whatever x is; no overflow."""
    x = torch.tensor([[0.0, 1.0, -3.0, 200.0]]).bfloat16()
    factor, bias = torch.tensor([-2.0, -0.5]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = ops.log_decay(x, factor, bias)
    soft = [math.log1p(math.exp(value)) for value in (0.1, 1.2, -2.7)]

    assert found.dtype == torch.float32
    assert torch.allclose(
        found, torch.tensor([[-2 * soft[0], -2 * soft[1], -0.5 * soft[2], -0.5 * 200.4]])
    )
