"""Decoders that rerank: the logits of yes and no, from a head or from a matrix of their own."""

import json
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.card import describe
from tests.engine.hybrid_models import write_gguf
from tests.engine.made_models import SIZES, make, write
from tests.engine.models.test_embedder import KEYS
from tests.engine.vectors import embed, resident_of

TEXTS = [[7, 61, 33, 5, 18], [9], [44] * 40, list(range(5, 64))]
YES, NO = 31, 17
FAR = 1e-4


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def qwen3(request) -> Qwen3ForCausalLM:
    return make(Qwen3ForCausalLM, Qwen3Config(**SIZES, tie_word_embeddings=request.param))


def logits(model: Qwen3ForCausalLM) -> Tensor:
    with torch.no_grad():
        return torch.stack([model(torch.tensor([ids])).logits[0, -1] for ids in TEXTS])


def with_ids(folder: Path, **ids: int | None) -> Path:
    """sentence-transformers' files for a decoder that answers."""
    modules = [
        {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {
            "path": "1_LogitScore",
            "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_LogitScore").mkdir()
    (folder / "1_LogitScore/config.json").write_text(json.dumps(ids))
    return folder


def test_yes_less_no_is_the_score(qwen3, tmp_path):
    """Of the last token's logits; in float32 and as a program."""
    ids = {"true_token_id": YES, "false_token_id": NO}
    folder = with_ids(write(tmp_path / "m", qwen3), **ids)
    expected = logits(qwen3)[:, [YES]] - logits(qwen3)[:, [NO]]

    assert (embed(resident_of(folder), TEXTS) - expected).abs().max() <= FAR
    rough = embed(resident_of(folder, "tiled", torch.bfloat16), TEXTS)
    assert (rough - expected).abs().max() <= 0.1 * expected.abs().max()


def test_yes_may_stand_alone(qwen3, tmp_path):
    """Then its logit is the score."""
    folder = with_ids(write(tmp_path / "m", qwen3), true_token_id=YES, false_token_id=None)

    found = embed(resident_of(folder), TEXTS)

    assert (found - logits(qwen3)[:, [YES]]).abs().max() <= FAR


def test_gguf_has_the_two_rows(qwen3, tmp_path):
    """As llama.cpp's converter leaves them, and no other head."""
    folder = write(tmp_path / "m", qwen3)
    stored = load_file(folder / "model.safetensors")
    head = stored.pop("lm_head.weight", stored["model.embed_tokens.weight"])
    save_file(stored, folder / "model.safetensors")
    path = tmp_path / "m.gguf"
    write_gguf(
        folder,
        path,
        gguf.MODEL_ARCH.QWEN3,
        KEYS | {"pooling_type": 4},
        extra={"cls.output.weight": head[[YES, NO]]},
    )
    expected = logits(qwen3)[:, [YES]] - logits(qwen3)[:, [NO]]

    assert (embed(resident_of(path), TEXTS) - expected).abs().max() <= FAR


def test_a_classifier_of_one_label(tmp_path):
    """Its matrix has one row, and the score is of the last token."""
    config = Qwen3Config(**(SIZES | {"pad_token_id": 95}), num_labels=1)
    model = make(Qwen3ForSequenceClassification, config)
    with torch.no_grad():
        expected = torch.stack([model(torch.tensor([ids])).logits[0] for ids in TEXTS])

    found = embed(resident_of(write(tmp_path / "m", model)), TEXTS)

    assert (found - expected).abs().max() <= FAR


def test_the_first_files_are_known_by_their_name(tmp_path):
    """Qwen3-Reranker's are those of a chat model but for the name; other models keep their task."""
    sizes = SIZES | {"vocab_size": 9700, "hidden_size": 8, "num_hidden_layers": 1}
    model = make(Qwen3ForCausalLM, Qwen3Config(**sizes, tie_word_embeddings=True))
    named = write(tmp_path / "Qwen3-Reranker-0.6B", model)
    other = write(tmp_path / "Qwen3-0.6B", model)
    expected = logits(model)[:, [9693]] - logits(model)[:, [2152]]

    with open_checkpoint(named) as ranks, open_checkpoint(other) as chats:
        assert describe(ranks, torch.float32).tasks == ("rerank",)
        assert describe(chats, torch.float32).tasks == ("completion",)
    assert (embed(resident_of(named), TEXTS) - expected).abs().max() <= FAR


@pytest.mark.parametrize(
    ("ids", "labels", "complaint"),
    [({"true_token_id": 96}, 0, "vocabulary of 96"), ({}, 3, "3 labels")],
)
def test_what_is_no_reranker_is_refused(ids, labels, complaint, tmp_path):
    """Ids of tokens that there are not; classifiers that say something else of a text."""
    if labels:
        config = Qwen3Config(**SIZES, num_labels=labels)
        folder = write(tmp_path / "m", make(Qwen3ForSequenceClassification, config))
    else:
        model = make(Qwen3ForCausalLM, Qwen3Config(**SIZES, tie_word_embeddings=True))
        folder = with_ids(write(tmp_path / "m", model), **ids)

    with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match=complaint):
        blueprint(checkpoint)
