"""Fields that are wrong in bodies that are else right."""

import json
from collections.abc import Iterator
from typing import Any

from raw_http import post

from malformed.case import CHAT, HI, MODEL, ROUTES, VOCABULARY, Body, Case, encoded

_SAMPLING: list[tuple[Body, str]] = [
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": "NaN"}, "temperature"),
    ({"temperature": [1]}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -1e-9}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 2**31}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
]
_OPENAI: list[tuple[Body, str]] = [
    *_SAMPLING,
    ({"min_p": 2}, "min_p"),
    ({"presence_penalty": 2.5}, "presence_penalty"),
    ({"frequency_penalty": -2.5}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"repetition_penalty": 5e-324}, "repetition_penalty"),
    ({"repeat_penalty": -1}, "repeat_penalty"),
    ({"logit_bias": {str(VOCABULARY): 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 100.5}}, "logit_bias"),
    ({"logit_bias": {"1": None}}, "logit_bias"),
    ({"logit_bias": {"99999999999999999999": 1}}, "logit_bias"),
    ({"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias"),
    ({"logit_bias": [1, 2]}, "logit_bias"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 10**23}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"n": 0}, "n"),
    ({"n": -1}, "n"),
    ({"n": 9}, "n"),
    ({"n": 2**31 - 1}, "n"),
    ({"stop": ""}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": "a" * 257}, "stop"),
    ({"stop": [None]}, "stop"),
    ({"stop": {"a": 1}}, "stop"),
    ({"stop_token_ids": [-1]}, "stop_token_ids"),
    ({"stop_token_ids": [VOCABULARY]}, "stop_token_ids"),
    ({"stop_token_ids": [2**31]}, "stop_token_ids"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"min_tokens": 2}, "min_tokens"),
    ({"keep_alive": "soon"}, "keep_alive"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    ({"guided_choice": []}, "guided_choice"),
    ({"guided_choice": [""]}, "guided_choice"),
    ({"guided_choice": ["a"] * 4097}, "guided_choice"),
    ({"guided_grammar": "root ::= (", "guided_regex": "a"}, "guided_"),
]
_GRAMMARS: list[Body] = [
    {"grammar": "start: ("},
    {"grammar": "start: " + "(" * 20_000 + ")" * 20_000},
    {"grammar": "a" * 2_000_000},
    {"guided_regex": "("},
    {"guided_regex": "(?<=a)b"},
    {"guided_regex": r"(a)\1"},
]
_UNSUPPORTED: dict[str, list[tuple[Body, str]]] = {
    "/v1/chat/completions": [
        ({"structured_outputs": {"structural_tag": {}}}, "structured_outputs"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ],
    "/v1/completions": [({"best_of": 2, "stream": True}, "best_of")],
    "/v1/embeddings": [({"input": "a"}, "model")],
    "/v1/responses": [
        ({"input": [{"type": "sorcery"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input"),
    ],
}
_HONOURED: list[Body] = [
    {"guided_regex": "(a+)+" * 5000},
    {"guided_regex": "((a{0,1000}){0,1000}){0,1000}"},
    {"prompt": "<s></s><unk>[INST][/INST]<|im_start|><|im_end|><end_of_turn><0x00>"},
    {"prompt": "\u200b\u200c\u200d\u2060\ufeff\u202e\u2066\u0000\u0301\U0001f468\u200d\U0001f469"},
    {"prompt": "a", "temperature": 1e-300, "top_p": 0},
    {"model": MODEL, "unknown": {"a": [1e308, -0.0, 10**18]}, "\u0000": None},
]
_SCHEMAS: dict[str, object] = {
    "of an unknown type": {"type": "sorcery"},
    "remote": {"$ref": "http://127.0.0.1:1/schema.json"},
    "of a file": {"$ref": "file:///etc/passwd"},
    "without the definition": {"$ref": "#/$defs/none"},
    "of itself alone": {"$ref": "#"},
    "of itself in a circle": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "with a bad pattern": {"type": "string", "pattern": "("},
    "with a pattern that looks behind": {"type": "string", "pattern": "(?<=a)b"},
    "with bounds that cross": {"type": "integer", "minimum": 2, "maximum": 1},
    "with lengths that cross": {"type": "string", "minLength": 2, "maxLength": 1},
    "with an empty enum": {"enum": []},
    "that nothing follows": {"allOf": [{"type": "string"}, {"type": "integer"}]},
    "with unions of unions": json.loads(
        '{"anyOf": [' * 20 + '{"type": "sorcery"}' + ', {"type": "null"}]}' * 20
    ),
    "false": {"not": {}},
}
_CHAT: list[tuple[Body, str]] = [
    *_OPENAI,
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"max_tokens": 10**23}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": "1"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": -1, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [[]]}, "messages"),
    ({"messages": [None]}, "messages"),
    ({"messages": [{}]}, "messages"),
    ({"messages": HI * 2049}, "messages"),
    ({"messages": HI * 100_000}, "messages"),
    ({"messages": [{"role": "x", "content": "a"}]}, "messages"),
    ({"messages": [{"role": None, "content": "a"}]}, "messages"),
    ({"messages": [{"role": ["user"], "content": "a"}]}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages"),
    ({"messages": [{"role": "user", "content": {"text": "a"}}]}, "messages"),
    ({"messages": [{"role": "user", "content": [5]}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages"),
    ({"messages": [{"role": "assistant", "tool_calls": {"id": "a"}}]}, "messages"),
    ({"tools": {}}, "tools"),
    ({"tools": [{}]}, "tools"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "<|im_end|>"}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": 'a"b'}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a\u0000b"}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a\u202eb"}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a" * 257}}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a"}}] * 129}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a", "parameters": 5}}]}, "tools"),
    ({"tool_choice": "sometimes"}, "tool_choice"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "a"}}}, "tool_choice"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ({"chat_template_kwargs": {"enable_thinking": [1]}}, "chat_template_kwargs"),
    ({"reasoning_effort": "huge"}, "reasoning_effort"),
]
_COMPLETION: list[tuple[Body, str]] = [
    *_OPENAI,
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"logprobs": 21}, "logprobs"),
    ({"best_of": 0}, "best_of"),
    ({"best_of": 9}, "best_of"),
    ({"best_of": 1, "n": 2}, "best_of"),
    ({"echo": "no"}, "echo"),
    ({"prompt": []}, "prompt"),
    ({"prompt": {}}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [VOCABULARY]}, "prompt"),
    ({"prompt": [2**31]}, "prompt"),
    ({"prompt": [10**23]}, "prompt"),
    ({"prompt": [1.5]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [[1], "a"]}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": [[["a"]]]}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
]
_RESPONSE: list[tuple[Body, str]] = [
    *_SAMPLING,
    ({"n": 2}, "n"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": -5}, "max_output_tokens"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": [5]}, "input"),
    ({"input": [{"role": "x", "content": "a"}]}, "input"),
    ({"input": HI * 4097}, "input"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"text": {"format": {"type": "json_schema"}}}, "text"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
]
_EMBEDDING: list[tuple[Body, str]] = [
    ({"input": None}, "input"),
    ({"input": {}}, "input"),
    ({"input": 5}, "input"),
    ({"input": [None]}, "input"),
    ({"input": [-1]}, "input"),
    ({"input": [2**31]}, "input"),
    ({"encoding_format": "hex"}, "encoding_format"),
    ({"dimensions": 0}, "dimensions"),
]
_MESSAGE: list[tuple[Body, str]] = [
    *_SAMPLING,
    ({"max_tokens": 0}, ""),
    ({"max_tokens": None}, ""),
    ({"stop_sequences": ["a"] * 17}, ""),
    ({"stop_sequences": [""]}, ""),
    ({"stop_sequences": ["a" * 257]}, ""),
    ({"messages": []}, ""),
    ({"messages": [{"role": "tool", "content": "a"}]}, ""),
    ({"messages": [{"role": "user", "content": None}]}, ""),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, ""),
    ({"messages": [{"role": "user", "content": [{"type": "sorcery"}]}]}, ""),
    ({"tools": [{"name": ""}]}, ""),
    ({"tools": [{"name": "a b"}]}, ""),
    ({"tools": [{"name": "a", "input_schema": 5}]}, ""),
    ({"tool_choice": {"type": "tool"}}, ""),
    ({"thinking": {"type": "enabled", "budget_tokens": 0}}, ""),
]
_OLLAMA: list[tuple[Body, str]] = [
    *(({"options": options}, "") for options, name in _SAMPLING if name not in {"stream", "top_k"}),
    ({"options": {"stop": ["a"] * 17}}, ""),
    ({"options": {"stop": [""]}}, ""),
    ({"options": {"num_predict": 10**23}}, ""),
    ({"options": {"repeat_penalty": 0}}, ""),
    ({"options": []}, ""),
    ({"messages": "hi"}, ""),
    ({"messages": [{"role": "x", "content": "a"}]}, ""),
    ({"messages": [{"role": "user", "content": "a", "images": ["AA=="]}]}, ""),
    ({"format": "xml"}, ""),
    ({"format": {"type": "sorcery"}}, ""),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, ""),
    ({"keep_alive": "soon"}, ""),
    ({"model": ""}, ""),
]
_TOKENS: list[tuple[Body, str]] = [
    ({"content": 5}, "content"),
    ({"content": None}, "content"),
    ({"messages": []}, "messages"),
    ({"messages": [5]}, "messages"),
]
_FIELDS: dict[str, list[tuple[Body, str]]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/completions": _COMPLETION,
    "/v1/responses": _RESPONSE,
    "/v1/embeddings": _EMBEDDING,
    "/v1/messages": _MESSAGE,
    "/api/chat": _OLLAMA,
    "/tokenize": _TOKENS,
}


def fields() -> Iterator[Case]:
    """A field that is wrong in a body that is else right."""
    for path, changes in _FIELDS.items():
        for change, param in changes:
            yield _changed(path, change, param=param or None)
    for path, changes in _UNSUPPORTED.items():
        for change, param in changes:
            yield _changed(path, change, code="unsupported_value", param=param)
    for change in _GRAMMARS:
        yield _changed("/v1/completions", change, code="invalid_grammar", param=next(iter(change)))
    for name, schema in _SCHEMAS.items():
        shape = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        raw = post("/v1/chat/completions", encoded(CHAT | {"response_format": shape}))
        code, param = "invalid_json_schema", "response_format"
        yield Case(f"schema {name}", "/v1/chat/completions", raw, code=code, param=param)
    for change in _HONOURED:
        yield _changed("/v1/completions", change, status=200)


def _changed(path: str, change: Body, **expected: Any) -> Case:
    shown = json.dumps(change)
    name = f"{shown[:60]}{len(shown) if len(shown) > 60 else ''}: {path}"
    return Case(name, path, post(path, encoded(ROUTES[path] | change)), **expected)
