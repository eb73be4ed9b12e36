"""Bad input against its documented answer. Whatever is sent, the next request is served."""

import json
from typing import Any

import pytest

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "tiny", "messages": MESSAGES} | fields).encode()


def completion(**fields: Any) -> bytes:
    return json.dumps({"model": "tiny", "prompt": "hi"} | fields).encode()


BROKEN = {
    "empty": b"",
    "cut off": b'{"model": "tiny"',
    "trailing": chat() + b"x",
    "no object": b"[]",
    "byte order mark": b"\xef\xbb\xbf" + chat(),
    "bad utf-8": b'{"model": "tiny", "messages": [{"role": "user", "content": "\xff"}]}',
    "bad utf-8 in a field that nobody reads": b'{"model": "tiny", "\xff": 1}',
    "lone surrogate": b'{"model": "\\ud800"}',
    "NaN": chat(temperature=float("nan")),
    "Infinity": chat(temperature=float("inf")),
    "nested 65 deep": b'{"model": "tiny", "x": ' + b"[" * 65 + b"]" * 65 + b"}",
    "nested 100000 deep": b'{"model": "tiny", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


async def test_broken_json_is_400(live, subtests):
    """What is no JSON object in UTF-8 gets the envelope with status 400."""
    for name, body in BROKEN.items():
        with subtests.test(name):
            response = await live.http.post(CHAT, content=body)

            assert response.status_code == 400
            assert set(response.json()) == {"error"}
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
            assert response.json()["error"]["type"] == "invalid_request_error"
    assert (await live.http.post(CHAT, content=chat())).status_code == 200


FIELDS = [
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    (CHAT, {"messages": MESSAGES * 2049}, "messages"),
    (CHAT, {"model": 5}, "model"),
    (CHAT, {"temperature": 2.1}, "temperature"),
    (CHAT, {"temperature": "hot"}, "temperature"),
    (CHAT, {"top_p": -0.1}, "top_p"),
    (CHAT, {"presence_penalty": 3}, "presence_penalty"),
    (CHAT, {"frequency_penalty": -3}, "frequency_penalty"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"n": 9}, "n"),
    (CHAT, {"n": True}, "n"),
    (CHAT, {"n": 10**23}, "n"),
    (CHAT, {"seed": 10**23}, "seed"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_completion_tokens": -1}, "max_completion_tokens"),
    (CHAT, {"max_tokens": 4, "min_tokens": 5}, "min_tokens"),
    (CHAT, {"min_tokens": 100_000}, "min_tokens"),
    (CHAT, {"stop": ["x"] * 17}, "stop"),
    (CHAT, {"stop": "x" * 257}, "stop"),
    (CHAT, {"stop": [""]}, "stop[0]"),
    (CHAT, {"logit_bias": {"5": 101}}, "logit_bias"),
    (CHAT, {"logit_bias": {"x": 1}}, "logit_bias"),
    (CHAT, {"logit_bias": {"-1": 1}}, "logit_bias"),
    (CHAT, {"logit_bias": {"1000": 1}}, "logit_bias"),
    (CHAT, {"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias"),
    (CHAT, {"stop_token_ids": [1000]}, "stop_token_ids"),
    (CHAT, {"top_logprobs": 3}, "top_logprobs"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
        "response_format.json_schema.name",
    ),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
    ),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type"),
    (CHAT, {"tools": [{"type": "function"}]}, "tools[0]"),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"tool_choice": {"type": "function"}}, "tool_choice"),
    (CHAT, {"chat_template": "{{ x }}"}, "chat_template"),
    (CHAT, {"chat_template_kwargs": {"messages": 1}}, "chat_template_kwargs.messages"),
    (CHAT, {"chat_template_kwargs": {"thinking": []}}, "chat_template_kwargs.thinking"),
    (CHAT, {"guided_json": "["}, "guided_json"),
    (CHAT, {"guided_json": []}, "guided_json"),
    (CHAT, {"guided_choice": []}, "guided_choice"),
    (CHAT, {"guided_choice": ["a"], "guided_regex": "a"}, "guided_choice"),
    (
        CHAT,
        {"structured_outputs": {"structural_tag": {}}},
        "structured_outputs.structural_tag",
    ),
    (CHAT, {"modalities": ["text", "audio"]}, "modalities"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].type",
    ),
    (COMPLETIONS, {"prompt": []}, "prompt"),
    (COMPLETIONS, {"prompt": ["a", 1]}, "prompt"),
    (COMPLETIONS, {"prompt": [[1, -1]]}, "prompt[0][1]"),
    (COMPLETIONS, {"prompt": [1000]}, "prompt"),
    (COMPLETIONS, {"prompt": ["a"] * 129}, "prompt"),
    (COMPLETIONS, {"prompt": ""}, "prompt"),
    (COMPLETIONS, {"max_tokens": 0}, "max_tokens"),
    (COMPLETIONS, {"logprobs": 21}, "logprobs"),
    (COMPLETIONS, {"best_of": 2, "n": 3}, "best_of"),
    (COMPLETIONS, {"best_of": 99}, "best_of"),
    (COMPLETIONS, {"best_of": 2, "stream": True}, "best_of"),
    (COMPLETIONS, {"suffix": "x"}, "suffix"),
    (COMPLETIONS, {"typical_p": 0.5}, "typical_p"),
    (CHAT, {"function_call": {"name": "f"}}, "function_call"),
    (CHAT, {"service_tier": "best"}, "service_tier"),
    (CHAT, {"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    (
        CHAT,
        {"prediction": {"type": "content", "content": [{"type": "file"}]}},
        "prediction.content[0].type",
    ),
    (CHAT, {"continue_final_message": True}, "continue_final_message"),
]


