"""Encoders: BERT and RoBERTa against transformers, from both formats and in all forms."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

from engine.api import EngineError
from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.card import describe
from tests.engine.hybrid_models import write_gguf
from tests.engine.made_models import SIZES, make, write
from tests.engine.vectors import embed, resident_of

TEXTS = [[7, 61, 33, 5, 18], [9], [44] * 30, [3, 71, 29, 8, 66, 15, 90], list(range(5, 64))]
BERT = {key: SIZES[key] for key in SIZES.keys() - {"num_key_value_heads", "head_dim"}} | {
    "max_position_embeddings": 64
}
ROBERTA = BERT | {"pad_token_id": 1, "type_vocab_size": 1}
FAR = 1e-5


def modules(folder: Path, *, mode: str = "mean_tokens", is_unit: bool = True) -> Path:
    """Puts sentence-transformers' files into a model's folder."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if is_unit else [])]
    listed = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"s.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    config = {"pooling_mode_cls_token": False, f"pooling_mode_{mode}": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(config))
    return folder


@torch.no_grad()
def states(model: PreTrainedModel, ids: list[int]) -> Tensor:
    return model(torch.tensor([ids])).last_hidden_state[0]


@pytest.fixture(scope="module")
def bert() -> BertModel:
    return make(BertModel, BertConfig(**BERT))


@pytest.fixture(scope="module")
def roberta() -> RobertaModel:
    return make(RobertaModel, RobertaConfig(**ROBERTA))


POOLS: dict[str, Any] = {
    "mean_tokens": lambda x: x.mean(0),
    "cls_token": lambda x: x[0],
    "lasttoken": lambda x: x[-1],
}


@pytest.mark.parametrize("mode", POOLS)
@pytest.mark.parametrize("is_unit", [True, False])
def test_a_text_has_the_vector_of_its_original(bert, tmp_path, mode, is_unit):
    """Any pooling, of length 1 or not, whatever other texts are in the step."""
    folder = modules(write(tmp_path / "m", bert), mode=mode, is_unit=is_unit)
    expected = torch.stack([POOLS[mode](states(bert, ids)) for ids in TEXTS])
    expected = F.normalize(expected, dim=-1) if is_unit else expected

    assert (embed(resident_of(folder), TEXTS) - expected).abs().max() <= FAR


def test_without_sentence_transformers_files_it_is_the_mean(roberta, tmp_path):
    """Of length 1; and RoBERTa's positions begin behind the padding's."""
    folder = write(tmp_path / "m", roberta)
    expected = F.normalize(torch.stack([states(roberta, ids).mean(0) for ids in TEXTS]), dim=-1)

    assert (embed(resident_of(folder), TEXTS) - expected).abs().max() <= FAR


def test_a_program_gives_the_same(bert, tmp_path):
    """In bfloat16 and tiled."""
    folder = modules(write(tmp_path / "m", bert))
    expected = F.normalize(torch.stack([states(bert, ids).mean(0) for ids in TEXTS]), dim=-1)

    vectors = embed(resident_of(folder, "tiled", torch.bfloat16), TEXTS)

    assert (F.cosine_similarity(vectors, expected) > 0.999).all()


KEYS = {
    "block_count": 4,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.layer_norm_epsilon": 1e-12,
    "attention.causal": False,
}


@pytest.mark.parametrize(("number", "mode"), [(1, "mean_tokens"), (2, "cls_token")])
def test_gguf_says_how_it_pools(bert, tmp_path, number, mode):
    """By a number of llama.cpp's; the pooler of training is not looked for."""
    folder = write(tmp_path / "m", bert)
    path = write_gguf(
        folder,
        tmp_path / "m.gguf",
        gguf.MODEL_ARCH.BERT,
        KEYS | {"pooling_type": number},
        leave_out=("pooler.dense.weight", "pooler.dense.bias"),
    )
    expected = F.normalize(torch.stack([POOLS[mode](states(bert, i)) for i in TEXTS]), dim=-1)

    assert (embed(resident_of(path), TEXTS) - expected).abs().max() <= FAR


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        (BertForSequenceClassification, BertConfig(**BERT, num_labels=1)),
        (RobertaForSequenceClassification, RobertaConfig(**ROBERTA, num_labels=1)),
    ],
)
def test_a_pair_has_the_score_of_its_original(architecture, config, tmp_path):
    """With the second text told apart from the first where the model does so."""
    model = make(architecture, config)
    resident = resident_of(write(tmp_path / "m", model))
    pairs = [(ids[:-1], ids[-1:]) for ids in TEXTS if len(ids) > 1]

    scores = embed(resident, [a + b for a, b in pairs], [len(a) for a, _ in pairs])

    for (first, second), score in zip(pairs, scores, strict=True):
        types = torch.tensor([[0] * len(first) + [1] * len(second)]).clamp(
            max=config.type_vocab_size - 1
        )
        with torch.no_grad():
            expected = model(torch.tensor([first + second]), token_type_ids=types).logits[0]
        assert (score - expected).abs() <= FAR * max(1, expected.abs().item())


def test_the_card_says_what_it_is_for(bert, tmp_path):
    """Nothing is kept of a token, and what a text takes in a step is in the workspace."""
    with open_checkpoint(modules(write(tmp_path / "m", bert))) as checkpoint:
        card = describe(checkpoint, torch.float32)

    assert (card.tasks, card.embedding_size, card.context_length) == (("embedding",), 32, 64)
    assert [footprint.kv_bytes_per_token for footprint in card.footprints] == [0]
    assert card.footprints[0].weights_bytes == sum(
        each.numel() * 4 for name, each in bert.named_parameters() if "pooler" not in name
    )


def test_too_long_a_text_is_refused(bert, tmp_path):
    """It is read whole or not at all."""
    resident = resident_of(write(tmp_path / "m", bert))

    with pytest.raises(EngineError, match="65 tokens, and the model reads 64"):
        embed(resident, [[5] * 65])


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"modules.json": [{"type": "s.models.CNN", "path": "2_CNN"}]}, "'CNN'"),
        ({"modules.json": [{"type": "s.models.Pooling", "path": "../x"}]}, "pooling None"),
        ({"modules.json": [{"type": "s.Pooling", "path": "1_Pooling"}],
          "1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "max_tokens"),
    ],
)  # fmt: skip
def test_what_would_be_left_out_is_refused(bert, tmp_path, files, complaint):
    """Modules and poolings that we do not have change the vectors, so there is no model."""
    folder = write(tmp_path / "m", bert)
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))

    with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match=complaint):
        blueprint(checkpoint)


def test_a_classifier_of_many_labels_is_no_reranker(tmp_path):
    """It says something else of a text."""
    model = make(BertForSequenceClassification, BertConfig(**BERT, num_labels=3))
    with (
        open_checkpoint(write(tmp_path / "m", model)) as checkpoint,
        pytest.raises(CheckpointError, match="3 labels"),
    ):
        blueprint(checkpoint)
