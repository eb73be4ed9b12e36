"""The table of docs/structured-outputs.md, keyword by keyword."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from llguidance import LLTokenizer

from engine.api import Grammar
from engine.sampling.grammar import build_trie, compile_grammar
from engine.text.grammars import after_thinking
from tests.engine.text.keywords import HONOURED, IGNORED, REFUSED
from tests.engine.text.test_refusals import refused

DOCS = Path(__file__).parents[3] / "docs/structured-outputs.md"


@pytest.fixture(scope="module")
def trie() -> LLTokenizer:
    return build_trie([*(bytes([byte]) for byte in range(256)), b""], [], [256])


def accepts(trie: LLTokenizer, schema: object, value: object) -> bool:
    grammar = Grammar("json_schema", json.dumps(schema))
    matcher = compile_grammar(trie, after_thinking(grammar, None, lambda _: None))
    text = json.dumps(value, ensure_ascii=False).encode()
    return matcher.try_consume_tokens(list(text)) == len(text) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("keyword", "schema", "right", "wrong"), HONOURED, ids=lambda value: str(value)[:30]
)
def test_a_keyword_that_is_honoured(trie, keyword, schema, right, wrong):
    """What it allows can be said, and what it forbids cannot."""
    jsonschema.validate(right, schema, format_checker=jsonschema.FormatChecker())

    assert keyword in json.dumps(schema)
    assert refused(schema) == ""
    assert accepts(trie, schema, right)
    assert not accepts(trie, schema, wrong)


@pytest.mark.parametrize("keyword", IGNORED)
def test_a_keyword_that_is_ignored(keyword):
    """It is no reason to refuse a schema."""
    assert refused({"type": "string", keyword: IGNORED[keyword]}) == ""


@pytest.mark.parametrize("keyword", REFUSED)
def test_a_keyword_that_is_refused(keyword):
    """By its name and place, before anything is generated."""
    schema = {"type": "object", "properties": {"a": {keyword: REFUSED[keyword]}}}

    assert refused(schema) == f'Unimplemented keys: ["{keyword}"] (at #/properties/a)'


def test_the_documentation_says_the_same():
    """Each row of the table names exactly the keywords that are tried here."""
    rows = dict(
        re.findall(r"^\| (honoured|ignored|refused) \| (.*) \|", DOCS.read_text(), re.MULTILINE)
    )
    words = {kind: set(re.findall(r"`([^`]+)`", row)) for kind, row in rows.items()}

    assert words["honoured"] == {keyword for keyword, *_ in HONOURED} | {"$defs", "definitions"}
    assert words["ignored"] == IGNORED.keys() - {"x-own"}
    assert words["refused"] == REFUSED.keys()
