"""Routers of real models: their choice in one launch, and the weights alone."""

from engine.kernels.routing import Routing
from engine.kernels.triton import routing
from offline_builds import Build

ROUTERS = {
    "qwen3_30b": (128, Routing(8, renormalise=True), False),
    "gpt_oss_20b": (32, Routing(4, score="chosen_softmax"), False),
    "deepseek_v2": (160, Routing(6, num_groups=8, top_groups=3, group_score="best"), False),
    "deepseek_v3": (
        256,
        Routing(8, score="sigmoid", renormalise=True, scaling=2.5, num_groups=8, top_groups=4),
        True,
    ),
    "qwen3_next": (512, Routing(10, renormalise=True), False),
    "nemotron_h": (512, Routing(22, score="sigmoid", renormalise=True, scaling=5.0), True),
    "phimoe": (16, Routing(2, score="sparsemixer", jitter=0.01), False),
}

SIGNATURE = {
    "logits_at": "*fp32",
    "bias_at": "*fp32",
    "chosen_at": "*i64",
    "weights_at": "*fp32",
    "scaling": "fp32",
    "two_jitters": "fp32",
}


def build(name, *, chooses=True):
    num_experts, settings, is_biased = ROUTERS[name]
    return Build(
        f"{'route' if chooses else 'weigh_experts'}_{name}",
        routing._route_kernel,
        SIGNATURE,
        {
            **routing.constants(settings, num_experts, is_biased=is_biased),
            "CHOOSES": chooses,
            "WEIGHS": True,
        },
        num_warps=1,
        vector_loads=False,
        quick=name == "deepseek_v3" and chooses,
    )


BUILDS = [*(build(name) for name in ROUTERS), build("qwen3_30b", chooses=False)]
