"""Tiny models made with transformers from a seed, for what the fixtures lack."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from engine.checkpoint import open_checkpoint
from engine.residency.loader import load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import write_hf

PROMPT = [7, 61, 33, 5, 5, 18, 50, 64, 12, 90, 3, 44, 71, 29, 8, 66, 15, 90, 2, 37, 58, 21, 77, 40]

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def make(
    architecture: Callable[[Any], PreTrainedModel], config: PreTrainedConfig
) -> PreTrainedModel:
    """A model whose weights spread so widely that a slip in any operation shows."""
    torch.manual_seed(3)
    model = architecture(config).eval()
    for parameter in model.parameters():
        around = 1.0 if parameter.ndim == 1 else 0.0
        torch.nn.init.normal_(parameter, around, 0.3)
    return model


def config_of(model: PreTrainedModel) -> dict[str, Any]:
    """Its config.json, as transformers writes it."""
    return model.config.to_dict() | {"architectures": [type(model).__name__]}


def write(folder: Path, model: PreTrainedModel) -> Path:
    return write_hf(folder, config_of(model), stored(model))


def stored(model: PreTrainedModel) -> dict[str, Tensor]:
    """Its tensors, under transformers' own names."""
    return {name: tensor for name, tensor in model.state_dict().items() if _is_stored(model, name)}


def ours(path: Path) -> Tensor:
    """Log-probabilities after each token of PROMPT, in float32."""
    with open_checkpoint(path) as checkpoint:
        model = load(checkpoint, "dense", torch.float32, lambda _: None, lambda: False)
        return logprobs_of(model, PROMPT)


@torch.no_grad()
def theirs(model: PreTrainedModel) -> Tensor:
    return model(torch.tensor([PROMPT])).logits[0].log_softmax(-1)


def _is_stored(model: PreTrainedModel, name: str) -> bool:
    return not (model.config.tie_word_embeddings and name == "lm_head.weight")
