"""What Gemma 3n and 4 have in common: shared caches, per-layer embeddings, and their names."""

from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.gemma import Activation
from engine.models.gemma2 import Cap
from engine.models.meta import Size, gguf
from engine.models.names import Name, Names
from engine.models.sliding import SlidingConfig

Count = Annotated[int, Meta(ge=0, le=2**20)]


class SharingConfig(SlidingConfig, frozen=True, kw_only=True):
    """The last num_kv_shared_layers layers have no keys and values of their own."""

    hidden_activation: Activation = "gelu_pytorch_tanh"
    sliding_window: Annotated[Size, gguf("attention.sliding_window")]
    final_logit_softcapping: Annotated[Cap | None, gguf("final_logit_softcapping")] = None
    num_kv_shared_layers: Annotated[Count, gguf("attention.shared_kv_layers")] = 0
    hidden_size_per_layer_input: Annotated[Count, gguf("embedding_length_per_layer_input")] = 0
    vocab_size_per_layer_input: Annotated[int, Meta(ge=0, le=2**24)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.vocab_size_per_layer_input:
            force_setattr(self, "vocab_size_per_layer_input", self.vocab_size)
        types = [self.slides(i) for i in range(self.num_hidden_layers)]
        if set(types[: max(0, self.num_own_caches)]) != set(types):
            raise ValueError(f"{self.num_kv_shared_layers} layers share caches that none keeps")

    @property
    def num_own_caches(self) -> int:
        """How many layers, the first ones, have a cache of their own."""
        return self.num_hidden_layers - self.num_kv_shared_layers

    @property
    def cache_owners(self) -> list[int]:
        """Whose cache each layer reads: its own, or that of the last of its type to have one."""
        last = {self.slides(i): i for i in range(self.num_own_caches)}
        shared = range(self.num_own_caches, self.num_hidden_layers)
        return [*range(self.num_own_caches), *(last[self.slides(i)] for i in shared)]


def per_layer_names(inputs: str) -> Names:
    """inputs: the path of the model's `PerLayerInputs`; gates are at `per_layer` of a layer."""
    gate = "model.layers.{i}.per_layer"
    return {
        f"{inputs}.embed_tokens": Name("per_layer_token_embd", hf="model.embed_tokens_per_layer"),
        f"{inputs}.projection": Name("per_layer_model_proj", hf="model.per_layer_model_projection"),
        f"{inputs}.norm": Name("per_layer_proj_norm", hf="model.per_layer_projection_norm"),
        f"{gate}.gate": Name("blk.{i}.inp_gate", hf=f"{gate}_input_gate"),
        f"{gate}.projection": Name("blk.{i}.proj", hf=f"{gate}_projection"),
        f"{gate}.norm": Name("blk.{i}.post_norm", hf="model.layers.{i}.post_per_layer_input_norm"),
    }


UNUSED = (
    # Released files hold these for the layers, too, that read another's cache.
    *("model.layers.*.self_attn.k_proj.*", "model.layers.*.self_attn.v_proj.*"),
    *("model.layers.*.self_attn.k_norm.*", "model.layers.*.self_attn.v_norm.*"),
    *("blk.*.attn_k.*", "blk.*.attn_v.*", "blk.*.attn_k_norm.*"),
    # How a wrapper's towers reach the text model.
    *("model.embed_vision.*", "embed_vision.*", "model.embed_audio.*", "embed_audio.*"),
)
"""Tensors that files may hold and that the text model has no use for."""
