"""How a decoder that reranks is asked about a pair of texts: its prompt, and the tokens of that."""

import re

from engine.text.template import Templates
from engine.text.tokenizer import Tokenizer

QUERY, DOCUMENT = "{query}", "{document}"
"""Where the texts go, as llama.cpp has it in its template `rerank`."""

QWEN3 = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that answer "
    f"the query\n<Query>: {QUERY}\n<Document>: {DOCUMENT}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""Qwen3-Reranker's, from its model card."""

ROLES = [{"role": "query", "content": QUERY}, {"role": "document", "content": DOCUMENT}]
"""What sentence-transformers renders a pair by, where the chat template knows these roles."""

_CONTROL = re.compile(r"(<\|[^|<>]{1,64}\|>)")
_PLACE = re.compile(r"(\{query\}|\{document\})")


def has_roles(templates: Templates) -> bool:
    """Whether the model's chat template takes a pair."""
    template = templates.get("default", "")
    return all(re.search(rf"['\"]{role['role']}['\"]", template) for role in ROLES)


def fixed_prompt(templates: Templates, tokenizer: Tokenizer) -> str | None:
    """The prompt of a model that has one and no roles for it; None for one that reads texts as pairs."""
    if "rerank" in templates:
        return templates["rerank"]
    return QWEN3 if tokenizer.special_id("<|im_start|>") is not None else None


def encode_prompt(tokenizer: Tokenizer, prompt: str, first: str, second: str) -> list[int]:
    """Ids of a prompt with the texts in their places. Control tokens are those of the prompt alone.

    It is cut at its control tokens, which no token reaches across.
    """
    ids: list[int] = []
    for piece in filter(None, _CONTROL.split(prompt)):
        is_given = _PLACE.search(piece) is not None
        text = _PLACE.sub(lambda at: first if at[0] == QUERY else second, piece)
        ids += tokenizer.encode(text, add_bos=False, allow_special=not is_given)
    return ids
