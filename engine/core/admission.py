"""From a request on the wire to a sequence that can do no harm."""

from collections.abc import Hashable
from itertools import islice, takewhile

from engine.api import EngineError
from engine.cache.table import BlockTable
from engine.core.sequence import MAX_LENGTH, Sequence
from engine.nn.model import Traits
from engine.sampling.draw import seed_of
from engine.sampling.grammar import Constraint
from engine.sampling.validate import validate
from engine.wire import Start

MAX_PREDICTED_TOKENS = 2**15
"""What is predicted beyond them is left: it is sorted between two steps, in some 50 ms."""


def refuse_misuse(start: Start, traits: Traits) -> None:
    """Raises `EngineError` bad_request for what the model is not for, and for too long a text."""
    if start.wants_vector == traits.generates:
        verb = "does not embed" if start.wants_vector else "does not generate"
        raise EngineError("bad_request", f"the model {verb}: it is for {traits.task}", "model")
    limit = traits.max_whole_tokens
    if limit is not None and len(start.token_ids) > limit:
        message = f"a text of {len(start.token_ids)} tokens, and the model reads {limit} at most"
        raise EngineError("bad_request", message, "input")


def sequence_of(
    start: Start, owner: Hashable, vocab_size: int, constraint: Constraint | None = None
) -> Sequence:
    """Raises `EngineError` bad_request for what the model or the sampler cannot honour."""
    if not start.token_ids:
        raise EngineError("bad_request", "the prompt has no tokens", "prompt")
    strange = next((id_ for id_ in start.token_ids if not 0 <= id_ < vocab_size), None)
    if strange is not None:
        raise EngineError(
            "bad_request", f"token id {strange} is not in the vocabulary of {vocab_size}", "prompt"
        )
    if start.max_tokens < 0:
        raise EngineError("bad_request", "max_tokens must not be negative", "max_tokens")
    validate(start.sampling, vocab_size)
    return Sequence(
        token_ids=list(start.token_ids),
        max_tokens=start.max_tokens,
        sampling=start.sampling,
        seed=seed_of(start.sampling),
        min_tokens=start.min_tokens,
        # a tokenizer may know more tokens than the model can make
        stop_ids=frozenset(id_ for id_ in start.stop_token_ids if 0 <= id_ < vocab_size),
        never_ids=frozenset(id_ for id_ in start.barred_token_ids if 0 <= id_ < vocab_size),
        first_length=MAX_LENGTH if start.first_length is None else start.first_length,
        constraint=constraint,
        prediction=_prediction(start, vocab_size),
        table=BlockTable(start.salt.encode()),
        owner=owner,
        number=start.sequence,
    )


def _prediction(start: Start, vocab_size: int) -> tuple[int, ...]:
    """As far as the model can say it: a token that it has not got it cannot be given either."""
    known = takewhile(lambda id_: 0 <= id_ < vocab_size, start.predicted_token_ids)
    return tuple(islice(known, MAX_PREDICTED_TOKENS))
