"""Embeddings and reranking with real processes: the SDK's numbers are the original's."""

from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest
import torch
from openai import OpenAI
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedModel,
)

from gateway_process import ROOT, Gateway
from tests.engine.made_models import make, write

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a", "##b", "what", "is", "?"]
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}
TEXTS = ["what is a?", "b c d", "e f ga hb"]
CHAT = "llama-plain-F32"


@pytest.fixture(scope="module")
def originals() -> dict[str, PreTrainedModel]:
    return {
        "embed": make(BertModel, BertConfig(**SIZES)),
        "rank": make(BertForSequenceClassification, BertConfig(**SIZES, num_labels=1)),
    }


@pytest.fixture(scope="module")
def gateway(launch: Callable[..., Gateway], originals, tmp_path_factory) -> Gateway:
    """Of room for the model that chats, or for the two others."""
    folder: Path = tmp_path_factory.mktemp("models")
    (folder / f"{CHAT}.gguf").symlink_to(ROOT / f"tests/fixtures/llama-plain/{CHAT}.gguf")
    for name, model in originals.items():
        write(folder / name, model)
        (folder / name / "vocab.txt").write_text("\n".join(WORDS))
    return launch(folder, "--dtype", "float32", "--memory", "56960000")


def ids(text: str) -> list[int]:
    """By hand: every letter and mark is a word here but for the pieces within one."""
    spaced = text.replace("?", " ?").replace("ga", "g ##a").replace("hb", "h ##b")
    return [WORDS.index(word) for word in spaced.split()]


def vector(model: PreTrainedModel, text: str) -> torch.Tensor:
    with torch.no_grad():
        states = model(torch.tensor([[2, *ids(text), 3]])).last_hidden_state[0]
    return F.normalize(states.mean(0), dim=0)


def score(model: PreTrainedModel, query: str, text: str) -> float:
    first, second = [2, *ids(query), 3], [*ids(text), 3]
    types = torch.tensor([[0] * len(first) + [1] * len(second)])
    with torch.no_grad():
        return model(torch.tensor([first + second]), token_type_ids=types).logits.sigmoid().item()


def test_models_of_every_kind_take_turns(gateway, originals):
    """One that chats has to leave for one that embeds and one that ranks, and comes back."""
    expected = torch.stack([vector(originals["embed"], text) for text in TEXTS])
    for _ in range(2):
        gateway.sdk.completions.create(model=CHAT, prompt="a", max_tokens=2)
        reply = gateway.sdk.embeddings.create(model="embed", input=TEXTS)
        body = {"model": "rank", "query": TEXTS[0], "documents": TEXTS[1:]}
        ranked = httpx.post(f"{gateway.url}/v1/rerank", json=body).json()

        found = torch.tensor([each.embedding for each in reply.data])
        assert (found - expected).abs().max() < 1e-4
        assert reply.usage.prompt_tokens == sum(len(ids(text)) + 2 for text in TEXTS)
        for result in ranked["results"]:
            wanted = score(originals["rank"], TEXTS[0], TEXTS[1 + result["index"]])
            assert result["relevance_score"] == pytest.approx(wanted, abs=1e-5)
        assert gateway.state(CHAT) == "unloaded"


def test_many_inputs_are_one_request(gateway, originals):
    """More than a step has sequences, in the order they were given."""
    inputs = [TEXTS[index % 3] for index in range(100)]
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
        reply = client.embeddings.create(model="embed", input=inputs, encoding_format="float")

    expected = torch.stack([vector(originals["embed"], text) for text in inputs])
    assert (torch.tensor([e.embedding for e in reply.data]) - expected).abs().max() < 1e-4


def test_a_text_that_is_too_long_is_refused(gateway):
    """By the number of its tokens, with those that the model adds."""
    with pytest.raises(openai.BadRequestError, match="33 tokens; this model reads 32"):
        gateway.sdk.embeddings.create(model="embed", input=["a", "a " * 31])


def test_the_list_says_what_a_model_is_for(gateway):
    """In `tasks`; whoever asks by name need not wait until all were looked at."""
    for name, task in (("embed", "embedding"), ("rank", "rerank")):
        model = httpx.get(f"{gateway.url}/v1/models/{name}").json()

        assert model["tasks"] == [task]
