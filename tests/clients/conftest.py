"""One gateway for every client, with room for one of its chat models at a time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BertModel

from gateway_process import ROOT, Gateway, start
from programs import run_example
from tests.engine.made_models import make, write

MODEL, OTHER, EMBEDDER = "SmolLM2-135M-Instruct-Q4_1", "gemma-3-270m-Q4_K_M", "embed"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd", "what", "is", "?"]
# the demo's Gemma is a base model and has none
TEMPLATE = """\
{{ bos_token }}{% for message in messages %}<start_of_turn>\
{{ 'model' if message.role == 'assistant' else 'user' }}
{{ message.content }}<end_of_turn>
{% endfor %}<start_of_turn>model
"""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("clients")
    models = folder / "models"
    write(models / EMBEDDER, make(BertModel, _bert()))
    (models / EMBEDDER / "vocab.txt").write_text("\n".join(WORDS))
    for name in (MODEL, OTHER):
        (models / f"{name}.gguf").symlink_to(ROOT / f"models/{name}.gguf")
    (folder / "gemma.jinja").write_text(TEMPLATE)
    config = folder / "roundhouse.toml"
    config.write_text(
        f'[chat_templates]\n"{OTHER}" = "{folder / "gemma.jinja"}"\n'
        f'[presets.brief]\nmodel = "{MODEL}"\nmax_tokens = 40\n'
    )
    started = start(models, folder / "log", "--memory", "1200MiB", "--config", str(config))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def answers(gateway: Gateway) -> Callable[[str, str], "Answers"]:
    """What an example printed in an environment; every example runs once."""
    known: dict[str, Answers] = {}

    def answers(script: str, environment: str) -> Answers:
        if script not in known:
            known[script] = Answers(gateway, script, environment)
        return known[script]

    return answers


class Answers:
    """What one example printed, and the lines that the gateway logged of its requests, in order."""

    def __init__(self, gateway: Gateway, script: str, environment: str) -> None:
        before = len(gateway.log.read_text())
        given = (gateway.url, MODEL, OTHER, EMBEDDER)
        self.printed: dict[str, Any] = run_example(script, environment, *given)
        self.requests = requests_since(gateway.log, before)


def requests_since(log: Path, start: int) -> list[dict[str, Any]]:
    """A log's lines of requests from a character on."""
    lines = [line for line in log.read_text()[start:].splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["event"] == "request"]


def _bert() -> BertConfig:
    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
    )
