"""A `VectorJob` in OpenAI's words, and in Jina's for scores; their answers as an engine's vectors."""

import math
from array import array
from base64 import b64decode
from typing import Any, TypeVar

import msgspec

from engine.api import PairPrompt, TextPrompt, TokenPrompt
from gateway.errors import Unsupported
from gateway.translate.vectors import VectorJob
from gateway.upstreams import wire
from gateway.upstreams.failures import broken

EMBEDDINGS, RERANK = "embeddings", "rerank"

MAX_LOGIT = 40.0
"""What a score of 1 is taken for: beyond it a double holds no other."""

Answer = TypeVar("Answer", wire.Vectors, wire.Scores)


def write_vector_request(job: VectorJob, model: str) -> tuple[str, dict[str, Any]]:
    """The path and the body. Raises `Unsupported`."""
    if job.max_tokens is not None:
        message = "truncate_prompt_tokens: not with a model of another server."
        raise Unsupported(message, "truncate_prompt_tokens")
    first = job.prompts[0]
    if isinstance(first, PairPrompt):
        documents = [pair.second for pair in job.prompts if isinstance(pair, PairPrompt)]
        return RERANK, {"model": model, "query": first.first, "documents": documents}
    texts = [prompt.text for prompt in job.prompts if isinstance(prompt, TextPrompt)]
    ids = [prompt.token_ids for prompt in job.prompts if isinstance(prompt, TokenPrompt)]
    return EMBEDDINGS, {"model": model, "input": texts or ids, "encoding_format": "base64"}


def read_vectors(name: str, job: VectorJob, answer: bytes) -> tuple[list[bytes], int]:
    """Each prompt's vector, or score, as `Engine.embed` gives them, and how many tokens were read.

    name: the upstream's, for errors. Raises `UpstreamFailure`.
    """
    is_pairs = isinstance(job.prompts[0], PairPrompt)
    said: wire.Vectors | wire.Scores
    said = _decode(name, answer, wire.Scores) if is_pairs else _decode(name, answer, wire.Vectors)
    by_index = _scores(said) if isinstance(said, wire.Scores) else _vectors(name, said)
    if sorted(by_index) != list(range(len(job.prompts))):
        raise broken(name, f"sent {len(by_index)} results for {len(job.prompts)} inputs")
    return [by_index[index] for index in sorted(by_index)], _num_tokens(said.usage)


def _vectors(name: str, said: wire.Vectors) -> dict[int, bytes]:
    read = {}
    for place, vector in enumerate(said.data):
        read[place if vector.index is None else vector.index] = _values(name, vector.embedding)
    return read


def _values(name: str, embedding: str | list[float]) -> bytes:
    """Some ignore what was asked for, and send numbers."""
    try:
        raw = (
            b64decode(embedding, validate=True)
            if isinstance(embedding, str)
            else array("f", embedding).tobytes()
        )
    except (ValueError, OverflowError) as error:
        raise broken(name, "sent a vector that is none") from error
    if not raw or len(raw) % 4:
        raise broken(name, "sent a vector that is none")
    return raw


def _scores(said: wire.Scores) -> dict[int, bytes]:
    """Before the logistic function, which `translate.rerank` puts over what engines say."""
    scores = {}
    for score in said.results:
        scores[score.index] = array("f", [_logit(score.relevance_score)]).tobytes()
    return scores


def _logit(score: float) -> float:
    if score <= 0 or score >= 1:
        return -MAX_LOGIT if score <= 0 else MAX_LOGIT
    return math.log(score / (1 - score))


def _num_tokens(usage: wire.Usage | None) -> int:
    if usage is None:
        return 0
    return usage.prompt_tokens or usage.total_tokens or 0


def _decode(name: str, answer: bytes, kind: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise broken(name, "sent an answer that is not OpenAI's") from error
