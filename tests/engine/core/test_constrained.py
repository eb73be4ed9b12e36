"""Sequences that follow a grammar, on a real tiny model.

It knows nothing, so what it says is valid if and only if decoding is right.
"""

import json
import re
from typing import Any

import hypothesis.strategies as st
import jsonschema
import pytest
from hypothesis import given, settings

from engine.api import Generation, Grammar, Sampling
from tests.engine.constrained import ConstrainedModel
from tests.engine.schemas import schemas


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ConstrainedModel:
    return ConstrainedModel(tmp_path_factory.mktemp("tokenizers"))


def wanted(kind: Any, text: str, max_tokens: int = 400, **fields: Any) -> Generation:
    sampling = {name: fields.pop(name) for name in list(fields) if hasattr(Sampling(), name)}
    asked = Sampling(**{"seed": 7, **sampling})
    return Generation(max_tokens, asked, grammar=Grammar(kind, text), **fields)


# --- schemas ------------------------------------------------------------------------------------


def check_schema(model: ConstrainedModel, schema: dict[str, Any], seed: int) -> None:
    asked = wanted("json_schema", json.dumps(schema), seed=seed)
    ((text, reason),) = model.say(asked)

    assert reason == "stop", text
    jsonschema.validate(json.loads(text), schema)


@settings(max_examples=25, deadline=None)
@given(schemas, st.integers(0, 2**31))
def test_every_answer_follows_its_schema(model, schema, seed):
    """Whatever the schema, the answer is whole, is JSON and is valid."""
    check_schema(model, schema, seed)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(schemas, st.integers(0, 2**31))
def test_every_answer_follows_its_schema_at_length(model, schema, seed):
    """As above, more of them."""
    check_schema(model, schema, seed)


# --- sequences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.0},
        {"temperature": 2.0, "top_k": 3, "top_p": 0.5},
        {"frequency_penalty": 2.0, "presence_penalty": 2.0, "repetition_penalty": 5.0},
        {"logit_bias": dict.fromkeys(range(60), 100.0)},
        {"logprobs": 3},
        {"min_tokens": 50},
        {"ignore_eos": True},
    ],
    ids=str,
)
def test_no_setting_leads_out_of_the_grammar(model, fields):
    """However the next token is chosen, it is one that the grammar allows; and its end is the end."""
    ((text, reason),) = model.say(wanted("regex", "(yes|no)-[0-9]{3}", **fields))

    assert re.fullmatch("(yes|no)-[0-9]{3}", text)
    assert reason == "stop"


def test_the_end_of_the_grammar_is_not_forced_early(model):
    """Too few tokens end an answer in its middle, which its finish reason says."""
    ((text, reason),) = model.say(wanted("regex", "a{40}", max_tokens=3))

    assert set(text) == {"a"}
    assert reason == "length"


def test_seeds_reproduce_whatever_runs_beside(model):
    """The same seed gives the same answer; other grammars and free sequences change nothing."""
    schema = json.dumps({"type": "array", "items": {"type": "integer"}, "maxItems": 5})
    subject = wanted("json_schema", schema, seed=3)
    free = Generation(12, Sampling(seed=9))
    alone, alone_free = model.say(subject)[0], model.say(free)[0]

    beside = model.say(wanted("regex", "[ab]{30}"), subject, free)

    assert beside[1] == alone
    assert beside[2] == alone_free


def test_preempted_sequences_go_on_in_their_grammar(tmp_path):
    """What is computed anew has the place in its grammar that it had."""
    whole = ConstrainedModel(tmp_path).say(
        *[wanted("regex", f"[a-z]{{{n}}}", seed=n) for n in (70, 80, 90)]
    )

    small = ConstrainedModel(tmp_path, kv_tokens=128)
    cut = small.say(*[wanted("regex", f"[a-z]{{{n}}}", seed=n) for n in (70, 80, 90)])

    assert cut == whole
    assert [len(text) for text, _ in whole] == [70, 80, 90]


FORCED = r'\{"full name": "[a-c]{3}", "full address": "[a-c]{3}"\}'


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_certain_is_said_in_fewer_steps(model, monkeypatch, temperature):
    """Guesses at what the grammar forces change nothing of what is said."""
    asked = wanted("regex", FORCED, temperature=temperature, frequency_penalty=0.5)
    with monkeypatch.context() as patch:
        patch.setattr("engine.core.scheduler.MAX_DRAFTED_ROWS", 0)
        one_by_one = model.say(asked)
    model.resident.scheduler.take_drafted()

    guessed = model.say(asked)

    assert guessed == one_by_one
    assert re.fullmatch(FORCED, guessed[0][0])
    assert model.resident.scheduler.take_drafted().num_accepted > 0


def test_free_sequences_have_no_masks(model, monkeypatch):
    """Where nobody asked for a grammar, no mask is begun and no logits are copied."""
    begun = []
    monkeypatch.setattr("engine.core.runner.begin_masks", lambda *args: begun.append(args))

    model.say(Generation(8, Sampling(seed=1)))

    assert not begun
