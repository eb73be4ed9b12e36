"""Every op: its shape rule against what the torch reference really gives."""

import pytest
import torch

from engine.kernels import ops, registry
from engine.kernels.group import Group
from engine.kernels.routing import Routing
from engine.kernels.trace import Tape, Traced
from engine.kernels.weight import Weight
from tests.engine.batches import layout_of

T, HEADS, KV_HEADS, DIM, HIDDEN, VOCAB, BLOCKS, BLOCK = 5, 4, 2, 6, 24, 11, 3, 4

EXPERTS, TOP_K = 6, 2
ROUTING = Routing(TOP_K)


def arguments() -> dict[str, list]:
    """Good arguments for every op."""
    x, ids = torch.randn(T, HIDDEN), torch.arange(T)
    q, kv = torch.randn(T, HEADS, DIM), torch.randn(T, KV_HEADS, DIM)
    cache = torch.zeros(BLOCKS, BLOCK, KV_HEADS, DIM)
    layout = layout_of([T], [T], torch.arange(BLOCKS)[None], BLOCK)
    chosen = torch.randint(EXPERTS, (T, TOP_K))
    experts = Weight.dense(torch.randn(EXPERTS * VOCAB, HIDDEN))
    return {
        "embedding": [ids, Weight.dense(torch.randn(VOCAB, HIDDEN))],
        "linear": [x, Weight.dense(torch.randn(VOCAB, HIDDEN)), torch.randn(VOCAB)],
        "logits": [x, Weight.dense(torch.randn(VOCAB, HIDDEN).bfloat16())],
        "rms_norm": [x, torch.randn(HIDDEN), 1e-6],
        "layer_norm": [x, torch.randn(HIDDEN), torch.randn(HIDDEN), 1e-6],
        "longrope_table": [ids, ids + 2, torch.rand(DIM // 2), torch.rand(DIM // 2)],
        "silu": [x],
        "gelu": [x],
        "gelu_tanh": [x],
        "clamp": [x, 0.5],
        "rope_table": [ids, torch.rand(DIM // 2), 1.0],
        "rope": [q, torch.randn(T, 2, DIM // 2)],
        "scale_by_position": [q, ids, 0.1, 2],
        "split_heads": [x, HEADS],
        "merge_heads": [q],
        "cache_write": [kv, kv, cache, cache.clone(), layout],
        "paged_attention": [q, cache, cache, layout],
        "encoder_attention": [q, q, q, layout],
        "pool_rows": [x.bfloat16(), layout],
        "silu_mul": [x, x],
        "gelu_tanh_mul": [x, x],
        "choose_experts": [torch.randn(T, EXPERTS), ROUTING, torch.randn(EXPERTS)],
        "weigh_experts": [torch.randn(T, EXPERTS), chosen, ROUTING],
        "expert_linear": [x, experts, chosen, EXPERTS, torch.randn(EXPERTS, VOCAB)],
        "combine_experts": [torch.randn(T, TOP_K, HIDDEN), torch.rand(T, TOP_K)],
        "clamped_swiglu": [x, x, 1.702, 7.0],
        "sigmoid_mul": [torch.randn(T, 1), x],
        "add": [x, x.bfloat16()],
        "scale": [x, 2.0],
        "mul": [x.bfloat16(), torch.randn(1)],
        "scale_by": [torch.rand(T, TOP_K), torch.rand(EXPERTS), chosen],
        "sparsify": [x, 1.3],
        "softcap": [x, 3.0],
        "head_linear": [q, Weight.dense(torch.randn(HEADS * 7, DIM)), 2, 5],
        "latent_write": [x, torch.zeros(BLOCKS, BLOCK, HIDDEN), layout],
        "latent_attention": [q, torch.zeros(BLOCKS, BLOCK, DIM), layout],
        "choose_tokens": [q, torch.randn(T, HEADS), torch.randn(BLOCKS, BLOCK, DIM), layout, 3],
        "select_columns": [q, 1, 3],
        "concat": [q, kv.repeat(1, 2, 1)],
        "select_rows": [x, torch.tensor([3, 0])],
        "ids_below": [ids, 3],
        "match_rms": [q.bfloat16(), kv[:, 0]],
        "mix_streams": [q, torch.randn(T, HEADS * HEADS).bfloat16()],
        "correct_streams": [q, kv[:, 0], torch.randn(T, HEADS).bfloat16()],
        "causal_conv": [x, torch.randn(HIDDEN, 4), None, torch.zeros(2, HIDDEN, 3), layout],
        "linear_attention": [q, torch.rand(HEADS), torch.zeros(2, HEADS, 2, 2), layout],
        "token_shift": [x, torch.zeros(2, HIDDEN), layout],
        "selective_scan": [
            x.bfloat16(),
            *(torch.randn(T, HIDDEN), -torch.rand(HIDDEN, 4), torch.randn(T, 4), torch.randn(T, 4)),
            *(torch.randn(HIDDEN), torch.randn(HIDDEN), torch.zeros(2, HIDDEN, 4), layout),
        ],
        "ssd_scan": [
            q.bfloat16(),
            *(torch.randn(T, HEADS), -torch.rand(HEADS), torch.randn(T, 2, 3)),
            *(torch.randn(T, 2, 3), torch.randn(HEADS), torch.randn(HEADS)),
            *(torch.zeros(2, HEADS, DIM, 3), layout),
        ],
        "relu_squared": [x],
        "sigmoid": [x],
        "tanh": [x],
        "exp": [x],
        "lerp": [x.bfloat16(), x, torch.rand(HIDDEN)],
        "rwkv6_scan": [q, q, q, -torch.rand_like(q), q[0], torch.zeros(2, HEADS, DIM, DIM), layout],
        "rwkv7_scan": [q, q, q, -q.sigmoid() / 2, q, q, torch.zeros(2, HEADS, DIM, DIM), layout],
        "rwkv7_bonus": [q, q, q, q[0]],
        "add_to_later": [q, kv[:, 0].bfloat16()],
        "select_stream": [q, 1],
        "widen": [x.bfloat16()],
        "all_reduce": [x.bfloat16(), Group(torch.clone)],
        "l2_norm": [q, 1e-6],
        "log_decay": [x.bfloat16(), -torch.rand(HEADS), torch.randn(HIDDEN)],
        "gated_delta_rule": [
            *(kv, kv, q.bfloat16(), -torch.rand(T, HEADS), torch.randn(T, HEADS)),
            *(torch.zeros(2, HEADS, DIM, DIM), layout),
        ],
    }


SETTINGS = {
    "ssd_scan": {"dt_limits": (0.0, 1.0)},
    "longrope_table": {"switch": 4, "factors": (1.0, 1.2)},
    "paged_attention": {"scale": 0.5},
    "latent_attention": {"scale": 0.5, "value_dim": 4},
    "encoder_attention": {"scale": 0.5},
    "pool_rows": {"pooling": "mean"},
}


def traced(value, tape: Tape):
    if isinstance(value, torch.Tensor):
        return tape.tensor("input", value.shape, value.dtype)
    if isinstance(value, Weight):
        return Weight(value.format, value.shape, traced(value.data, tape), value.dtype)
    if isinstance(value, Group):
        return Group(token=tape.tensor("group", [0], torch.float32))
    return value


def test_arguments_cover_the_vocabulary():
    """A new op must be added to these tests."""
    assert arguments().keys() == ops.OPS.keys()


@pytest.mark.parametrize("name", sorted(ops.OPS))
def test_the_shape_rule_holds(name):
    """What a recording says of a result is what the kernel gives."""
    settings = SETTINGS.get(name, {})
    tape, given = Tape(), arguments()[name]
    real = ops.OPS[name](*given, **settings)
    recorded = ops.OPS[name](*(traced(value, tape) for value in given), **settings)

    assert [call.op for call in tape.calls] == [name]
    if real is None:
        assert recorded is None
    else:
        assert isinstance(recorded, Traced)
        assert (recorded.shape, recorded.dtype) == (real.shape, real.dtype)


@pytest.mark.parametrize("name", sorted(ops.OPS))
def test_every_op_has_a_contract_and_a_reference(name):
    """The vocabulary is complete: documented, and computable anywhere."""
    assert ops.OPS[name].__doc__
    assert registry.find(name, weight_format="Q4_K", device="meta")
