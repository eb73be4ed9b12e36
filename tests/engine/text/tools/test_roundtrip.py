"""Any call that a format can write is read as it was meant."""

# ruff: noqa: RUF001 - DeepSeek's own characters

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import ToolChoice
from engine.text.chat_format import ChatFormat, read_tools
from engine.text.tools import formats
from engine.text.tools.formats import ToolFormat
from tests.engine.text.tools.conftest import TOOLS, parse

Arguments = dict[str, Any]

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["</", "<tool_call>", "\n", '"', "\\", "<|", "{}", "', b='", "]", "\n\n", "[ARGS]", "true", "3"]
)
_SCALAR = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
_VALUE = st.recursive(
    _SCALAR | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_ARGUMENTS = st.fixed_dictionaries(
    {}, optional={"city": _TEXT, "days": st.integers(), "where": st.dictionaries(_TEXT, _VALUE)}
)
_CALLS = st.lists(_ARGUMENTS, min_size=1, max_size=3)
_CUTS = st.lists(st.integers(1, 40), max_size=6)


def check(form: ToolFormat, render: Callable[[list[Arguments]], str]) -> None:
    """Rendered, cut anywhere and read again, calls are the same."""
    chat = ChatFormat(form, tools=read_tools(TOOLS))

    @settings(max_examples=20)
    @given(_CALLS, _CUTS)
    def holds(calls: list[Arguments], cuts: list[int]) -> None:
        answer = parse(chat, _cut(render(calls), cuts), ToolChoice("required"))

        assert [json.loads(arguments) for _, _, arguments in answer.calls] == calls
        assert {name for name, _, _ in answer.calls} == {"get_weather"}
        assert answer.said == ""

    holds()


def _cut(text: str, sizes: list[int]) -> list[str]:
    pieces = []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    return [*pieces, text]


def _objects(calls: list[Arguments], key: str = "arguments") -> list[str]:
    return [
        json.dumps({"name": "get_weather", key: call}, ensure_ascii=n % 2 == 0)
        for n, call in enumerate(calls)
    ]


def test_json_in_tags():
    """Hermes and Qwen: white space in any place that JSON allows."""
    check(
        formats.HERMES,
        lambda calls: "\n".join(f"<tool_call>\n{c}\n</tool_call>" for c in _objects(calls)),
    )


def test_json_in_a_list():
    """Mistral's first format: the calls are one array."""
    check(formats.MISTRAL_LIST, lambda calls: f"[TOOL_CALLS][{', '.join(_objects(calls))}]")


def test_bare_json():
    """Llama 3: nothing tells the calls from an answer but that they are calls."""
    check(formats.LLAMA_JSON, lambda calls: "; ".join(_objects(calls, "parameters")))


def test_names_and_json():
    """DeepSeek: a name between two tokens."""
    check(
        formats.DEEPSEEK_V31,
        lambda calls: (
            "<｜tool▁calls▁begin｜>"
            + "".join(
                f"<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{json.dumps(c)}<｜tool▁call▁end｜>"
                for c in calls
            )
            + "<｜tool▁calls▁end｜>"
        ),
    )


def test_bare_values():
    """Qwen3-Coder: strings stand as they are, the rest as JSON, and the schema tells which is which."""

    def value(item: Any) -> str:
        return item if isinstance(item, str) else json.dumps(item)

    def render(call: Arguments) -> str:
        rows = [f"<parameter={k}>\n{value(v)}\n</parameter>\n" for k, v in call.items()]
        body = "".join(rows)
        return f"<tool_call>\n<function=get_weather>\n{body}</function>\n</tool_call>"

    check(formats.QWEN_CODER, lambda calls: "\n".join(map(render, calls)))


def test_keys_and_values():
    """GLM: the same in other tags."""

    def value(item: Any) -> str:
        return item if isinstance(item, str) else json.dumps(item)

    def render(call: Arguments) -> str:
        rows = [
            f"<arg_key>{k}</arg_key>\n<arg_value>{value(v)}</arg_value>\n" for k, v in call.items()
        ]
        return f"<tool_call>get_weather\n{''.join(rows)}</tool_call>"

    check(formats.GLM, lambda calls: "\n".join(map(render, calls)))


def test_python():
    """Llama 4 and others: literals as Python writes them."""

    def render(call: Arguments) -> str:
        return f"get_weather({', '.join(f'{k}={v!r}' for k, v in call.items())})"

    check(formats.PYTHONIC, lambda calls: f"[{', '.join(map(render, calls))}]")


def test_marked_strings():
    """Gemma: strings between marks of their own, and keys without any."""

    def value(item: Any) -> str:
        if isinstance(item, str):
            return f'<|"|>{item}<|"|>'
        if isinstance(item, dict):
            return f"{{{','.join(f'{value(k)}:{value(v)}' for k, v in item.items())}}}"
        if isinstance(item, list):
            return f"[{','.join(map(value, item))}]"
        return json.dumps(item)

    def render(call: Arguments) -> str:
        members = ",".join(f"{k}:{value(v)}" for k, v in call.items())
        return f"<|tool_call>call:get_weather{{{members}}}<tool_call|>"

    check(formats.GEMMA_4, lambda calls: "".join(map(render, calls)))
