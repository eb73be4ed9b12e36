"""Sequences that follow a grammar, on a real tiny model.

It knows nothing, so what it says is valid if and only if decoding is right.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import jsonschema
import pytest
import torch
from hypothesis import given, settings

from engine.api import Generation, Grammar, Run, Sampling
from engine.checkpoint import open_checkpoint
from engine.core.admission import sequence_of
from engine.core.opening import open_resident
from engine.core.pacing import ALONE_SECONDS
from engine.core.resident import Resident
from engine.core.sequence import Sequence
from engine.sampling.vocabularies import Vocabularies
from engine.text.constraints import constrain
from engine.text.generations import Generations
from engine.text.prompts import PreparedPrompt
from engine.text.store import load_tokenizer
from engine.wire import Output
from tests.engine.core.conftest import LLAMA

PROMPT = [5, 6, 7]


class Model:
    """The text side and the worker's side of one model, in this thread."""

    def __init__(self, folder: Any, kv_tokens: int = 4096) -> None:
        path = LLAMA / "llama-plain-F32.gguf"
        with open_checkpoint(path) as checkpoint:
            tokenizer = load_tokenizer(checkpoint, folder)
        self.resident, _ = open_resident(path, "dense", torch.float32, kv_tokens)
        vocab_size = self.resident.vocab_size
        self.prompt = PreparedPrompt(tokenizer, PROMPT, vocab_size=vocab_size)
        self.vocabularies = Vocabularies()

    def sequence(self, run: Run, generations: Generations) -> Sequence:
        grammar = constraint = None
        if run.generation.grammar is not None:
            grammar, vocabulary = constrain(self.prompt, run.generation)
            constraint = self.vocabularies.constraint(grammar, vocabulary)
        start = generations.start(1, 1, run, self.prompt, grammar)
        return sequence_of(start, None, self.resident.vocab_size, constraint)

    def say(self, *asked: Generation) -> list[tuple[str, str | None]]:
        """The texts and finish reasons of generations that run together."""
        generations = Generations()
        for index, generation in enumerate(asked):
            run = Run(index, 0, generation)
            self.resident.scheduler.add(self.sequence(run, generations))
        texts = ["" for _ in asked]
        reasons: list[str | None] = [None for _ in asked]
        for output in _outputs(self.resident):
            for _, delta in generations.step([output])[0]:
                assert delta.failure is None, delta.failure
                texts[delta.index] += delta.text
                reasons[delta.index] = delta.finish_reason or reasons[delta.index]
        return list(zip(texts, reasons, strict=True))


def _outputs(resident: Resident) -> Iterator[Output]:
    while not resident.is_idle:
        yield from (output for _, output in resident.step(ALONE_SECONDS))
    resident.scheduler.check()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tmp_path_factory.mktemp("tokenizers"))


def wanted(kind: Any, text: str, max_tokens: int = 400, **fields: Any) -> Generation:
    sampling = {name: fields.pop(name) for name in list(fields) if hasattr(Sampling(), name)}
    asked = Sampling(**{"seed": 7, **sampling})
    return Generation(max_tokens, asked, grammar=Grammar(kind, text), **fields)


# --- schemas ------------------------------------------------------------------------------------

_words = st.text('abcdefgh é"\\/\n', max_size=6)
_leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}]),
    st.builds(lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
              st.integers(-99, 99), st.integers(0, 999)),
    st.builds(lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
              st.integers(0, 3), st.integers(0, 4)),
    st.sampled_from(["^[a-c]{2,4}$", "^(x|yy)-[0-9]{3}$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.lists(_words | st.integers(-9, 9), min_size=1, max_size=4).map(lambda v: {"enum": v}),
    _words.map(lambda value: {"const": value}),
)  # fmt: skip


def _array(items: dict[str, Any], least: int, more: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": least + more}


def _object(properties: dict[str, Any], data: int) -> dict[str, Any]:
    required = [name for place, name in enumerate(properties) if data >> place & 1]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _deeper(schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.text('abc_ é"', min_size=1, max_size=4)
    return st.one_of(
        st.builds(_array, schemas, st.integers(0, 2), st.integers(0, 2)),
        st.builds(_object, st.dictionaries(names, schemas, max_size=4), st.integers(0, 15)),
        st.lists(schemas, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


_plain = st.recursive(_leaves, _deeper, max_leaves=5)
schemas = _plain | _plain.map(lambda one: {"$ref": "#/$defs/it", "$defs": {"it": one}})


def check_schema(model: Model, schema: dict[str, Any], seed: int) -> None:
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
    whole = Model(tmp_path).say(*[wanted("regex", f"[a-z]{{{n}}}", seed=n) for n in (70, 80, 90)])

    small = Model(tmp_path, kv_tokens=128)
    cut = small.say(*[wanted("regex", f"[a-z]{{{n}}}", seed=n) for n in (70, 80, 90)])

    assert cut == whole
    assert [len(text) for text, _ in whole] == [70, 80, 90]


def test_free_sequences_have_no_masks(model, monkeypatch):
    """Where nobody asked for a grammar, no mask is begun and no logits are copied."""
    begun = []
    monkeypatch.setattr("engine.core.runner.begin_masks", lambda *args: begun.append(args))

    model.say(Generation(8, Sampling(seed=1)))

    assert not begun
