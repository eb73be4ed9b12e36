"""Gemma 3n's text model: parallel streams, per-layer embeddings, sparse gates, shared caches.

Its speech and picture towers are not served. Checked against transformers 5.23 (models/gemma3n)
and llama.cpp (src/models/gemma3n.cpp).
"""

from collections.abc import Mapping
from math import isfinite
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.kernels import ops
from engine.models.cache_sharing import UNUSED, SharingConfig, per_layer_names
from engine.models.family import Family
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import Size, gguf
from engine.models.names import Name, Names
from engine.nn.altup import AltUp, Streams
from engine.nn.decoder import CausalLM
from engine.nn.layer import Mixer, rms_norm
from engine.nn.linear import Linear
from engine.nn.mlp import GatedMLP
from engine.nn.module import Module
from engine.nn.norm import RMSNorm
from engine.nn.normed_attention import BorrowingAttention, NormedAttention
from engine.nn.per_layer import PerLayerGate
from engine.nn.rope import rope_of
from engine.nn.step import Step

Fraction = Annotated[float, Meta(ge=0, lt=1)]


class Config(SharingConfig, frozen=True, kw_only=True):
    """activation_sparsity_pattern: what fraction of each layer's gates is cut off.

    activation_sparsity_scale: the same in deviations of a normal distribution, -inf for none; GGUF
    has that.
    """

    # A list in newer files; all layers must agree.
    intermediate_size: Annotated[Any, gguf("feed_forward_length")]
    activation_sparsity_pattern: Fraction | tuple[Fraction, ...] | None = None
    activation_sparsity_scale: Annotated[
        float | tuple[float, ...] | None, gguf("activation_sparsity_scale")
    ] = None
    laurel_rank: Size = 64
    altup_num_inputs: Annotated[int, Meta(ge=2, le=64), gguf("altup.num_inputs")] = 4
    altup_active_idx: Annotated[Literal[0], gguf("altup.active_idx")] = 0
    altup_correct_scale: Literal[True] = True
    altup_coef_clip: float | None = None  # of training

    default_pattern: ClassVar[int] = 5
    rope_thetas: ClassVar[Mapping[str, float]] = {
        "full_attention": 1e6,
        "sliding_attention": 1e4,
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 262400,
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "num_hidden_layers": 35,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "sliding_window": 512,
        "final_logit_softcapping": 30.0,
        "tie_word_embeddings": True,
        "num_kv_shared_layers": 15,
        "hidden_size_per_layer_input": 256,
        "vocab_size_per_layer_input": 262144,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = self.intermediate_size
        if isinstance(sizes, list | tuple) and sizes and all(size == sizes[0] for size in sizes):
            force_setattr(self, "intermediate_size", sizes[0])
        if not isinstance(self.intermediate_size, int) or not 0 < self.intermediate_size <= 2**20:
            raise ValueError(f"intermediate_size is {str(sizes)[:80]}, not one size of all layers")
        if not self.hidden_size_per_layer_input:
            raise ValueError("hidden_size_per_layer_input is 0")
        for given in (self.activation_sparsity_pattern, self.activation_sparsity_scale):
            if isinstance(given, tuple) and len(given) != self.num_hidden_layers:
                raise ValueError(
                    f"{len(given)} activation sparsities, {self.num_hidden_layers} layers"
                )

    def deviations(self, layer: int) -> float | None:
        """How far above their mean a layer's gates are cut off, in standard deviations."""
        if self.activation_sparsity_scale is not None:
            given = self.activation_sparsity_scale
            scale = given[layer] if isinstance(given, tuple) else given
            return scale if isfinite(scale) else None
        pattern = self.activation_sparsity_pattern
        if pattern is None:
            pattern = 0.95 if layer < _NUM_SPARSE < self.num_hidden_layers else 0.0
        cut = pattern[layer] if isinstance(pattern, tuple) else pattern
        return NormalDist().inv_cdf(cut) if cut else None


_NUM_SPARSE = 10
"""Layers that are sparse where a config does not say."""

_LAYER = "model.layers.{i}"

NAMES: Names = {
    **LLAMA_NAMES,
    "model.stream.projections.weight": Name(
        "altup_proj.weight", hf="model.altup_projections.{n}.weight"
    ),
    "model.stream.unembed_projections.weight": Name(
        "altup_unembd_proj.weight", hf="model.altup_unembed_projections.{n}.weight"
    ),
    **per_layer_names("model.stream.per_layer"),
    f"{_LAYER}.self_attn.q_proj": "blk.{i}.attn_q",
    f"{_LAYER}.self_attn.k_proj": "blk.{i}.attn_k",
    f"{_LAYER}.self_attn.q_norm": "blk.{i}.attn_q_norm",
    f"{_LAYER}.self_attn.k_norm": "blk.{i}.attn_k_norm",
    f"{_LAYER}.post_attention_layernorm": "blk.{i}.post_attention_norm",
    f"{_LAYER}.pre_feedforward_layernorm": "blk.{i}.ffn_norm",
    f"{_LAYER}.post_feedforward_layernorm": "blk.{i}.post_ffw_norm",
    f"{_LAYER}.altup.correct_output_scale": "blk.{i}.altup_correct_scale.weight",
    f"{_LAYER}.altup.router_norm": "blk.{i}.altup_router_norm",
    f"{_LAYER}.altup.modality_router": "blk.{i}.altup_router",
    f"{_LAYER}.altup.prediction_coefs": "blk.{i}.altup_predict_coef",
    f"{_LAYER}.altup.correction_coefs": "blk.{i}.altup_correct_coef",
    f"{_LAYER}.laurel.linear_left": "blk.{i}.laurel_l",
    f"{_LAYER}.laurel.linear_right": "blk.{i}.laurel_r",
    f"{_LAYER}.laurel.post_laurel_norm": "blk.{i}.laurel_post_norm",
}


class Laurel(Module):
    """A learned augmented residual, arXiv:2411.07501: x and a norm of its low-rank image."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.linear_left = Linear(c.hidden_size, c.laurel_rank)
        self.linear_right = Linear(c.laurel_rank, c.hidden_size)
        self.post_laurel_norm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.add(x, self.post_laurel_norm(self.linear_right(self.linear_left(x))))


class Layer(Module):
    """A layer of the first stream, between prediction and correction of all streams (T, k, n)."""

    def __init__(self, c: Config, self_attn: Mixer, mlp: GatedMLP, per_layer: PerLayerGate) -> None:
        super().__init__()
        self.altup = AltUp(c)
        self.laurel = Laurel(c)
        self.input_layernorm = rms_norm(c)
        self.self_attn = self_attn
        self.post_attention_layernorm = rms_norm(c)
        self.pre_feedforward_layernorm = rms_norm(c)
        self.mlp = mlp
        self.post_feedforward_layernorm = rms_norm(c)
        self.per_layer = per_layer
        self.cache_spec = self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        predicted = self.altup.predict(x)
        corrected = self.altup.correct(predicted, self._activate(predicted, step, cache))
        added = self.per_layer(self.altup.scaled_first(corrected), step)
        return ops.add_to_later(corrected, added)

    def _activate(self, predicted: Tensor, step: Step, cache: PagedKV) -> Tensor:
        active = ops.select_stream(predicted, 0)
        normed = self.input_layernorm(active)
        attended = self.post_attention_layernorm(self.self_attn(normed, step, cache))
        joined = ops.add(ops.add(active, attended), self.laurel(normed))
        x = ops.scale(joined, 0.5**0.5)
        fed = self.mlp(self.pre_feedforward_layernorm(x))
        return ops.add(x, self.post_feedforward_layernorm(fed))


def build(c: Config) -> CausalLM:
    stream = Streams(c)
    ropes = {layer_type: rope_of(c, layer_type) for layer_type in c.rope_parameters}

    def layer(index: int) -> Layer:
        rope, window = ropes[c.layer_type(index)], c.window(index)
        attention = NormedAttention if index < c.num_own_caches else BorrowingAttention
        deviations = c.deviations(index)

        def gate(x: Tensor, up: Tensor) -> Tensor:
            return ops.gelu_tanh_mul(x if deviations is None else ops.sparsify(x, deviations), up)

        gated = PerLayerGate(c, stream.per_layer, index)
        return Layer(c, attention(c, rope, window=window), GatedMLP(c, gate), gated)

    return CausalLM(
        c,
        layer,
        embed_scale=c.hidden_size**0.5,
        final_softcap=c.final_logit_softcapping,
        stream=stream,
        cache_owners=c.cache_owners,
    )


FAMILY = Family(
    "gemma3n",
    ("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
    ("gemma3n_text", "gemma3n"),
    ("gemma3n",),
    Config,
    build,
    NAMES,
    unused=UNUSED,
    spreads=None,  # sparse gates look at all of a row's values
)
