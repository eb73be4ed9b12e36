"""What the text of an answer shall be, from whichever field says it."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from engine.api import Grammar
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.formats import ResponseFormat, StructuredOutputs
from gateway.openai.sampling import SamplingFields

SCHEMA_PARAM = "response_format.json_schema.schema"

ANY_OBJECT = {"type": "object"}

Wanted = tuple[Grammar, str]
"""A grammar and the request's field that it is from, for errors."""


def read_grammar(request: SamplingFields) -> tuple[Grammar | None, str | None]:
    """The grammar that a request asks for, and the field that it is from.

    Raises `InvalidRequest` where there are several, or one is none.
    """
    found = [*_formats(request), *_guided(request), *_structured(request.structured_outputs)]
    if len(found) > 1:
        names = " and ".join(param for _, param in found)
        raise InvalidRequest(f"{names}: an answer follows one of them only", found[1][1])
    return found[0] if found else (None, None)


def schema_grammar(schema: dict[str, Any], *, strict: bool = False) -> Grammar:
    """JSON that follows a schema."""
    if not strict:
        own = schema.get("x-guidance")
        options = own if isinstance(own, dict) else {}
        schema = {**schema, "x-guidance": {"coerce_one_of": True, **options}}
    return Grammar("json_schema", msgspec.json.encode(schema).decode())


def _formats(request: SamplingFields) -> Iterator[Wanted]:
    wanted: ResponseFormat | None = request.response_format
    if wanted is None or wanted.type == "text":
        return
    if wanted.type == "json_object":
        yield schema_grammar(ANY_OBJECT), "response_format"
    elif wanted.json_schema is None:
        param = "response_format.json_schema"
        raise InvalidRequest(f"{param}: required where the type is json_schema", param)
    elif wanted.json_schema.schema_ is None:
        raise InvalidRequest(f"{SCHEMA_PARAM}: required", SCHEMA_PARAM)
    else:
        is_strict = wanted.json_schema.strict or False
        yield schema_grammar(wanted.json_schema.schema_, strict=is_strict), SCHEMA_PARAM


def _guided(request: SamplingFields) -> Iterator[Wanted]:
    if request.guided_json is not None:
        yield _json(request.guided_json, "guided_json")
    if request.json_schema is not None:
        yield _json(request.json_schema, "json_schema")
    if request.guided_regex is not None:
        yield Grammar("regex", request.guided_regex), "guided_regex"
    if request.guided_choice is not None:
        yield _choice(request.guided_choice), "guided_choice"
    if request.guided_grammar is not None:
        yield Grammar("lark", request.guided_grammar), "guided_grammar"
    if request.grammar:  # llama.cpp's clients send "" for none
        yield Grammar("lark", request.grammar), "grammar"


def _structured(wanted: StructuredOutputs | None) -> Iterator[Wanted]:
    if wanted is None:
        return
    if wanted.structural_tag is not None:
        param = "structured_outputs.structural_tag"
        raise Unsupported(f"{param} is not supported.", param)
    if wanted.json is not None:
        yield _json(wanted.json, "structured_outputs.json")
    if wanted.regex is not None:
        yield Grammar("regex", wanted.regex), "structured_outputs.regex"
    if wanted.choice is not None:
        yield _choice(wanted.choice), "structured_outputs.choice"
    if wanted.grammar is not None:
        yield Grammar("lark", wanted.grammar), "structured_outputs.grammar"
    if wanted.json_object:
        yield schema_grammar(ANY_OBJECT), "structured_outputs.json_object"


def _json(schema: str | dict[str, Any], param: str) -> Wanted:
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"{param}: not a JSON schema: {error}", param) from None
    return schema_grammar(schema), param


def _choice(texts: list[str]) -> Grammar:
    options = (json.dumps(text, ensure_ascii=False) for text in texts)
    return Grammar("lark", f"start: {' | '.join(options)}")
