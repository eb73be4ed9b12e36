from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.models.meta import BaseConfig
from engine.models.names import Fused, Names
from engine.nn.decoder import CausalLM
from engine.nn.embedder import Embedder
from engine.nn.model import Model
from engine.nn.ranker import Ranker


@dataclass(frozen=True, slots=True)
class Spread:
    """What is shared out among ranks that compute a model together: heads and inner widths.

    widths, kv_heads: keys of the config. kv_heads: beside num_key_value_heads.
    """

    widths: tuple[str, ...] = (
        "intermediate_size",
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "moe_shared_expert_intermediate_size",
    )
    kv_heads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models, declared.

    architectures, model_types: Hugging Face's words for it; gguf_architectures: GGUF's.
    build: the model without its weights, from an instance of `config`.
    unused: patterns of tensor names that files may hold beside what the model needs.
    fused: stored matrices that hold several of the model's.
    transposed: patterns of matrices and stacks of them that Hugging Face has as (in, out) or
    (n, in, out), unless they are packed.
    spreads: how a model is shared out among ranks; None where it cannot be.
    """

    name: str
    architectures: tuple[str, ...]
    model_types: tuple[str, ...]
    gguf_architectures: tuple[str, ...]
    config: type[BaseConfig]
    build: Callable[[Any], Model]
    names: Names
    unused: tuple[str, ...] = ()
    fused: tuple[Fused, ...] = ()
    transposed: tuple[str, ...] = ()
    spreads: Spread | None = Spread()

    def model(self, config: BaseConfig) -> Model:
        """Without its weights; a decoder without its head where its file says that it embeds or ranks.

        Raises ValueError for settings that are right one by one, and not together.
        """
        model = self.build(config)
        if not isinstance(model, CausalLM):
            return model
        return ranker(model, config) or embedder(model, config) or model


def ranker(model: CausalLM, config: BaseConfig) -> Ranker | None:
    """For files with a matrix of scores, of yes and no in this order or of yes alone, or with ids."""
    if config.score_labels:
        if config.score_labels > 2:  # yes and no
            raise ValueError(f"a classifier of {config.score_labels} labels; a reranker has one")
        no = 1 if config.score_labels > 1 else None
        return Ranker(model, yes=0, no=no, num_rows=config.score_labels)
    if not config.rank_token_ids:
        return None
    if max(config.rank_token_ids) >= config.vocab_size:
        raise ValueError(f"{config.rank_token_ids}: not in a vocabulary of {config.vocab_size}")
    yes, no = (*config.rank_token_ids, None)[:2]
    assert yes is not None, "the first of some ids"
    return Ranker(model, yes=yes, no=no)


def embedder(model: CausalLM, config: BaseConfig) -> Embedder | None:
    """For files that say how vectors are made. Raises ValueError for what no model does."""
    if config.pooling is None:
        return None
    if config.pooling != "last" or config.dense_sizes:
        behind = " with matrices behind it" if config.dense_sizes else ""
        raise ValueError(f"{config.pooling} pooling{behind} of a decoder is not supported")
    return Embedder(model, is_unit=config.normalizes)
