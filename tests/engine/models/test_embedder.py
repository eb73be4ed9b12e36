"""Decoders that embed: the last token's hidden state, where their files say so."""

import json
from pathlib import Path

import gguf
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import Qwen3Config, Qwen3Model

from engine.api import EngineError
from engine.checkpoint import CheckpointError, open_checkpoint
from engine.core.admission import refuse_misuse
from engine.models.blueprint import blueprint
from engine.models.card import describe
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import write_gguf
from tests.engine.made_models import SIZES, config_of, make, stored
from tests.engine.models.test_bert import modules
from tests.engine.vectors import embed, resident_of, start

TEXTS = [[7, 61, 33, 5, 18], [9], [44] * 70, [44] * 70, list(range(5, 64))]
KEYS = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.key_length": 8,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.freq_base": 10000.0,
    "pooling_type": 3,
}


@pytest.fixture(scope="module")
def qwen3() -> Qwen3Model:
    return make(Qwen3Model, Qwen3Config(**SIZES, tie_word_embeddings=True))


@pytest.fixture
def folder(qwen3, tmp_path) -> Path:
    """As Qwen3-Embedding is published: a causal model's name, and no head."""
    config = config_of(qwen3) | {"architectures": ["Qwen3ForCausalLM"]}
    return modules(write_hf(tmp_path / "m", config, stored(qwen3)), mode="lasttoken")


@pytest.fixture(scope="module")
def expected(qwen3) -> Tensor:
    with torch.no_grad():
        last = [qwen3(torch.tensor([ids])).last_hidden_state[0, -1] for ids in TEXTS]
    return F.normalize(torch.stack(last), dim=-1)


def test_the_last_token_is_the_text(folder, expected):
    """Read in parts, and after a prefix that is there already."""
    assert (embed(resident_of(folder), TEXTS) - expected).abs().max() <= 1e-5


def test_a_program_gives_the_same(folder, expected):
    """In bfloat16, and all of it native."""
    vectors = embed(resident_of(folder, "tiled", torch.bfloat16), TEXTS)

    assert (F.cosine_similarity(vectors, expected) > 0.99).all()


def test_gguf_says_so_by_a_number(folder, expected, tmp_path):
    """llama.cpp's for the last token."""
    path = tmp_path / "m.gguf"
    write_gguf(folder, path, gguf.MODEL_ARCH.QWEN3, KEYS)

    assert (embed(resident_of(path), TEXTS) - expected).abs().max() <= 1e-5


def test_what_its_other_files_say_is_on_the_card(folder):
    """Prompts by their names, and by the model's name that its vectors may be cut."""
    prompts = {"query": "Instruct: find\nQuery:", "document": ""}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    with open_checkpoint(folder) as checkpoint:
        plain = describe(checkpoint, torch.float32)
    with open_checkpoint(folder.rename(folder.parent / "Qwen3-Embedding-0.6B")) as checkpoint:
        named = describe(checkpoint, torch.float32)

    assert plain.prompts == prompts
    assert (plain.is_matryoshka, named.is_matryoshka) == (False, True)


def test_it_is_for_embedding_alone(folder):
    """It has no head, and says so where it is asked to generate."""
    with open_checkpoint(folder) as checkpoint:
        card = describe(checkpoint, torch.float32)
    traits = resident_of(folder).sequences.traits

    assert (card.tasks, card.embedding_size) == (("embedding",), 32)
    refuse_misuse(start(0, [1]), traits)
    with pytest.raises(EngineError, match="does not generate"):
        refuse_misuse(start(0, [1], wants_vector=False), traits)


def test_the_mean_of_what_only_looks_back_is_refused(folder):
    """No model that we know is trained so."""
    modules(folder, mode="mean_tokens")
    with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match="mean"):
        blueprint(checkpoint)
