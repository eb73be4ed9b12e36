"""Real processes keep to the OpenAPI document, whatever fits it or does not."""

import subprocess
import sys

import pytest
from transformers import BertConfig, BertForSequenceClassification, BertModel

from gateway_process import ROOT
from tests.engine.made_models import make, write

CHAT = "llama-plain-F32"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}


@pytest.fixture
def gateway(launch, tmp_path):
    """Of a model for each task."""
    (tmp_path / f"{CHAT}.gguf").symlink_to(ROOT / f"tests/fixtures/llama-plain/{CHAT}.gguf")
    vectors = make(BertModel, BertConfig(**SIZES))
    judge = make(BertForSequenceClassification, BertConfig(**SIZES, num_labels=1))
    for name, model in (("vectors", vectors), ("judge", judge)):
        write(tmp_path / name, model)
        (tmp_path / name / "vocab.txt").write_text("\n".join(WORDS))
    return launch(tmp_path, "--dtype", "float32", "--memory", "1GiB")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_answers_are_as_documented(gateway):
    """Hundreds of requests for each operation, and wrong ones, which are refused; it lives on."""
    run = subprocess.run(
        [
            *(sys.executable, ROOT / "tests/support/contract.py", gateway.url),
            *("--model", CHAT, "--embedder", "vectors", "--reranker", "judge"),
            *("--unanswered", "/infill", "--examples", "200", "--negative", "50", "--aliases"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert gateway.process.poll() is None
