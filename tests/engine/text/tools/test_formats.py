import pytest

from engine.text.tools import formats
from engine.text.tools.formats import detect


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{{ '<tool_call>\\n{\"name\": ' }}</tool_call>", formats.HERMES),
        ("<tool_call>\n<function=...>\n<parameter=...>", formats.QWEN_CODER),
        ("<tool_call>{name}<arg_key>k</arg_key><arg_value>v</arg_value>", formats.GLM),
        ("<|start_header_id|>ipython<|end_header_id|>", formats.LLAMA_JSON),
        ("<|start_header_id|>ipython [func_name1(params_name1=...)]", formats.PYTHONIC),
        ("[AVAILABLE_TOOLS] [TOOL_CALLS]", formats.MISTRAL_LIST),
        ("[TOOL_CALLS]name[ARGS]", formats.MISTRAL),
        ("<|start|>assistant<|channel|>final<|message|>", formats.HARMONY),
        ("<|tool_call>call:", formats.GEMMA_4),
        ("<start_of_turn>user", formats.GENERIC),
        ("", formats.GENERIC),
    ],
)
def test_a_template_tells_its_format(template, form):
    """The marks that it writes calls with; those that share some are told apart by the rest."""
    assert detect(template) is form


@pytest.mark.parametrize("form", [formats.HERMES, formats.MISTRAL])
def test_ids_are_new_and_as_the_family_wants_them(form):
    """Mistral's template refuses any other than nine letters and digits."""
    first, second = form.new_id(), form.new_id()

    assert first != second
    assert first.removeprefix("call_").isalnum()
    assert len(first) == (9 if form is formats.MISTRAL else 29)


def test_slips_that_models_make_are_mended(read):
    """Line ends and backslashes in JSON strings; arguments as a text, first, null or not at all."""
    call = '<tool_call>{"name": "get_weather", "arguments": %s}</tool_call>'

    assert (
        read(formats.HERMES, call % '{"city": "a\nb\\d"}').calls[0][2] == '{"city": "a\\nb\\\\d"}'
    )
    assert read(formats.HERMES, call % '"{\\"city\\": \\"a\\"}"').calls[0][2] == '{"city": "a"}'
    assert read(formats.HERMES, call % "null").calls[0][2] == "{}"
    assert read(formats.HERMES, '<tool_call>{"name": "f"}</tool_call>').calls[0][2] == "{}"
    turned = '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>'
    assert read(formats.HERMES, turned).calls == [("f", None, '{"a": 1}')]


def test_what_strays_behind_a_call_is_shown(read):
    """A bracket too many does not undo the call, and is not hidden either."""
    text = '<tool_call>\n{"name": "get_weather", "arguments": {}}}\n</tool_call>'

    answer = read(formats.HERMES, text)

    assert (answer.calls, answer.said) == (
        [("get_weather", None, "{}")],
        "}\n</tool_call>",
    )


def test_what_some_templates_teach_beside_is_read_too(read):
    """Phi's object without a list, and LFM2's objects in place of Python."""
    call = '{"name": "get_weather", "arguments": {}}'

    phi = read(formats.PHI_4_MINI, f"<|tool_call|>{call}<|/tool_call|>")
    lfm = read(formats.LFM2, f"<|tool_call_start|>[{call}, {call}]<|tool_call_end|>")

    assert (phi.calls, phi.said) == ([("get_weather", None, "{}")], "")
    assert (lfm.calls, lfm.said) == ([("get_weather", None, "{}")] * 2, "")


def test_a_missing_opening_tag_is_forgiven(read):
    """Qwen3-Coder leaves it out at times."""
    text = (
        "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
    )

    assert read(formats.QWEN_CODER, text).calls == [("get_weather", None, '{"city": "Paris"}')]


def test_types_come_from_the_schema(read):
    """A bare `3` is a string where the tool wants one, and JSON where it does not say."""
    text = (
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>3</arg_value>\n"
        "<arg_key>more</arg_key>\n<arg_value>[1, true]</arg_value>\n"
        "<arg_key>word</arg_key>\n<arg_value>not JSON</arg_value>\n</tool_call>"
    )

    ((_, _, arguments),) = read(formats.GLM, text).calls

    assert arguments == '{"city": "3", "more": [1, true], "word": "not JSON"}'


def test_an_answer_that_is_json_is_left_alone(read):
    """Without marks, only an object that names a tool is a call."""
    text = '{"name": "Ada", "parameters": {}}'

    assert read(formats.LLAMA_JSON, text).said == text
    assert read(formats.PYTHONIC, "[print(1)]").said == "[print(1)]"
    assert (
        read(formats.GENERIC, '{"name": "get_weather", "arguments": {}}', mode="auto").calls == []
    )


def test_harmony_has_channels(read):
    """Analysis is thought, commentary without a recipient and the final channel are said."""
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>"
        "I look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        '<|constrain|>json<|message|>{"city": "Paris"}'
    )

    whole = read(formats.HARMONY, text)

    assert (whole.thought, whole.said) == ("Hm.", "I look.")
    assert whole.calls == [("get_weather", None, '{"city": "Paris"}')]
    for place in range(len(text)):
        assert read(formats.HARMONY, text[:place], text[place:]) == whole


def test_a_call_to_a_recipient_in_the_role(read):
    """Harmony lets the recipient stand before the channel too."""
    text = ' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}'

    assert read(formats.HARMONY, text).calls == [("get_weather", None, '{"city": "Paris"}')]
