"""Embeddings and reranking through the official SDK and plain HTTP."""

import base64
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from engine.api import EngineError, PairPrompt
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import Live, add_model, serving

URL = "/v1/embeddings"


@pytest.fixture
async def live(fake_engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Live]:
    """A gateway with a model of each kind; two of them fit at once."""
    kinds: dict[str, dict[str, Any]] = {
        "embed": {"tasks": ("embedding",), "embedding_size": 2, "context_length": 8},
        "doll": {"tasks": ("embedding",), "embedding_size": 2, "is_matryoshka": True},
        "rank": {"tasks": ("rerank",)},
        "chat": {},
        "base": {"tasks": ("completion",)},
    }
    for name, card in kinds.items():
        path = add_model(fake_engine, tmp_path, name, **card).path
        fake_engine.vector_sizes[path] = 1 if name == "rank" else 2
    async with serving(fake_engine, tmp_path) as live:
        yield live


@pytest.fixture
async def client(live: Live):
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        yield client


async def test_the_sdk_reads_what_it_asks_for(client, live):
    """It asks for base64 unless told otherwise; both are the same numbers."""
    packed = await client.embeddings.create(model="embed", input=["one two", "three"])
    plain = await client.embeddings.create(
        model="embed", input=["one two", "three"], encoding_format="float"
    )

    assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
    assert [each.embedding[0] for each in plain.data] == [2.0, 1.0]
    assert [each.index for each in plain.data] == [0, 1]
    assert (plain.usage.prompt_tokens, plain.usage.total_tokens) == (3, 3)
    assert sorted(live.engine.discarded) == [1, 2, 3, 4]


async def test_base64_is_little_endian_float32(client, live):
    """As OpenAI's."""
    body = {"model": "embed", "input": "one", "encoding_format": "base64"}
    reply = (await live.http.post(URL, json=body)).json()

    (first, _) = struct.unpack("<2f", base64.b64decode(reply["data"][0]["embedding"]))
    assert (reply["object"], reply["model"], first) == ("list", "embed", 1.0)


async def test_what_cannot_be_embedded_is_refused(client, live):
    """By the field at fault, and before any model is loaded."""
    for change in ({"input": "a b c d e f g h i"}, {"input": [5000]}):
        reply = await live.http.post(URL, json={"model": "embed"} | change)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")

    assert not live.engine.loads


async def test_fewer_dimensions_are_the_first_ones(client):
    """Of length 1 again, where the model was trained for it."""
    reply = await client.embeddings.create(model="doll", input="a b", dimensions=1)
    whole = await client.embeddings.create(model="doll", input="a b", dimensions=2)

    assert reply.data[0].embedding == [1.0]
    assert math.hypot(*whole.data[0].embedding) > 2


async def test_a_text_that_the_tokenizer_refuses_names_the_input(client, live):
    """The engine knows prompts alone."""
    live.engine.errors["prepare"] = EngineError("bad_request", "too many characters", "prompt")
    reply = await live.http.post(URL, json={"model": "embed", "input": "a"})

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")


async def test_embedding_and_chat_models_take_turns(client, live):
    """An embedding model is loaded and evicted as any other."""
    messages = [{"role": "user", "content": "Hi"}]
    await client.chat.completions.create(model="chat", messages=messages)
    await client.embeddings.create(model="doll", input="one")
    await client.embeddings.create(model="embed", input="one")
    await live.answered()

    assert len(live.engine.loads) == 3
    assert len(live.engine.evictions) == 1


async def test_a_model_that_embeds_does_not_complete(client):
    """Nor does it chat."""
    with pytest.raises(openai.BadRequestError) as refused:
        await client.completions.create(model="embed", prompt="once")

    assert refused.value.param == "model"


async def test_the_best_documents_come_first(live):
    """With their places in the request, and scores from 0 to 1."""
    documents = ["a", {"text": "b c d"}, "e f"]
    body = {"model": "rank", "query": "q", "documents": documents, "top_n": 2}
    replies = [
        (await live.http.post(url, json=body)).json()
        for url in ("/v1/rerank", "/v2/rerank", "/rerank")
    ]
    reply = replies[0]

    assert [each["results"] for each in replies] == [reply["results"]] * 3
    assert [result["index"] for result in reply["results"]] == [1, 2]
    assert reply["results"][0]["relevance_score"] == pytest.approx(1 / (1 + math.exp(-4)))
    assert "document" not in reply["results"][0]
    assert reply["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert live.engine.prepared[0][1] == PairPrompt("q", "a")
