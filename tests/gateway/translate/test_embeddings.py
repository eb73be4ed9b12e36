"""Requests for vectors and scores: what is read, what is refused, what is written."""

import msgspec
import pytest

from engine.api import PairPrompt, TextPrompt, TokenPrompt
from gateway.errors import GatewayError
from gateway.openai.embeddings import EmbeddingRequest
from gateway.openai.rerank import RerankRequest
from gateway.translate.embeddings import read_embedding
from gateway.translate.rerank import read_rerank
from tests.gateway.fakes import make_card

EMBED = make_card("/m/e", tasks=("embedding",), embedding_size=2)
DOLL = make_card("/m/d", tasks=("embedding",), embedding_size=2, is_matryoshka=True)
RANK = make_card("/m/r", tasks=("rerank",))
CHAT = make_card("/m/c")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", [TextPrompt("a")]),
        (["a", "b"], [TextPrompt("a"), TextPrompt("b")]),
        ([1, 2], [TokenPrompt([1, 2])]),
        ([[1], [2, 3]], [TokenPrompt([1]), TokenPrompt([2, 3])]),
    ],
)
def test_every_kind_of_input(given, expected):
    """Texts are tokenized, token ids are used as they are."""
    job = read_embedding(EmbeddingRequest(model="e", input=given), EMBED)

    assert list(job.prompts) == expected


@pytest.mark.parametrize(
    ("card", "change", "param"),
    [
        (EMBED, {"input": ""}, "input"),
        (EMBED, {"input": []}, "input"),
        (EMBED, {"input": ["a", ""]}, "input"),
        (EMBED, {"input": [[]]}, "input"),
        (EMBED, {"input": ["a", 1]}, "input"),
        (EMBED, {"input": [5000]}, "input"),
        (EMBED, {"input": ["a"] * 2049}, "input"),
        (EMBED, {"dimensions": 1}, "dimensions"),
        (DOLL, {"dimensions": 3}, "dimensions"),
        (CHAT, {}, "model"),
        (RANK, {}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused(card, change, param):
    """By the field at fault."""
    request = EmbeddingRequest(**{"model": "m", "input": "a"} | change)

    with pytest.raises(GatewayError) as refused:
        read_embedding(request, card)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"prompt_name": "query"}, "query: a"),
        ({"input_type": "search_query"}, "query: a"),
        ({"input_type": "document"}, "text: a"),
        ({}, "a"),
    ],
)
def test_a_prompt_goes_before_texts_that_ask_for_it(fields, text):
    """By its own name, or by what Cohere calls what it is for; not unasked."""
    card = msgspec.structs.replace(EMBED, prompts={"query": "query: ", "passage": "text: "})

    job = read_embedding(EmbeddingRequest(model="e", input="a", **fields), card)

    assert job.prompts == (TextPrompt(text),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt_name": "passage"}, "prompt_name"),
        ({"input_type": "document"}, "input_type"),
        ({"prompt_name": "query", "input": [1]}, "input"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
    ],
)
def test_what_a_model_has_no_prompt_for_is_refused(fields, param):
    """Nor is one put before token ids."""
    card = msgspec.structs.replace(EMBED, prompts={"query": "query: "})

    with pytest.raises(GatewayError) as refused:
        read_embedding(EmbeddingRequest(**{"model": "e", "input": "a"} | fields), card)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(("asked", "limit"), [(3, 3), (50, 8), (-1, 8)])
def test_inputs_are_cut_where_that_is_asked_for(asked, limit):
    """To so many tokens, and to what the model reads; they are not refused for their length then."""
    request = EmbeddingRequest(model="e", input="a" * 10**6, truncate_prompt_tokens=asked)
    ids = EmbeddingRequest(model="e", input=[5] * 20, truncate_prompt_tokens=asked)

    job = read_embedding(request, EMBED)
    job.refuse_hopeless(8)

    assert job.fitted(8) == (TextPrompt("a" * 10**6, max_tokens=limit),)
    assert read_embedding(ids, EMBED).fitted(8) == (TokenPrompt([5] * limit),)


def test_a_pair_for_each_document():
    """Whichever way a document is written, and it comes back if it is asked for."""
    body = {"model": "r", "query": "q", "documents": ["a", {"text": "b"}], "return_documents": True}
    job = read_rerank(msgspec.convert(body, RerankRequest), RANK)
    reply = msgspec.to_builtins(job.write("r", 4, [b"\0\0\0\xff", b"\0\0\0\0"]))

    assert job.prompts == (PairPrompt("q", "a"), PairPrompt("q", "b"))
    assert reply["results"] == [
        {"index": 1, "relevance_score": 0.5, "document": {"text": "b"}},
        {"index": 0, "relevance_score": 0.0, "document": {"text": "a"}},
    ]


@pytest.mark.parametrize(
    "change", [{"documents": []}, {"query": ""}, {"top_n": 0}, {"documents": [1]}]
)
def test_a_malformed_ranking_is_refused(change):
    """By the path of the value at fault."""
    body = {"model": "r", "query": "q", "documents": ["a"]} | change

    with pytest.raises(msgspec.ValidationError, match=next(iter(change))):
        msgspec.convert(body, RerankRequest)


def test_too_many_documents_are_refused():
    """Each is a sequence of its own."""
    request = RerankRequest(model="r", query="q", documents=["a"] * 1025)

    with pytest.raises(GatewayError) as refused:
        read_rerank(request, RANK)
    assert refused.value.param == "documents"
