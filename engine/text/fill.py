"""Prompts with a gap for models that were trained to fill one (fill-in-the-middle).

Sources: Bavarian et al., "Efficient Training of Language Models to Fill in the Middle" (2022); the
layouts of llama.cpp's /infill, of the models' cards and of Mistral's tokenizers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from engine.api import FillPrompt
from engine.checkpoint import Checkpoint, GGUFCheckpoint, SafetensorsCheckpoint
from engine.text.from_folder import MAX_TOKENIZER_BYTES
from engine.text.guard import guard_of
from engine.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Marks:
    """Tokens that mark a gap, by their texts.

    middle: where the answer begins; empty where it goes on with the prefix, which comes last then.
    project, file: what a project and each of its files begin with, where there are such tokens.
    """

    prefix: str
    suffix: str
    middle: str = ""
    project: str = ""
    file: str = ""


_SPELLINGS = (
    # Qwen2.5-Coder and Qwen3-Coder; CodeGemma, Granite 3 and 4, which mark no files like that
    Marks("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"),
    # StarCoder, Granite Code; SantaCoder
    Marks("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<repo_name>", "<file_sep>"),
    Marks("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    Marks("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001 - DeepSeek's own
    Marks("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    Marks("<PRE>", "<SUF>", "<MID>"),
    Marks("[PREFIX]", "[SUFFIX]"),  # Codestral: the suffix first, and [MIDDLE] is never used
)
_ENDS = ("▁<EOT>", "<|file_separator|>", "<file_sep>")
"""What ends a filling beside what ends any text."""

_KEY = "tokenizer.ggml."
_ROLES = ("pre", "suf", "mid", "rep", "sep")
_OLD_NAMES = {"pre": "prefix", "suf": "suffix", "mid": "middle"}


@dataclass(frozen=True, slots=True)
class Filler:
    """The same tokens by id, and what lays a prompt out with them.

    ends: tokens that end a filling. written: texts of all of them, which no file's text becomes.
    """

    prefix: int
    suffix: int
    middle: int | None = None
    project: int | None = None
    file: int | None = None
    ends: frozenset[int] = frozenset()
    written: str = ""

    def lay_out(self, prompt: FillPrompt, tokenizer: Tokenizer) -> list[int]:
        """Snippets of other files, then what is before the gap and behind it. Blocks as `encode`."""
        guard = guard_of(tokenizer, self.written)

        def ids_of(text: str) -> list[int]:
            return tokenizer.encode_guarded(guard.words(text), guard.names)

        before = [self.prefix, *ids_of(prompt.prefix)]
        behind = [self.suffix, *ids_of(prompt.suffix)]
        gap = [*behind, *before] if self.middle is None else [*before, *behind, self.middle]
        return [*tokenizer.prefix_ids, *self._others(prompt, ids_of), *gap]

    def _others(self, prompt: FillPrompt, ids_of: Callable[[str], list[int]]) -> list[int]:
        if not prompt.snippets:
            return []
        ids = [] if self.project is None else [self.project, *ids_of("project\n")]
        for snippet in prompt.snippets:
            if self.file is None:
                ids += ids_of(f"--- snippet ---\n\n{snippet.text}\n")
            else:
                ids += [self.file, *ids_of(f"{snippet.file_name or 'snippet'}\n{snippet.text}")]
        return ids if self.file is None else [*ids, self.file, *ids_of("filename\n")]


def can_fill(checkpoint: Checkpoint) -> bool:
    """Whether `find_filler` will find one, without the tokenizer."""
    if isinstance(checkpoint, GGUFCheckpoint):
        if len(_declared(checkpoint).keys() & {"pre", "suf", "mid"}) == 3:
            return True
        # decoding all of a large vocabulary takes half a second
        has = partial(checkpoint.metadata.has_text, f"{_KEY}tokens")
        return any(_is_known(marks, has) for marks in _SPELLINGS)
    if isinstance(checkpoint, SafetensorsCheckpoint):
        file = checkpoint.read_text("tokenizer.json", MAX_TOKENIZER_BYTES) or ""
        return any(_is_known(marks, lambda text: f'"{text}"' in file) for marks in _SPELLINGS)
    return False


def find_filler(checkpoint: Checkpoint, tokenizer: Tokenizer) -> Filler | None:
    """By what the file declares, else by tokens of the names that are known; None without them."""

    def id_of(text: str) -> int | None:
        ids = tokenizer.encode(text, add_bos=False, allow_special=True) if text else []
        return ids[0] if len(ids) == 1 and tokenizer.token_bytes(ids[0]) == text.encode() else None

    declared = _declared(checkpoint) if isinstance(checkpoint, GGUFCheckpoint) else {}
    for marks in _SPELLINGS:
        if _is_known(marks, lambda text: id_of(text) is not None):
            texts = (marks.prefix, marks.suffix, marks.middle, marks.project, marks.file)
            declared = dict(zip(_ROLES, map(id_of, texts), strict=True)) | declared
            break
    prefix, suffix, middle, project, file = (declared.get(role) for role in _ROLES)
    if prefix is None or suffix is None:
        return None
    own = {prefix, suffix, middle, project, file, *map(id_of, _ENDS)}
    ends = frozenset(token_id for token_id in own if token_id is not None)
    written = " ".join(tokenizer.token_bytes(end).decode(errors="replace") for end in sorted(ends))
    return Filler(prefix, suffix, middle, project, file, ends, written)


def _is_known(marks: Marks, knows: Callable[[str], bool]) -> bool:
    return all(knows(text) for text in (marks.prefix, marks.suffix, marks.middle) if text)


def _declared(checkpoint: GGUFCheckpoint) -> dict[str, int | None]:
    """Token ids by role, as far as the metadata names them, by their present or their older keys."""
    metadata = checkpoint.metadata
    num_tokens = metadata.count(f"{_KEY}tokens") or 0
    found: dict[str, int | None] = {}
    for role in _ROLES:
        value = metadata.get(f"{_KEY}fim_{role}_token_id")
        if value is None and role in _OLD_NAMES:
            value = metadata.get(f"{_KEY}{_OLD_NAMES[role]}_token_id")
        if isinstance(value, int) and 0 <= value < num_tokens:
            found[role] = value
    return found
