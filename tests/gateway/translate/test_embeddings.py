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
