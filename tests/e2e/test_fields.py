"""What the official SDK and its neighbours can ask for beside text, from a real model."""

import json
import shutil

import openai
import pytest

from gateway_process import ROOT, Gateway

MODEL = "llama-plain-F32"
TEMPLATE = """\
{% if tools %}{{ tools | tojson }} in <tool_call></tool_call>{% endif %}\
{% for message in messages %}{{ message.role }}: {{ message.content }}
{% endfor %}{% if add_generation_prompt %}assistant: {% if enable_thinking %}<think>
{% endif %}{% endif %}{# thoughts end in </think> #}"""
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
LOOK = {"name": "look", "parameters": SCHEMA}
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


@pytest.fixture(scope="module")
def server(launch, tmp_path_factory) -> Gateway:
    """A tiny model that chats, thinks and calls, and another that fills gaps."""
    folder = tmp_path_factory.mktemp("fields")
    fixture = ROOT / "tests/fixtures/llama-plain"
    shutil.copy(fixture / f"{MODEL}.gguf", folder)
    shutil.copytree(fixture / "hf", folder / "filling")
    tokenizer = folder / "filling/tokenizer.json"
    written = json.loads(tokenizer.read_text())
    written["added_tokens"] += [
        written["added_tokens"][0] | {"id": 366 + n, "content": text}
        for n, text in enumerate(("[PREFIX]", "[SUFFIX]"))
    ]
    tokenizer.write_text(json.dumps(written))
    (folder / "chat.jinja").write_text(TEMPLATE)
    config = folder / "config.toml"
    config.write_text(f'[chat_templates]\n"{MODEL}" = "{folder / "chat.jinja"}"\n')
    return launch(folder, "--dtype", "float32", "--memory", "1GiB", "--config", str(config))


def test_a_function_is_called_as_of_old(server):
    """Whole and streamed, with what its schema allows."""
    asked = ASK | {"functions": [LOOK], "function_call": {"name": "look"}, "max_tokens": 100}
    whole = server.sdk.chat.completions.create(**asked).choices[0]
    chunks = list(server.sdk.chat.completions.create(**asked, stream=True))
    deltas = [d for chunk in chunks if (d := chunk.choices[0].delta.function_call)]

    assert (whole.finish_reason, whole.message.tool_calls) == ("function_call", None)
    assert whole.message.function_call.name == "look"
    assert json.loads(whole.message.function_call.arguments)["city"] in {"Paris", "Rome"}
    assert [delta.name for delta in deltas if delta.name] == ["look"]
    assert "".join(d.arguments for d in deltas) == whole.message.function_call.arguments
    assert chunks[-1].choices[0].finish_reason == "function_call"


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_schema_or_a_call(server, seed):
    """Tools that may be called do not take the answer's form away, and it does not take them."""
    wanted = {"name": "n", "schema": SCHEMA}
    reply = server.sdk.chat.completions.create(
        **ASK | {"temperature": 1, "seed": seed, "max_tokens": 200},
        tools=[{"type": "function", "function": LOOK}],
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": wanted},
    )

    (choice,) = reply.choices
    calls = choice.message.tool_calls or []
    texts = [c.function.arguments for c in calls] or [choice.message.content]
    assert choice.finish_reason == ("tool_calls" if calls else "stop")
    assert all(json.loads(text)["city"] in {"Paris", "Rome"} for text in texts)


def test_thoughts_are_not_sent(server):
    """Where they are not wanted, or left out; they are counted."""
    for fields in ({"include_reasoning": False}, {"reasoning": {"enabled": True, "exclude": True}}):
        reply = server.sdk.chat.completions.create(
            **ASK, max_tokens=8, extra_body={"thinking": True} | fields
        )

        message = reply.choices[0].message
        assert not hasattr(message, "reasoning")
        assert reply.usage.completion_tokens_details.reasoning_tokens == 8


def test_a_prediction_changes_nothing_but_the_pace(server):
    """The same words, of which some were guessed right."""
    asked = ASK | {"max_tokens": 40, "logit_bias": {str(n): -100 for n in range(3, 100)}}
    plain = server.sdk.chat.completions.create(**asked)
    text = plain.choices[0].message.content
    told = server.sdk.chat.completions.create(
        **asked, prediction={"type": "content", "content": text}
    )

    assert told.choices[0].message.content == text
    assert plain.usage.completion_tokens_details.accepted_prediction_tokens == 0
    assert told.usage.completion_tokens_details.accepted_prediction_tokens > 0
    assert told.usage.completion_tokens == plain.usage.completion_tokens


def test_a_gap_is_filled(server):
    """By the model whose tokens mark one; the other says that it cannot."""
    completions = server.sdk.completions
    reply = completions.create(model="filling", prompt="def f(", suffix="): pass", max_tokens=4)
    with pytest.raises(openai.BadRequestError) as caught:
        completions.create(model=MODEL, prompt="def f(", suffix="): pass")
    gap = {"input_prefix": "def f(", "input_suffix": "): pass", "n_predict": 4}
    other = server.sdk.with_options(base_url=server.url).post(
        "/infill", cast_to=object, body=gap | {"model": "filling"}
    )

    assert reply.usage.completion_tokens <= 4
    assert caught.value.param == "suffix"
    assert other["tokens_evaluated"] == reply.usage.prompt_tokens


def test_a_message_goes_on(server):
    """Nothing of what the template writes behind a message stands between its words and the answer."""
    turns = [*ASK["messages"], {"role": "assistant", "content": "Well"}]
    body = {"model": MODEL, "messages": turns, "continue_final_message": True}
    root = server.sdk.with_options(base_url=server.url)
    rendered = root.post("/apply-template", cast_to=object, body=body)
    reply = server.sdk.chat.completions.create(
        **ASK | {"messages": turns, "max_tokens": 2}, extra_body={"continue_final_message": True}
    )

    assert rendered["prompt"] == "user: hi\nassistant: Well"
    assert reply.usage.completion_tokens <= 2


def test_a_model_says_what_it_can(server):
    """The operator's template counts, and nothing is loaded to find out."""
    models = {model.id: model.capabilities for model in server.sdk.models.list()}

    assert models[MODEL] == ["chat", "completion", "tools", "reasoning", "system"]
    assert "fill" in models["filling"]
