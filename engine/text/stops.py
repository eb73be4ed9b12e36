"""Which tokens end a generation, by what they are called.

Checkpoints often declare one end token and use another, so the names that the field uses for it
count as well (the list is llama.cpp's, which every GGUF has been tried against).
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

END_TEXTS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",  # noqa: RUF001 - DeepSeek's own characters
    "[e~[",
    # padding, and the borders between files: what follows them answers nobody
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
)
# Gemma has it as an HTML tag, so it ends a text only where it is a control token.
END_TEXT_IF_CONTROL = "</s>"
_HARMONY_TEXTS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
_HARMONY_END = "<|end|>"


def visible_texts(special: AbstractSet[str]) -> frozenset[str]:
    """Special tokens that are part of the text all the same: parsers of Harmony read them."""
    return _HARMONY_TEXTS | {_HARMONY_END} if _ends_messages_only(special) else _HARMONY_TEXTS


def find_stop_ids(
    declared: Iterable[int | None], id_of: Callable[[str], int | None], special: AbstractSet[str]
) -> frozenset[int]:
    """Ids that end a generation: those declared, and those called like an end.

    id_of: the id of a token by its text. special: texts of the control tokens.
    """
    texts = set(END_TEXTS)
    if END_TEXT_IF_CONTROL in special:
        texts.add(END_TEXT_IF_CONTROL)
    found = {id_of(text) for text in texts} | set(declared)
    if _ends_messages_only(special):
        found.discard(id_of(_HARMONY_END))
    return frozenset(token_id for token_id in found if token_id is not None)


def _ends_messages_only(special: AbstractSet[str]) -> bool:
    """Whether `<|end|>` closes one message of several, as in Harmony and in Solar Open."""
    return special >= {"<|return|>", "<|call|>"} or special >= {"<|calls|>", "<|flush|>"}
