"""What an answer must look like, and may."""

import json

import pytest
from llguidance import LLMatcher, LLTokenizer

from engine.api import ToolChoice
from engine.text.chat_format import ChatFormat, grammar_of, read_tools
from engine.text.reasoning import ThinkTags
from engine.text.tools import formats
from engine.text.tools.lark import Lark

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": SCHEMA, "strict": True}}
WAIT = {"type": "function", "function": {"name": "wait"}}
FREE = ToolChoice()
MUST = ToolChoice("required")


@pytest.fixture
def takes():
    """Whether an answer may be so, from the first byte to the last."""
    tokenizer = LLTokenizer("byte")

    def takes(chat: ChatFormat, choice: ToolChoice, text: str) -> bool:
        grammar = grammar_of(chat, choice, lambda _: None)
        assert LLMatcher.validate_grammar(grammar, tokenizer) == ""
        matcher = LLMatcher(tokenizer, grammar)
        tokens = tokenizer.tokenize_str(text)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()

    return takes


def chat(form: formats.ToolFormat = formats.HERMES, **more: object) -> ChatFormat:
    return ChatFormat(form, tools=read_tools([LOOK, WAIT]), **more)


def call(name: str = "look", **arguments: object) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


def test_a_call_that_must_come_comes(takes):
    """Of a tool that may be called, with arguments that follow its schema."""
    one = ToolChoice("required", ("look",), is_parallel=False)

    assert takes(chat(), MUST, call(city="Rome", days=3))
    assert takes(chat(), MUST, f"{call(city='Rome')}\n{call('wait', at=[1])}")
    for wrong in (
        "",
        "Hi.",
        call(city="Oslo"),
        call(days=3),
        call("nobody"),
        call(city="Rome", x=1),
    ):
        assert not takes(chat(), MUST, wrong)
    assert not takes(chat(), one, call("wait"))
    assert not takes(chat(), one, f"{call(city='Rome')}\n{call(city='Rome')}")


def test_thoughts_before_it_are_free(takes):
    """Whether the prompt has opened them or the model does."""
    tags = ThinkTags("<think>", "</think>")

    assert takes(chat(thinking=tags), MUST, f"<think>\nHm <b></think>\n\n{call(city='Rome')}")
    assert takes(chat(thinking=tags), MUST, call(city="Rome"))
    assert takes(chat(thinking=tags, is_open=True), MUST, f"Hm.\n</think>\n\n{call(city='Rome')}")
    assert not takes(chat(thinking=tags, is_open=True), MUST, call(city="Rome"))


@pytest.mark.parametrize("form", [formats.HERMES, formats.QWEN_CODER, formats.GLM])
def test_strict_tools_are_held_to_their_schemas_whenever_they_are_called(takes, form):
    """Any text may come instead, before and after, even one that looks like the start of a call."""
    calls = {
        formats.HERMES: call(city="Rome"),
        formats.QWEN_CODER: "<tool_call>\n<function=look>\n<parameter=city>\nRome\n</parameter>\n"
        "</function>\n</tool_call>",
        formats.GLM: "<tool_call>look\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n"
        "</tool_call>",
    }
    good = calls[form]

    for text in ("", "Hi.", "<tool_cal", "a <tool_cal> b", good, f"I look.\n{good}\nDone."):
        assert takes(chat(form), FREE, text)
    assert takes(chat(form), FREE, f"{good}\n{good}")
    assert not takes(chat(form), FREE, good.replace("Rome", "Oslo"))
    assert not takes(chat(form), FREE, f"I look.\n{good.replace('Rome', 'Oslo')}")
    assert not takes(chat(form), ToolChoice(is_parallel=False), f"{good}\n{good}")


def test_nothing_is_demanded_where_nobody_asked():
    """Tools that are not strict, a model that marks no calls."""
    loose = ChatFormat(formats.HERMES, tools=read_tools([WAIT]))

    assert grammar_of(loose, FREE, lambda _: None) is None
    assert grammar_of(chat(formats.LLAMA_JSON), FREE, lambda _: None) is None


@pytest.mark.parametrize(
    "thought", ["", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"]
)
def test_an_answer_in_harmony_has_a_channel(thought):
    """What it must look like begins behind that, and behind what is thought."""
    lark = Lark(lambda _: None)
    grammar = lark.text_of(f'{chat(formats.HARMONY).preface(lark)} "yes"')
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, grammar)
    tokens = tokenizer.tokenize_str(f"{thought}<|channel|>final<|message|>yes")

    assert matcher.try_consume_tokens(tokens) == len(tokens)
    assert matcher.is_accepting()


def test_markers_that_are_tokens_are_written_as_tokens():
    """Their bytes spell something else."""
    ids = {"<tool_call>": 7, "</tool_call>": 8}

    grammar = grammar_of(chat(), MUST, ids.get)

    assert "<[7]>" in grammar
    assert "<[8]>" in grammar
    assert '"<tool_call>"' not in grammar
