"""Newer encoders against transformers, from both formats: ModernBERT, nomic-bert, EmbeddingGemma."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import save_file
from structlog.testing import capture_logs
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import (
    Gemma3TextConfig,
    Gemma3TextModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertModel,
    NomicBertConfig,
    NomicBertModel,
    PreTrainedModel,
)

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.hybrid_models import check_uses_all, write_gguf
from tests.engine.made_models import SIZES, make
from tests.engine.models.test_bert import modules, states
from tests.engine.vectors import embed, resident_of

TEXTS = [[7, 61, 33, 5, 18], [9], [44] * 30, [3, 71, 29, 8, 66, 15, 90], list(range(5, 64))]
FAR = 1e-4
COMMON = {key: SIZES[key] for key in SIZES.keys() - {"num_key_value_heads", "head_dim"}}
MODERN: dict[str, Any] = COMMON | {"local_attention": 12, "cls_token_id": 1, "sep_token_id": 2}
GEMMA = SIZES | {"num_hidden_layers": 6, "query_pre_attn_scalar": 8, "sliding_window": 12}

KEYS: dict[str, Any] = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.causal": False,
    "pooling_type": 1,
}


def modern() -> ModernBertModel:
    return make(ModernBertModel, ModernBertConfig(**MODERN))


def nomic() -> NomicBertModel:
    return make(NomicBertModel, NomicBertConfig(**COMMON))


def gemma() -> Gemma3TextModel:
    config = Gemma3TextConfig(**GEMMA, use_bidirectional_attention=True)
    return make(Gemma3TextModel, config)


def saved(model: PreTrainedModel, folder: Path) -> Path:
    """As transformers writes it, which for nomic-bert are the words of the code it came with."""
    model.save_pretrained(folder)
    return folder


def means(model: PreTrainedModel) -> Tensor:
    return F.normalize(torch.stack([states(model, ids).mean(0) for ids in TEXTS]), dim=-1)


@pytest.mark.parametrize("made", [modern, nomic, gemma])
def test_a_text_has_the_vector_of_its_original(made: Callable[[], PreTrainedModel], tmp_path):
    """Read alone or beside others; all that is stored is used, and all of it runs natively."""
    model = made()
    folder = saved(model, tmp_path / "m")
    check_uses_all(folder)

    assert (embed(resident_of(folder), TEXTS) - means(model)).abs().max() <= FAR
    with capture_logs() as logs:
        rough = embed(resident_of(folder, "tiled", torch.bfloat16), TEXTS)
    assert "ops_run_in_torch" not in {log["event"] for log in logs}
    assert (F.cosine_similarity(rough, means(model)) > 0.99).all()


GGUF: dict[str, tuple[Callable[[], PreTrainedModel], gguf.MODEL_ARCH, dict[str, Any]]] = {
    "modern-bert": (
        modern,
        gguf.MODEL_ARCH.MODERN_BERT,
        {
            "attention.layer_norm_epsilon": 1e-5,
            "attention.sliding_window": 12,
            "attention.sliding_window_pattern": 3,
            "rope.freq_base": 160000.0,
            "rope.freq_base_swa": 10000.0,
            "hidden_activation": "gelu",
            "vocab_size": 96,
        },
    ),
    "nomic-bert": (
        nomic,
        gguf.MODEL_ARCH.NOMIC_BERT,
        {"attention.layer_norm_epsilon": 1e-12, "rope.freq_base": 1000.0},
    ),
    "gemma-embedding": (
        gemma,
        gguf.MODEL_ARCH.GEMMA_EMBEDDING,
        {
            "block_count": 6,
            "attention.head_count_kv": 2,
            "attention.key_length": 8,
            "attention.value_length": 8,
            "attention.layer_norm_rms_epsilon": 1e-6,
            "attention.sliding_window": 12,
            "rope.freq_base": 1e6,
            "rope.freq_base_swa": 1e4,
        },
    ),
}


@pytest.mark.parametrize("name", GGUF)
def test_gguf_is_the_same_model(name, tmp_path):
    """With llama.cpp's keys; Gemma's norms have the one added."""
    made, arch, keys = GGUF[name]
    model = made()
    path = write_gguf(
        saved(model, tmp_path / "m"),
        tmp_path / "m.gguf",
        arch,
        KEYS | keys,
        changes={"norm.weight": lambda weight: weight + 1} if name == "gemma-embedding" else {},
    )

    assert (embed(resident_of(path), TEXTS) - means(model)).abs().max() <= FAR


def test_matrices_behind_the_mean(tmp_path):
    """EmbeddingGemma's two, which stand in folders of their own, before the length is made 1."""
    model = gemma()
    folder = with_dense(modules(saved(model, tmp_path / "m")))
    first, second = dense_weights()
    pooled = torch.stack([states(model, ids).mean(0) for ids in TEXTS])
    expected = F.normalize(pooled @ first.T @ second.T, dim=-1)
    check_uses_all(folder)

    assert (embed(resident_of(folder), TEXTS) - expected).abs().max() <= FAR


def dense_weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(*shape, generator=generator) for shape in ((40, 32), (32, 40))]


def with_dense(folder: Path, *, activation: str = "Identity") -> Path:
    """Puts sentence-transformers' files of two matrices into a folder that has its others."""
    listed = json.loads((folder / "modules.json").read_text())
    for number, weight in enumerate(dense_weights(), start=2):
        name = f"{number}_Dense"
        (folder / name).mkdir()
        save_file({"linear.weight": weight}, folder / name / "model.safetensors")
        sizes = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": False}
        config = sizes | {"activation_function": f"torch.nn.modules.linear.{activation}"}
        (folder / name / "config.json").write_text(json.dumps(config))
        listed.insert(number, {"path": name, "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


def test_matrices_with_an_activation_are_refused(tmp_path):
    """No model that we know has them, and without it the vectors were others."""
    folder = with_dense(modules(saved(gemma(), tmp_path / "m")), activation="Tanh")

    with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match="Tanh"):
        blueprint(checkpoint)


def test_a_gemma_that_looks_back_alone_is_none(tmp_path):
    """Without `use_bidirectional_attention` it was not trained to embed."""
    model = make(Gemma3TextModel, Gemma3TextConfig(**GEMMA))
    with (
        open_checkpoint(saved(model, tmp_path / "m")) as checkpoint,
        pytest.raises(CheckpointError, match="use_bidirectional_attention"),
    ):
        blueprint(checkpoint)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_pair_has_the_score_of_its_original(pooling, tmp_path):
    """ModernBERT's classifier, of the first token or of the mean."""
    config = ModernBertConfig(**MODERN, num_labels=1, classifier_pooling=pooling)
    model = make(ModernBertForSequenceClassification, config)
    with torch.no_grad():
        expected = torch.stack([model(torch.tensor([ids])).logits[0] for ids in TEXTS])

    scores = embed(resident_of(saved(model, tmp_path / "m")), TEXTS)

    assert (scores - expected).abs().max() <= FAR * expected.abs().max()


def test_no_text_is_longer_than_nomic_was_trained_for(tmp_path):
    """Its files name more positions, for a rope that is stretched beyond them."""
    folder = saved(nomic(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    published = config | {"n_positions": 8192, "max_trained_positions": 128}
    (folder / "config.json").write_text(json.dumps(published))

    with open_checkpoint(folder) as checkpoint:
        assert blueprint(checkpoint).model.context_length == 128
