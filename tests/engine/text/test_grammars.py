"""What a grammar becomes before the worker has it, and what is refused of it."""

import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from engine.api import EngineError, Generation, Grammar, ToolChoice
from engine.sampling.grammar import build_trie, compile_grammar
from engine.text.chat_format import ChatFormat, find_format
from engine.text.constraints import constrain, is_constrained
from engine.text.grammar_checks import GrammarChecks
from engine.text.grammars import MAX_CHARS, MAX_DEPTH, after_thinking, check_size, vocabulary_of
from engine.text.prompts import PreparedPrompt
from engine.text.reasoning import ThinkTags
from engine.text.tools.formats import detect

END, OPENING, CLOSING = 256, 257, 258
TOKENS = [*(bytes([byte]) for byte in range(256)), b"", b"<think>", b"</think>"]
TAGS = ThinkTags("<think>", "</think>")
ANSWER = Grammar("regex", "yes|no")


@pytest.fixture(scope="module")
def trie() -> LLTokenizer:
    return build_trie(TOKENS, [OPENING, CLOSING], [END])


def chat(*, is_open: bool) -> ChatFormat:
    return ChatFormat(detect(""), TAGS, is_open)


def nothing(_: str) -> None:
    """No text is a control token."""


def accepts(trie: LLTokenizer, grammar: str, tokens: list[int]) -> bool:
    matcher: LLMatcher = compile_grammar(trie, grammar)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("form", "text", "is_right"),
    [
        (None, "yes", True),
        (None, "<think>hm</think>yes", False),
        (chat(is_open=False), "yes", True),
        (chat(is_open=False), "<think>hm, yes? {</think>\n\nno", True),
        (chat(is_open=False), "<think>hm</think>maybe", False),
        (chat(is_open=True), "hm</think>yes", True),
        (chat(is_open=True), "yes", False),
    ],
)
def test_thoughts_are_free_before_the_answer(trie, form, text, is_right):
    """The grammar binds behind the end of thinking, and at once where there are no thoughts."""
    grammar = after_thinking(ANSWER, form, nothing)

    assert accepts(trie, grammar, list(text.encode())) == is_right


def test_tags_that_are_tokens(trie):
    """Where a tag is a control token, only that token is the tag."""
    ids = {"<think>": OPENING, "</think>": CLOSING}
    grammar = after_thinking(ANSWER, chat(is_open=False), ids.get)

    assert accepts(trie, grammar, [OPENING, *b"so </think> it is", CLOSING, *b"\nyes"])
    assert not accepts(trie, grammar, list(b"<think>hm</think>yes"))


@pytest.mark.parametrize(
    ("grammar", "right", "wrong"),
    [
        (Grammar("json_schema", '{"type": "array", "items": {"type": "null"}}'),
         "[null, null]", "[null,  null]"),
        (Grammar("json_schema", '{"const": {"a": 1}, "x-guidance": {"key_separator": ":"}}'),
         '{"a":1}', '{"a": 1}'),
        (Grammar("json_schema", "true"), '{"a": [1, "b"]}', "nothing"),
        (Grammar("regex", "a/b"), "a/b", "ab"),
        (Grammar("lark", 'start: "a" b\nb: "b"'), "ab", "a"),
        (Grammar("lark", '%llguidance {}\nstart: "a"'), "a", "b"),
        (Grammar("lark", 'root ::= "a" [0-9]'), "a7", "a"),
    ],
    ids=lambda value: getattr(value, "text", value),
)  # fmt: skip
def test_every_kind_reads_as_it_is_meant(trie, grammar, right, wrong):
    """White space as Python writes JSON, unless the schema says otherwise; GBNF is told from Lark."""
    whole = after_thinking(grammar, None, nothing)

    assert accepts(trie, whole, list(right.encode()))
    assert not accepts(trie, whole, list(wrong.encode()))


def test_brackets_in_strings_are_no_depth():
    """Only what nests counts."""
    check_size(Grammar("json_schema", json.dumps({"const": "[" * 1000 + '"' + "{" * 1000})))


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("regex", "a" * (MAX_CHARS + 1)),
        Grammar("json_schema", '{"items":' * (MAX_DEPTH + 1) + "{}" + "}" * (MAX_DEPTH + 1)),
    ],
    ids=["long", "deep"],
)
def test_what_is_too_large_is_refused(grammar):
    """Before anything is made of it."""
    with pytest.raises(EngineError, match=r"limit|levels"):
        check_size(grammar)