async def test_a_bad_field_is_400_and_named(live, subtests):
    """A value out of range, of the wrong type or not supported is 400; `param` says which."""
    for path, fields, param in FIELDS:
        with subtests.test(param, fields=str(fields)[:80]):
            make = chat if path == CHAT else completion
            response = await live.http.post(path, content=make(**fields))

            assert response.status_code == 400, response.text
            assert response.json()["error"]["param"] == param
            assert response.json()["error"]["type"] == "invalid_request_error"
    assert not live.engine.loads, "a model was loaded for a request that is wrong"


NULLABLE = [
    "temperature", "top_p", "top_k", "min_p", "n", "stop", "seed", "logit_bias", "stream",
    "stream_options", "max_tokens", "presence_penalty", "tools", "tool_choice", "response_format",
    "logprobs", "top_logprobs", "chat_template", "chat_template_kwargs", "min_tokens",
]  # fmt: skip


async def test_null_is_the_default_and_the_unknown_is_ignored(live):
    """A field that is null counts as absent; one that we do not know changes nothing."""
    fields = dict.fromkeys(NULLABLE) | {"num_ctx": 4096, "keep_alive": "5m", "options": {"a": [1]}}

    response = await live.http.post(CHAT, content=chat(**fields))

    assert response.status_code == 200


@pytest.mark.parametrize(
    "name", ["nothing", "../../etc/passwd", "tiny/../tiny", "ti\0ny", "x" * 10_000, "", "/"]
)
async def test_an_unknown_model_is_404(live, name):
    """A name is looked up in a table and never joined to a path."""
    response = await live.http.post(CHAT, content=chat(model=name))

    error = response.json()["error"]
    assert response.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert len(error["message"]) < 500


async def test_a_broken_file_is_503_for_good(live):
    """A checkpoint that cannot be read has an entry of its own: why, and no use to retry."""
    response = await live.http.post(CHAT, content=chat(model="broken"))

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "model_load_failed"
    assert "no checkpoint at" in response.json()["error"]["message"]
    assert response.headers["x-should-retry"] == "false"


async def test_chat_with_a_model_that_only_completes_is_400(live):
    """A model without a template says what to use instead."""
    response = await live.http.post(CHAT, content=chat(model="base"))

    assert response.status_code == 400
    assert "/v1/completions" in response.json()["error"]["message"]


async def test_a_prompt_over_the_context_is_400_before_anything_is_loaded(live):
    """Prompt and completion have to fit the window; clients match the code."""
    for body in (completion(prompt=[1] * 2048), completion(max_tokens=2048)):
        response = await live.http.post(COMPLETIONS, content=body)

        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
        assert response.json()["error"]["param"] == "prompt"
    assert not live.engine.loads


async def test_a_body_over_the_limit_is_413(live):
    """Announced or not, a body is read up to the limit and no further."""

    async def endless():
        for _ in range(12):
            yield b" " * 1_000_000

    announced = await live.http.post(CHAT, content=b" " * 10_000_001)
    chunked = await live.http.post(CHAT, content=endless())

    for response in (announced, chunked):
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/schema", "/redoc", "/v1/models/a/../b"])
async def test_an_unknown_route_is_404(live, path):
    """No route of the framework's own is there, and its error bodies never show."""
    response = await live.http.get(path)

    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("PUT", CHAT), ("POST", "/v1/models")])
async def test_a_wrong_method_is_405(live, method, path):
    """The methods that are allowed come in a header."""
    response = await live.http.request(method, path)

    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_supported"
    assert "allow" in response.headers


async def test_a_bug_of_ours_says_nothing_of_our_insides(live, monkeypatch):
    """An exception that nobody foresaw is a plain 500."""

    def explode(*args: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(live.services.catalog, "resolve", explode)

    response = await live.http.post(CHAT, content=chat())

    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text
