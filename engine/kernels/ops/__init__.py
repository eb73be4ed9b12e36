"""The op vocabulary: all that blocks and families may do with tensors.

Each op is stated once, in this package: its signature, its contract, and as its body the shape of its result.
Called with tensors, it runs the kernel that `engine.kernels.registry` has for the device (and for
the weight's format); called with tensors of a recording, its body runs and the call is recorded.
The torch reference of each, the oracle of every kernel test, is in `engine.kernels.reference` and
the modules named after it.

T: rows (tokens) of a batch. H: query heads, Hkv: heads of the cache. d: head_dim.
"""

from engine.kernels import (
    reference,  # noqa: F401  # registers the torch kernels
    reference_attention,  # noqa: F401  # as reference
    reference_collective,  # noqa: F401  # as reference
    reference_delta,  # noqa: F401  # as reference
    reference_encoding,  # noqa: F401  # as reference
    reference_indexer,  # noqa: F401  # as reference
    reference_latent,  # noqa: F401  # as reference
    reference_linear_attention,  # noqa: F401  # as reference
    reference_moe,  # noqa: F401  # as reference
    reference_recurrent,  # noqa: F401  # as reference
    reference_rwkv,  # noqa: F401  # as reference
    reference_ssm,  # noqa: F401  # as reference
    reference_streams,  # noqa: F401  # as reference
)
from engine.kernels.ops.attention import cache_write, paged_attention
from engine.kernels.ops.collective import all_reduce
from engine.kernels.ops.delta import gated_delta_rule, l2_norm, log_decay
from engine.kernels.ops.elementwise import (
    add,
    clamp,
    clamped_swiglu,
    concat,
    exp,
    gelu,
    gelu_tanh,
    gelu_tanh_mul,
    ids_below,
    lerp,
    mul,
    relu_squared,
    scale,
    scale_by,
    select_columns,
    select_rows,
    sigmoid,
    sigmoid_mul,
    silu,
    silu_mul,
    softcap,
    sparsify,
    tanh,
    widen,
)
from engine.kernels.ops.encoding import encoder_attention, pool_rows
from engine.kernels.ops.experts import choose_experts, combine_experts, expert_linear, weigh_experts
from engine.kernels.ops.latent import choose_tokens, head_linear, latent_attention, latent_write
from engine.kernels.ops.linear_attention import linear_attention
from engine.kernels.ops.matrices import embedding, linear, logits
from engine.kernels.ops.op import OPS
from engine.kernels.ops.positions import (
    layer_norm,
    longrope_table,
    merge_heads,
    rms_norm,
    rope,
    rope_table,
    scale_by_position,
    split_heads,
)
from engine.kernels.ops.recurrent import causal_conv, token_shift
from engine.kernels.ops.rwkv import rwkv6_scan, rwkv7_bonus, rwkv7_scan
from engine.kernels.ops.ssm import selective_scan, ssd_scan
from engine.kernels.ops.streams import (
    add_to_later,
    correct_streams,
    match_rms,
    mix_streams,
    select_stream,
)

__all__ = [
    "OPS",
    "add",
    "add_to_later",
    "all_reduce",
    "cache_write",
    "causal_conv",
    "choose_experts",
    "choose_tokens",
    "clamp",
    "clamped_swiglu",
    "combine_experts",
    "concat",
    "correct_streams",
    "embedding",
    "encoder_attention",
    "exp",
    "expert_linear",
    "gated_delta_rule",
    "gelu",
    "gelu_tanh",
    "gelu_tanh_mul",
    "head_linear",
    "ids_below",
    "l2_norm",
    "latent_attention",
    "latent_write",
    "layer_norm",
    "lerp",
    "linear",
    "linear_attention",
    "log_decay",
    "logits",
    "longrope_table",
    "match_rms",
    "merge_heads",
    "mix_streams",
    "mul",
    "paged_attention",
    "pool_rows",
    "relu_squared",
    "rms_norm",
    "rope",
    "rope_table",
    "rwkv6_scan",
    "rwkv7_bonus",
    "rwkv7_scan",
    "scale",
    "scale_by",
    "scale_by_position",
    "select_columns",
    "select_rows",
    "select_stream",
    "selective_scan",
    "sigmoid",
    "sigmoid_mul",
    "silu",
    "silu_mul",
    "softcap",
    "sparsify",
    "split_heads",
    "ssd_scan",
    "tanh",
    "token_shift",
    "weigh_experts",
    "widen",
]
