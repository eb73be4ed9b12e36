"""What a generation's text is held to: its grammar, or the calls that it must make."""

from engine.api import EngineError, Generation, Grammar
from engine.text.chat_format import grammar_of
from engine.text.grammars import after_thinking, vocabulary_of
from engine.text.prompts import PreparedPrompt
from engine.wire import Constrain, Vocabulary


def is_constrained(prompt: PreparedPrompt, generation: Generation) -> bool:
    tools, chat = generation.tools, prompt.chat
    must_call = tools is not None and tools.mode == "required"
    is_strict = tools is not None and chat is not None and chat.demands(tools)
    return must_call or is_strict or generation.grammar is not None


def constrain(prompt: PreparedPrompt, generation: Generation) -> tuple[Constrain, Vocabulary]:
    """What the worker is told, and the vocabulary that it has to know for it.

    Blocks: for a second where a large vocabulary is read for the first time. Raises `EngineError`
    bad_request. Of calls that must be made and a grammar the calls come first; calls that may be made
    are made instead of what follows the grammar.
    """
    vocabulary = vocabulary_of(prompt.tokenizer, prompt.vocab_size)
    ids = {vocabulary.tokens[id_].decode(errors="replace"): id_ for id_ in vocabulary.control_ids}
    chat = prompt.chat
    tools = generation.tools
    if tools is not None and tools.mode == "auto" and generation.grammar is not None:
        text = after_thinking(generation.grammar, chat, ids.get, tools)
        return Constrain(vocabulary.key, text), vocabulary
    lark = grammar_of(chat, tools, ids.get) if chat and tools else None
    if lark is not None:
        text = after_thinking(Grammar("lark", lark), None, ids.get)
    elif generation.grammar is not None:
        text = after_thinking(
            generation.grammar, chat if generation.splits_reasoning else None, ids.get
        )
    else:
        raise EngineError("bad_request", "the prompt has no tools to call", "tools")
    return Constrain(vocabulary.key, text), vocabulary
