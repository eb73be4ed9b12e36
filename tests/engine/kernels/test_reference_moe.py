"""Routing against transformers' own routers, experts against one product at a time."""

from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import DeepseekV2Config, DeepseekV3Config, GptOssConfig, Qwen3MoeConfig
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssTopKRouter
from transformers.models.phimoe.modeling_phimoe import sparsemixer
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter

from engine.kernels import ops
from engine.kernels.routing import Routing
from engine.kernels.weight import Weight

T, HIDDEN, EXPERTS, TOP_K, OUT = 50, 16, 12, 4, 10
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_attention_heads": 4,
    "num_experts_per_tok": TOP_K,
}
GROUPS: dict[str, Any] = {
    "n_routed_experts": EXPERTS,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
}

ROUTERS = {
    "softmax": (
        Qwen3MoeTopKRouter,
        Qwen3MoeConfig(**SIZES, num_experts=EXPERTS, norm_topk_prob=False),
        Routing(TOP_K),
    ),
    "softmax, renormalised": (
        Qwen3MoeTopKRouter,
        Qwen3MoeConfig(**SIZES, num_experts=EXPERTS, norm_topk_prob=True),
        Routing(TOP_K, renormalise=True),
    ),
    "softmax of the chosen": (
        GptOssTopKRouter,
        GptOssConfig(**SIZES, num_local_experts=EXPERTS),
        Routing(TOP_K, score="chosen_softmax"),
    ),
    "groups by their best": (
        DeepseekV2TopkRouter,
        DeepseekV2Config(**SIZES, **GROUPS, topk_method="group_limited_greedy"),
        Routing(TOP_K, scaling=2.5, num_groups=4, top_groups=2, group_score="best"),
    ),
    "groups by their best two": (
        DeepseekV3TopkRouter,
        DeepseekV3Config(**SIZES, **GROUPS, norm_topk_prob=True),
        Routing(TOP_K, score="sigmoid", renormalise=True, scaling=2.5, num_groups=4, top_groups=2),
    ),
}


def by_expert(chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What each expert counts for, (T, E): the same in whatever order they were chosen."""
    return torch.zeros(len(chosen), EXPERTS).scatter_(1, chosen, weights)


@pytest.mark.parametrize("name", ROUTERS)
def test_experts_are_chosen_and_weighed_as_in_transformers(name):
    """Every kind of routing, over rows that fall to many different experts."""
    make, config, routing = ROUTERS[name]
    torch.manual_seed(1)
    router = make(config)
    for tensor in (*router.parameters(), *router.buffers()):
        torch.nn.init.normal_(tensor, std=0.5)
    x = torch.randn(T, HIDDEN)
    with torch.no_grad():
        logits, weights, chosen = router(x)
    bias = getattr(router, "e_score_correction_bias", None)
    picked = ops.choose_experts(logits, routing, bias)

    ours = by_expert(picked, ops.weigh_experts(logits, picked, routing))
    assert torch.allclose(ours, by_expert(chosen, weights), atol=1e-6)


@pytest.mark.parametrize("jitter", [0.01, 0.2, 0.5])
def test_sparsemixer_is_phis(jitter):
    """Two experts, each weighed among those that come near it."""
    logits, routing = torch.randn(T, EXPERTS), Routing(2, score="sparsemixer", jitter=jitter)
    weights, chosen = sparsemixer(logits, jitter_eps=jitter, training=False)
    picked = ops.choose_experts(logits, routing)

    assert torch.equal(picked, chosen)
    assert torch.allclose(ops.weigh_experts(logits, picked, routing), weights)


def test_a_bias_weighs_in_on_the_choice_alone():
    """DeepSeek-V3's correction: it balances the load and leaves the weights."""
    logits = torch.tensor([[3.0, 2.0, 1.0]])
    routing = Routing(1, score="sigmoid")
    chosen = ops.choose_experts(logits, routing, torch.tensor([0.0, 0.0, 9.0]))

    assert chosen.tolist() == [[2]]
    assert torch.equal(ops.weigh_experts(logits, chosen, routing), logits[:, 2:].sigmoid())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shared", [True, False])
def test_each_row_is_multiplied_by_its_experts(packed, shared):
    """Rows that all experts share, or one for each; dense and packed; experts without rows."""
    in_features, kind = 32, gguf.GGMLQuantizationType.Q8_0
    values = np.random.default_rng(3).standard_normal(
        (EXPERTS * OUT, in_features), dtype=np.float32
    )
    blocks = gguf.quants.quantize(values, kind)
    exact = torch.from_numpy(gguf.quants.dequantize(blocks, kind))
    stored = Weight("Q8_0", tuple(exact.shape), torch.from_numpy(blocks), torch.float32)
    chosen = torch.randint(EXPERTS - 3, (T, TOP_K))
    x = torch.randn((T, in_features) if shared else (T, TOP_K, in_features))
    bias = torch.randn(EXPERTS, OUT)
    weight = stored if packed else Weight.dense(exact)
    found = ops.expert_linear(x, weight, chosen, EXPERTS, bias)

    matrices = exact.view(EXPERTS, OUT, in_features)
    for row in range(T):
        for place, expert in enumerate(chosen[row]):
            given = x[row] if shared else x[row, place]
            expected = F.linear(given, matrices[expert], bias[expert])
            assert torch.allclose(found[row, place], expected, atol=1e-5)


def test_outputs_are_summed_by_weight():
    """In float32, whatever the experts computed in."""
    outputs, weights = torch.randn(3, 2, 5).bfloat16(), torch.rand(3, 2)
    expected = sum(outputs[:, k].float() * weights[:, k, None] for k in range(2))

    assert torch.allclose(ops.combine_experts(outputs, weights), expected)


def test_clamped_swiglu_bounds_both_sides():
    """The gate from above, up from both sides."""
    found = ops.clamped_swiglu(torch.tensor([9.0, -9.0]), torch.tensor([9.0, -9.0]), 1.702, 7.0)
    gate, up = torch.tensor([7.0, -9.0]), torch.tensor([7.0, -7.0])

    assert torch.allclose(found, (up + 1) * gate * torch.sigmoid(1.702 * gate))