CHECKED: list[tuple[Grammar, str]] = [
    (Grammar("json_schema", '{"type": "object", "if": {}}'), '"if"'),
    (Grammar("json_schema", '{"type": "string", "format": "nonsense"}'), "nonsense"),
    (Grammar("json_schema", '{"type": "array", "contains": {}}'), '"contains"'),
    (Grammar("json_schema", '{"$ref": "#/nowhere"}'), "nowhere"),
    (Grammar("json_schema", '{"enum": []}'), "Unsatisfiable"),
    (Grammar("json_schema", "[1]"), "object"),
    (Grammar("json_schema", "{"), "JSON"),
    (Grammar("regex", "(a"), "unclosed"),
    (Grammar("lark", "start: x"), "unknown name"),
    (Grammar("lark", "root ::= ("), "Expected"),
]


async def test_a_check_says_what_is_wrong(subtests):
    """What is not supported is refused by its name; what is right passes, after all of that."""
    checks = GrammarChecks()
    try:
        for grammar, reason in CHECKED:
            with subtests.test(grammar.text):
                with pytest.raises(EngineError, match=reason) as caught:
                    await checks.check(grammar)
                assert (caught.value.code, caught.value.param) == ("bad_request", "grammar")
        await checks.check(ANSWER)
    finally:
        checks.close()


def test_a_vocabulary_is_as_wide_as_the_model(fixture_tokenizer):
    """Ids beyond the tokenizer's are nothing; it is read once, and known by its content."""
    tokenizer = fixture_tokenizer("llama-plain", "gguf")
    vocabulary = vocabulary_of(tokenizer, tokenizer.vocab_size + 5)

    assert vocabulary_of(tokenizer, tokenizer.vocab_size + 5) is vocabulary
    assert vocabulary.tokens[-5:] == [b""] * 5
    assert set(vocabulary.end_ids) == tokenizer.stop_ids
    assert all(tokenizer.is_control(id_) for id_ in vocabulary.control_ids)


def test_calls_that_must_be_made_are_a_grammar(fixture_tokenizer):
    """A choice that demands a call is held to it as a schema is; one that does not is free."""
    tools = [{"function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    tokenizer = fixture_tokenizer("llama-plain", "gguf")
    prompt = _prompt(tokenizer, tools)
    required = Generation(9, tools=ToolChoice("required"))

    constraint, vocabulary = constrain(prompt, required)

    assert constraint.vocabulary == vocabulary.key
    assert "look" in constraint.text
    assert is_constrained(prompt, required)
    assert not is_constrained(prompt, Generation(9, tools=ToolChoice("auto")))


HERMES, LLAMA, HARMONY = (
    "<tool_call></think>",
    "<|start_header_id|><|python_tag|>",
    "<|channel|><|message|>",
)
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": 1}}\n</tool_call>'
EITHER = (
    (HERMES, "yes", True),
    (HERMES, CALL, True),
    (HERMES, f"<think>hm</think>{CALL}\n{CALL}", True),
    (HERMES, "<think>hm</think>no", True),
    (HERMES, f"yes{CALL}", False),
    (HERMES, CALL.replace("1", '"x"'), False),
    (HERMES, "maybe", False),
    (LLAMA, '{"name": "look", "parameters": {"at": 1}}', True),
    (LLAMA, "no", True),
    (HARMONY, "<|channel|>final<|message|>yes", True),
    (HARMONY, "yes", False),
    ("", "yes", True),
    ("", '{"name": "look", "arguments": {"at": 1}}', False),
)


@pytest.mark.parametrize(("template", "text", "is_right"), EITHER)
def test_a_reply_is_a_call_or_follows_the_grammar(trie, template, text, is_right):
    """Where tools may be called; a family that teaches no format has only the answer."""
    schema = {"type": "object", "properties": {"at": {"type": "integer"}}, "required": ["at"]}
    tools = [{"function": {"name": "look", "parameters": schema | {"additionalProperties": False}}}]
    grammar = after_thinking(ANSWER, find_format(template, "", tools), nothing, ToolChoice())

    assert accepts(trie, grammar, list(text.encode())) == is_right


def _prompt(tokenizer: Any, tools: list[dict[str, Any]]) -> PreparedPrompt:
    form = find_format("<tool_call>", "", tools)
    return PreparedPrompt(tokenizer, [1], chat=form, vocab_size=tokenizer.vocab_size)
