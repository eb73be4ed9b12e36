"""Grammars as llguidance takes them: what was asked for, behind what may come before it."""

import json
import threading
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from llguidance import LLMatcher
from llguidance.gbnf_to_lark import any_to_lark

from engine.api import EngineError, Grammar, ToolChoice
from engine.text.chat_format import ChatFormat, calls_or
from engine.text.closing import closed
from engine.text.tokenizer import Tokenizer
from engine.text.tools.lark import Lark
from engine.wire import Vocabulary

MAX_CHARS = 128 * 2**10
MAX_DEPTH = 64

LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""White space as Python writes it. Where any was allowed, small models would write it for ever."""

# Tokens that a grammar leaves no choice of would have to be spelled by the model's tokenizer, which
# the worker has not got; so the model spells them itself.
_HEADER = '%llguidance {"no_forcing": true}'

_vocabularies: "WeakKeyDictionary[Tokenizer, dict[int, Vocabulary]]" = WeakKeyDictionary()
_guard = threading.Lock()


def check_size(grammar: Grammar) -> None:
    """Raises `EngineError` bad_request for one that is longer or deeper than anybody needs."""
    if len(grammar.text) > MAX_CHARS:
        raise _wrong(f"{len(grammar.text)} characters, limit {MAX_CHARS}")
    if grammar.kind == "json_schema" and _depth(grammar.text) > MAX_DEPTH:
        raise _wrong(f"more than {MAX_DEPTH} levels deep")


def after_thinking(
    grammar: Grammar,
    chat: ChatFormat | None,
    token_id: Callable[[str], int | None],
    choice: ToolChoice | None = None,
) -> str:
    """The grammar in llguidance's form, with room for thoughts before it if the model has any.

    chat: None where no thoughts are to be told from the answer. token_id: the id of a control token
    by its text. choice: tools that may be called instead. Raises `EngineError` bad_request for a
    grammar that cannot be read.
    """
    lark = Lark(token_id)
    _, rules = lark.text_of(_start(chat, choice, lark)).split("\n", 1)
    answer = json.loads(answer_of(grammar))
    return json.dumps(
        {"grammars": [{"lark_grammar": f"{_HEADER}\n{rules}"}, {"name": "answer", **answer}]}
    )


def _start(chat: ChatFormat | None, choice: ToolChoice | None, lark: Lark) -> str:
    if chat is None:
        return " @answer"
    if choice is None:
        return f"{chat.preface(lark)} @answer"
    return calls_or(chat, choice, lark, "@answer")


@lru_cache(maxsize=64)
def answer_of(grammar: Grammar) -> str:
    """One grammar of llguidance's list, as JSON. Raises `EngineError` bad_request."""
    match grammar.kind:
        case "json_schema":
            return json.dumps({"json_schema": _schema(grammar.text)})
        case "regex":
            whole = json.loads(LLMatcher.grammar_from_regex(grammar.text))
            return json.dumps({"lark_grammar": whole["grammars"][0]["lark_grammar"]})
        case "lark":
            return json.dumps({"lark_grammar": _lark(grammar.text)})


def vocabulary_of(tokenizer: Tokenizer, vocab_size: int) -> Vocabulary:
    """What the worker must know of a tokenizer; takes a second for 262,144 tokens, once.

    vocab_size: the model's, which may be larger. Raises `EngineError` bad_request where no token ends
    a text.
    """
    with _guard:
        of_sizes = _vocabularies.setdefault(tokenizer, {})
        found = of_sizes.get(vocab_size)
    if found is None:
        found = of_sizes[vocab_size] = _read_vocabulary(tokenizer, vocab_size)
    return found


def _read_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> Vocabulary:
    end_ids = sorted(id_ for id_ in tokenizer.stop_ids if id_ < vocab_size)
    if not end_ids:
        raise _wrong("the model has no token that ends a text")
    tokens = [tokenizer.token_bytes(id_) for id_ in range(vocab_size)]
    control_ids = [id_ for id_ in range(vocab_size) if tokenizer.is_control(id_)]
    digest = blake2b(json.dumps([control_ids, end_ids]).encode(), digest_size=16)
    for token in tokens:
        digest.update(len(token).to_bytes(4, "little") + token)
    return Vocabulary(digest.hexdigest(), tokens, control_ids, end_ids)


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise _wrong(f"not JSON: {error}") from None
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise _wrong("a schema is an object")
    own = schema.get("x-guidance", {})
    return {**closed(schema), "x-guidance": LAYOUT | (own if isinstance(own, dict) else {})}


def _lark(text: str) -> str:
    try:
        return str(any_to_lark(text))
    except Exception as error:  # noqa: BLE001 - the library raises a bare Exception for some
        raise _wrong(f"neither Lark nor GBNF: {error}") from None


def _depth(text: str) -> int:
    """How deep brackets nest, those within strings aside."""
    depth = deepest = 0
    is_string = is_escaped = False
    for char in text:
        if is_string:
            is_string = is_escaped or char != '"'
            is_escaped = char == "\\" and not is_escaped
        elif char == '"':
            is_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _wrong(reason: str) -> EngineError:
    return EngineError("bad_request", reason, "grammar")
