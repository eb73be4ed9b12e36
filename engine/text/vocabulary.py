from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.api import EngineError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
_KEY = "tokenizer.ggml."


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A GGUF file's table of tokens. `ids` is by text; the lists are by id.

    control: texts of the control tokens, the unknown one among them. user_defined: texts that are
    taken out of a text whole, before anything else is done to it.
    """

    texts: list[str]
    ids: dict[str, int]
    types: list[int]
    scores: list[float]

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], *, unique: bool = True) -> "Vocabulary":
        """Raises `EngineError` bad_checkpoint for a table that is missing or contradicts.

        unique: no text may be there twice.
        """
        texts = _table(metadata, "tokens", str, None)
        types = _table(metadata, "token_type", int, [NORMAL] * len(texts))
        scores = _table(metadata, "scores", (int, float), [0.0] * len(texts))
        for name, table in (("token_type", types), ("scores", scores)):
            if len(table) < len(texts):
                raise _error(f"{len(texts)} tokens, but {_KEY}{name} has {len(table)} entries")
        texts = [text or f"[EMPTY_{index}]" for index, text in enumerate(texts)]
        ids = {text: index for index, text in enumerate(texts)}
        if unique and len(ids) < len(texts):
            twice = next(text for index, text in enumerate(texts) if ids[text] != index)
            raise _error(f"token {twice!r} is in the vocabulary twice")
        return cls(texts, ids, types[: len(texts)], scores[: len(texts)])

    def of_type(self, *types: int) -> list[str]:
        wanted = set(types)
        return [text for text, kind in zip(self.texts, self.types, strict=True) if kind in wanted]

    @property
    def control(self) -> list[str]:
        return self.of_type(CONTROL, UNKNOWN)

    @property
    def user_defined(self) -> list[str]:
        return self.of_type(USER_DEFINED)

    @property
    def normal_scores(self) -> dict[str, float]:
        """Scores of the tokens that merging may make, by text."""
        rows = zip(self.texts, self.types, self.scores, strict=True)
        return {text: score for text, kind, score in rows if kind == NORMAL}

    def unknown_text(self, unknown_id: object) -> str | None:
        """Text of the unknown token: as declared, or the one that is of that type."""
        if isinstance(unknown_id, int) and 0 <= unknown_id < len(self.texts):
            return self.texts[unknown_id]
        return next(iter(self.of_type(UNKNOWN)), None)


def _table(
    metadata: Mapping[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    default: list[Any] | None,
) -> list[Any]:
    table = metadata.get(f"{_KEY}{name}", default)
    if not isinstance(table, list) or not all(isinstance(entry, kind) for entry in table):
        raise _error(f"{_KEY}{name} is missing or of the wrong type")
    return table


def _error(what: str) -> EngineError:
    return EngineError("bad_checkpoint", f"tokenizer: {what}")
