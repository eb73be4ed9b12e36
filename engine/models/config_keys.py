"""Config keys that no family of ours may silently pass over, and those that do not matter."""

from collections.abc import Mapping
from typing import Any

NEUTRAL_HF: Mapping[str, tuple[Any, ...]] = {
    "alibi": (False,),
    "attention_chunk_size": (),
    "attention_multiplier": (1,),
    "attn_layer_idx": (),
    "attn_logit_softcapping": (),
    "clip_qkv": (),
    "d_intermediate": (0,),
    "embedding_multiplier": (1,),
    "final_logit_softcapping": (),
    "layer_types": ("full_attention",),
    "logit_scale": (1,),
    "logits_scaling": (1,),
    "n_routed_experts": (0,),
    "no_rope_layers": (1,),
    "num_experts": (0,),
    "num_local_experts": (0, 1),
    "parallel_attn": (True,),
    "qk_layernorm": (False,),
    "residual_multiplier": (1,),
    "rms_norm": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "sliding_window": (),
    "ssm_cfg": ({}, {"layer": "Mamba1"}),
    "use_bidirectional_attention": (False,),
    "use_qk_norm": (False,),
    "use_sliding_window": (False,),
}
"""Keys of config.json that change the computation, unless null or one of these values.

A family that honours one declares it as a field; for the others an active value is refused.
"""

NEUTRAL_GGUF: Mapping[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.scale": (0,),
    "attention.sliding_window": (0,),
    "attention.sliding_window_pattern": (0,),
    "attention.temperature_length": (0,),
    "attention.temperature_scale": (0,),
    "attn_logit_softcapping": (0,),
    "embedding_scale": (0, 1),
    "expert_count": (0,),
    "final_logit_softcapping": (0,),
    "logit_scale": (0, 1),
    "nextn_predict_layers": (0,),
    "residual_scale": (0, 1),
    "rope.scaling.alpha": (0,),
    "rope.scaling.attn_factor": (1,),
    "rope.scaling.yarn_ext_factor": (1, -1),
    "rope.scaling.yarn_log_multiplier": (0,),
    "use_parallel_residual": (False,),
}
"""The same for GGUF, without the architecture's prefix."""

HARMLESS_HF = frozenset(
    {
        *("_name_or_path", "architectures", "attention_dropout", "auto_map", "bos_token_id"),
        *("cache_implementation", "chunk_size_feed_forward", "dtype", "eod_token_id"),
        *("eos_token_id", "id2label", "max_window_layers"),
        *("initializer_range", "is_encoder_decoder", "label2id", "model_type"),
        *("output_attentions", "output_hidden_states", "pad_token_id", "pretraining_tp"),
        *("output_router_logits", "router_aux_loss_coef", "router_jitter_noise"),
        *("experts_per_token", "initial_context_length", "input_jitter_noise"),
        *("aux_loss_alpha", "ep_size", "seq_aux"),
        *("partial_rotary_factor", "residual_dropout", "rotary_dim", "rotary_pct"),
        "qk_head_dim",  # what its two parts add up to
        *("mamba_ssm_dtype", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"),
        *("attn_cfg", "chunk_size", "fused_add_norm", "mamba_chunk_size", "num_logits_to_keep"),
        *("rescale_prenorm_residual", "residual_in_fp32", "time_step_floor", "time_step_max"),
        *("time_step_init_scheme", "time_step_min", "time_step_rank", "time_step_scale"),
        *("use_associative_scan", "use_mamba_kernels", "use_mambapy"),
        *("problem_type", "quantization_config", "return_dict", "rope_local_base_freq"),
        *("rope_scaling", "rope_theta", "torch_dtype", "transformers_version", "use_cache"),
        *("attn_mode", "fuse_cross_entropy", "fuse_linear_cross_entropy", "fuse_norm"),
        *("model_version", "num_attention_heads", "num_heads", "rescale_every", "use_l2warp"),
    }
)
"""Keys of config.json that leave the computation alone, or are read with another key."""

HARMLESS_GGUF = frozenset(
    {
        "expert_feed_forward_length",  # where all layers have experts, the feed_forward_length
        *("attention.value_length_swa", "rope.dimension_count_swa"),
        *("attention.value_length", "rope.dimension_count", "rope.freq_base", "rope.freq_base_swa"),
        *("rope.scale_linear", "rope.scaling.factor", "rope.scaling.finetuned"),
        *("rope.scaling.original_context_length", "rope.scaling.type"),
        *("dense_2_feat_in", "dense_3_feat_in"),  # as wide as what is before them
        "rope.dimension_sections",  # of images; the three positions of a text's token are one
        *("rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast"),
        "rope.scaling.yarn_beta_slow",
    }
)
"""The same for GGUF."""


def is_neutral(value: Any, neutral: tuple[Any, ...]) -> bool:
    """One of the neutral values, or a list of such: one a layer."""
    values = value if isinstance(value, list) else [value]
    return all(each is None or each in neutral for each in values)
