"""Shapes of models whose layers keep a state: see `shapes`."""

from shapes import Matrix, Shape, Value, Vector

_ENDLESS = 2**20  # what converters write as the context of a model that has no limit


def mamba2(num_layers: int, hidden: int, state: int, head_dim: int, vocab: int) -> Shape:
    """One group, an expansion of 2, a convolution over 4, tied embeddings: as the published ones."""
    inner = 2 * hidden
    heads, channels = inner // head_dim, inner + 2 * state
    tensors: dict[str, Matrix | Vector] = {
        "token_embd.weight": Matrix((vocab, hidden)),
        "output_norm.weight": Vector((hidden,), 1.0),
    }
    for layer in range(num_layers):
        tensors |= {
            f"blk.{layer}.attn_norm.weight": Vector((hidden,), 1.0),
            f"blk.{layer}.ssm_in.weight": Matrix((inner + channels + heads, hidden)),
            f"blk.{layer}.ssm_conv1d.weight": Vector((channels, 4), 0.0, 0.3),
            f"blk.{layer}.ssm_conv1d.bias": Vector((channels,)),
            f"blk.{layer}.ssm_dt.bias": Vector((heads,), -3.0, 0.5),
            f"blk.{layer}.ssm_a": Vector((heads, 1), -4.0, 0.5),  # -exp(A_log): never positive
            f"blk.{layer}.ssm_d": Vector((heads, 1), 1.0),
            f"blk.{layer}.ssm_norm.weight": Vector((1, inner), 1.0),
            f"blk.{layer}.ssm_out.weight": Matrix((hidden, inner)),
        }
    metadata: dict[str, Value] = {
        "context_length": _ENDLESS,
        "embedding_length": hidden,
        "block_count": num_layers,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": heads,
        "ssm.group_count": 1,
    }
    return Shape("mamba2", vocab, metadata, tensors)


def rwkv7(num_layers: int, hidden: int, vocab: int) -> Shape:
    """Heads of 64, a feed-forward four times as wide, ranks as published ones of this width."""
    ranks = {"w": 64, "a": 64, "v": 32, "g": 128}
    tensors: dict[str, Matrix | Vector] = {
        "token_embd.weight": Matrix((vocab, hidden)),
        **_layer_norm("token_embd_norm", hidden),
        **_layer_norm("output_norm", hidden),
        "output.weight": Matrix((vocab, hidden)),
    }
    for layer in range(num_layers):
        tensors |= _rwkv7_layer(f"blk.{layer}", hidden, ranks, is_first=layer == 0)
    metadata: dict[str, Value] = {
        "context_length": _ENDLESS,
        "embedding_length": hidden,
        "block_count": num_layers,
        "feed_forward_length": 4 * hidden,
        "attention.head_count": 0,
        "attention.layer_norm_epsilon": 1e-5,
        "wkv.head_size": 64,
        "attention.decay_lora_rank": ranks["w"],
        "attention.iclr_lora_rank": ranks["a"],
        "attention.value_residual_mix_lora_rank": ranks["v"],
        "attention.gate_lora_rank": ranks["g"],
    }
    return Shape("rwkv7", vocab, metadata, tensors)


def _rwkv7_layer(
    layer: str, hidden: int, ranks: dict[str, int], *, is_first: bool
) -> dict[str, Matrix | Vector]:
    tensors: dict[str, Matrix | Vector] = {
        **_layer_norm(f"{layer}.attn_norm", hidden),
        **_layer_norm(f"{layer}.attn_norm_2", hidden),
        **_layer_norm(f"{layer}.time_mix_ln", hidden),
        f"{layer}.time_mix_lerp_fused.weight": Vector((6, 1, 1, hidden), 0.5, 0.1),
        f"{layer}.time_mix_k_k.weight": Vector((hidden,), 0.85),
        f"{layer}.time_mix_k_a.weight": Vector((hidden,), 1.0),
        f"{layer}.time_mix_r_k.weight": Vector((hidden,)),
        f"{layer}.channel_mix_lerp_k.weight": Vector((hidden,), 0.5, 0.1),
        f"{layer}.channel_mix_key.weight": Matrix((4 * hidden, hidden)),
        f"{layer}.channel_mix_value.weight": Matrix((hidden, 4 * hidden)),
    }
    for name in ("key", "value", "receptance", "output"):
        tensors[f"{layer}.time_mix_{name}.weight"] = Matrix((hidden, hidden))
    for name, rank in ranks.items():
        # The first layer has no value to mix with, and stores a dummy of the other rank.
        stored_rank = ranks["a"] if is_first and name == "v" else rank
        tensors[f"{layer}.time_mix_{name}1.weight"] = Vector((stored_rank, hidden))
        tensors[f"{layer}.time_mix_{name}2.weight"] = Vector((hidden, stored_rank))
        if name != "g":
            tensors[f"{layer}.time_mix_{name}0.weight"] = Vector((hidden,))
    return tensors


def _layer_norm(name: str, size: int) -> dict[str, Matrix | Vector]:
    return {f"{name}.weight": Vector((size,), 1.0), f"{name}.bias": Vector((size,))}
