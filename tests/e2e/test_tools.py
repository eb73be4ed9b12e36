"""Tool calls and thoughts through the official SDK, from a real model that a grammar holds to them."""

import json
import shutil

import openai
import pytest

from gateway_process import ROOT, Gateway

MODEL = "llama-plain-F32"
TEMPLATE = """\
{% if tools %}{{ tools | tojson }} in <tool_call></tool_call>{% endif %}\
{% for message in messages %}{{ message.role }}: {{ message.content }}
{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>
{% endfor %}{% endfor %}assistant: {% if enable_thinking %}<think>
{% endif %}{# thoughts end in </think> #}"""
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "Rome"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "wait"}},
]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
ASK = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "hi"}],
    "tools": TOOLS,
    "max_completion_tokens": 100,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def chatty(launch, tmp_path_factory) -> Gateway:
    """A tiny model whose template writes calls as Hermes does, and thoughts if they are wanted."""
    folder = tmp_path_factory.mktemp("chatty")
    shutil.copy(ROOT / f"tests/fixtures/llama-plain/{MODEL}.gguf", folder)
    (folder / "hermes.jinja").write_text(TEMPLATE)
    config = folder / "config.toml"
    config.write_text(f'[chat_templates]\n"{MODEL}" = "{folder / "hermes.jinja"}"\n')
    return launch(folder, "--dtype", "float32", "--memory", "1GiB", "--config", str(config))


def test_a_named_tool_is_called_with_what_its_schema_allows(chatty):
    """Streamed or not, it is the same call, and the content is null."""
    whole = chatty.sdk.chat.completions.create(**ASK, tool_choice=NAMED)
    with chatty.sdk.chat.completions.stream(**ASK, tool_choice=NAMED) as stream:
        streamed = stream.get_final_completion()

    for reply in (whole, streamed):
        (choice,) = reply.choices
        (call,) = choice.message.tool_calls
        arguments = json.loads(call.function.arguments)
        assert (call.type, call.function.name) == ("function", "get_weather")
        assert call.id.startswith("call_")
        assert arguments["city"] in {"Paris", "Rome"}
        assert arguments["days"] in range(1, 10)
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    first, second = (reply.choices[0].message.tool_calls[0] for reply in (whole, streamed))
    assert first.function.arguments == second.function.arguments


def test_a_call_comes_in_the_order_that_clients_read(chatty):
    """Index, id, type and name once; then arguments, which put together are the call's."""
    chunks = list(chatty.sdk.chat.completions.create(**ASK, tool_choice=NAMED, stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    first, *more = deltas

    assert (first.index, first.type, first.function.name) == (0, "function", "get_weather")
    assert len(more) > 1
    assert {(d.index, d.id, d.type, d.function.name) for d in more} == {(0, None, None, None)}
    assert json.loads("".join(d.function.arguments for d in deltas))


def test_a_call_and_its_result_go_back_to_the_model(chatty):
    """The template is given the call's arguments as an object, and the result with its name."""
    call = {"id": "call_1", "type": "function"}
    call["function"] = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    turns = [
        *ASK["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    body = {"model": MODEL, "messages": turns, "tools": TOOLS}

    reply = chatty.sdk.post("/chat/completions", cast_to=object, body=body | {"max_tokens": 1})

    assert reply["choices"][0]["finish_reason"] == "length"


def test_thoughts_that_the_prompt_opens_come_apart(chatty):
    """By both names that clients read, and counted."""
    reply = chatty.sdk.chat.completions.create(
        model=MODEL,
        messages=ASK["messages"],
        max_completion_tokens=8,
        temperature=0,
        extra_body={"enable_thinking": True},
    )

    message = reply.choices[0].message
    assert message.content == ""
    assert message.reasoning_content == message.reasoning != ""
    assert reply.usage.completion_tokens_details.reasoning_tokens == 8


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
    ],
)
def test_what_cannot_be_called_is_refused(chatty, more, param):
    """Before anything is generated."""
    with pytest.raises(openai.BadRequestError) as caught:
        chatty.sdk.chat.completions.create(**ASK | more)

    assert caught.value.param == param
