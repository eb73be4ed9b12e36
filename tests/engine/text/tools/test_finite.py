"""Calls of every format by a real tiny model, whose tools take finitely many arguments.

It knows nothing, so calls are right if and only if what is enforced is what is read.
"""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.api import Generation, Grammar, Sampling, ToolChoice
from engine.text.chat_format import ChatFormat, read_tools
from engine.text.reasoning import ThinkTags
from engine.text.tokenizer import Tokenizer
from engine.text.tools import formats
from engine.text.tools.formats import ToolFormat
from tests.engine.constrained import Answer, ConstrainedModel, own_tokenizer
from tests.engine.schemas import Schema, arguments, schemas

FORMS = tuple(form for form in vars(formats).values() if isinstance(form, ToolFormat))
ANY: Schema = {"type": "object"}
TAGS = ThinkTags("<think>", "</think>")
FIRST_MARKER = 300
"""Tokens from here on stand for markers, as they do in the vocabularies of larger models."""

MARKERS = dict.fromkeys([*TAGS.markers, *(mark for form in FORMS for mark in form.markers)])
IDS = {marker: FIRST_MARKER + place for place, marker in enumerate(filter(None, MARKERS))}
SETTINGS = settings(deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""Every try takes a model's time, so that what fails is not made smaller."""

CLOSINGS = {IDS["</think>"]: 100.0, IDS["<|end|>"]: 100.0}
"""Nothing else would move a model that knows nothing to end its thoughts."""


class MarkedTokenizer(Tokenizer):
    """A tokenizer some of whose tokens are markers instead."""

    def __init__(self, own: Tokenizer) -> None:
        super().__init__(own._specials, own._control | set(IDS.values()))
        self._own, self._names = own, {id_: marker for marker, id_ in IDS.items()}
        self.drops_first_space = own.drops_first_space

    @property
    def vocab_size(self) -> int:
        return self._own.vocab_size

    def special_id(self, text: str) -> int | None:
        return IDS.get(text) or self._own.special_id(text)

    @property
    def special_names(self) -> frozenset[str]:
        return self._own.special_names | IDS.keys()

    def encode_guarded(self, *arguments: Any, **options: Any) -> Any:
        return self._own.encode_guarded(*arguments, **options)

    def _ids_of(self, text: str, *, allow_special: bool) -> list[int]:
        return self._own._ids_of(text, allow_special=allow_special)

    def _read_bytes(self, token_id: int) -> bytes:
        marker = self._names.get(token_id)
        return self._own.token_bytes(token_id) if marker is None else marker.encode()

    def _name(self, token_id: int | None) -> str:
        return self._own._name(token_id)


@pytest.fixture(scope="module", params=["marked", "spelled"])
def model(request, tmp_path_factory) -> ConstrainedModel:
    """Markers are tokens of their own, or spelled in characters."""
    folder = tmp_path_factory.mktemp("tokenizers")
    own = own_tokenizer(folder)
    tokenizer = MarkedTokenizer(own) if request.param == "marked" else own
    return ConstrainedModel(folder, kv_tokens=2**15, tokenizer=tokenizer)


def chat_of(model: ConstrainedModel, form: ToolFormat, schema: Schema = ANY) -> ChatFormat:
    """With thoughts before its calls, where a token can end them."""
    tools = [{"function": {"name": "look", "parameters": schema}}, {"function": {"name": "wait"}}]
    thinks = is_marked(model) and form is not formats.HARMONY
    return ChatFormat(form, TAGS if thinks else None, is_open=thinks, tools=read_tools(tools))


def is_marked(model: ConstrainedModel) -> bool:
    return isinstance(model.tokenizer, MarkedTokenizer)


def generation(model: ConstrainedModel, seed: int, **fields: Any) -> Generation:
    sampling = Sampling(seed=seed, logit_bias=CLOSINGS if is_marked(model) else {})
    return Generation(1500, sampling, splits_reasoning=True, **fields)


def check_calls(model: ConstrainedModel, schema: Schema, seed: int) -> None:
    """One call in each format, all of them at once."""
    choice = ToolChoice("required", ("look",), is_parallel=False)
    forms = [form for form in FORMS if is_marked(model) or form is not formats.HARMONY]
    asked = [
        (chat_of(model, form, schema), generation(model, seed, tools=choice)) for form in forms
    ]
    for form, answer in zip(forms, model.answer(*asked), strict=True):
        check_call(form, schema, answer)


def check_call(form: ToolFormat, schema: Schema, answer: Answer) -> None:
    assert answer.reason == "tool_calls", (form.name, answer)
    ((name, found),) = answer.calls
    assert (name, answer.text) == ("look", ""), (form.name, answer)
    try:
        jsonschema.validate(json.loads(found), schema)
    except (ValueError, jsonschema.ValidationError) as error:
        raise AssertionError(form.name, found) from error


def check_answer(model: ConstrainedModel, schema: Schema, seed: int) -> None:
    """Thoughts before an answer that follows a schema, where the family has them."""
    grammar = Grammar("json_schema", json.dumps(schema))
    forms = (formats.GENERIC, formats.HARMONY) if is_marked(model) else (formats.GENERIC,)
    asked = [(chat_of(model, form), generation(model, seed, grammar=grammar)) for form in forms]
    for answer in model.answer(*asked):
        assert answer.reason == "stop", answer
        jsonschema.validate(json.loads(answer.text), schema)


@settings(SETTINGS, max_examples=1)
@given(arguments, st.integers(0, 2**31))
def test_every_format_calls_with_what_a_schema_allows(model, schema, seed):
    """What is enforced is read, as a valid call, streamed or at once, with thoughts before or not."""
    check_calls(model, schema, seed)


@pytest.mark.slow
@settings(SETTINGS, max_examples=200)
@given(arguments, st.integers(0, 2**31))
def test_every_format_calls_with_what_a_schema_allows_at_length(model, schema, seed):
    """As above, more of them."""
    check_calls(model, schema, seed)


@settings(SETTINGS, max_examples=2)
@given(schemas, st.integers(0, 2**31))
def test_answers_follow_schemas_behind_thoughts(model, schema, seed):
    """Thoughts come apart, and the schema binds what is said."""
    check_answer(model, schema, seed)


@pytest.mark.slow
@settings(SETTINGS, max_examples=200)
@given(schemas, st.integers(0, 2**31))
def test_answers_follow_schemas_behind_thoughts_at_length(model, schema, seed):
    """As above, more of them."""
    check_answer(model, schema, seed)
