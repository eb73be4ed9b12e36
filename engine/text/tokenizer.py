from abc import ABC, abstractmethod
from dataclasses import dataclass

from engine.api import EngineError

MARK = "\ufdd0"
"""Stands within a name that is none; one of the characters that no text is to have (Unicode, 23.7)."""


@dataclass(frozen=True, slots=True)
class Specials:
    """What a checkpoint says of its special tokens.

    prefix, suffix: ids put round a text that stands at the start of a sequence (BOS, EOS).
    stop_ids: tokens that end a generation. barred_ids: tokens that must never be generated.
    """

    bos_id: int | None = None
    eos_id: int | None = None
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    barred_ids: frozenset[int] = frozenset()


def ids_among(values: object) -> frozenset[int]:
    """The token ids of a list in a file, whatever else may be there."""
    return (
        frozenset(v for v in values if isinstance(v, int))
        if isinstance(values, list)
        else frozenset()
    )


class Tokenizer(ABC):
    """Text to token ids and back, for one checkpoint. Safe to use from several threads.

    control: tokens that steer the conversation and are no text of it. drops_first_space: whether a
    text's first token begins with a space that the text does not have.
    """

    def __init__(
        self, specials: Specials, control: frozenset[int], *, drops_first_space: bool = False
    ) -> None:
        self._specials = specials
        self._control = control
        self.drops_first_space = drops_first_space
        self._bytes: dict[int, bytes] = {}

    def encode(self, text: str, *, add_bos: bool, allow_special: bool) -> list[int]:
        """Ids of a text. Holds a core for about a second per million characters.

        add_bos: put round it what the model wants round a whole text; a BOS that the text itself
        begins with is not doubled. allow_special: text that spells a control token becomes it;
        otherwise it stays text.
        """
        ids = self._ids_of(text, allow_special=allow_special)
        if not add_bos:
            return ids
        prefix = self._specials.prefix
        if tuple(ids[: len(prefix)]) == prefix:
            prefix = ()
        return [*prefix, *ids, *self._specials.suffix]

    @abstractmethod
    def encode_guarded(self, text: str, names: frozenset[str]) -> list[int]:
        """Ids of a rendered chat, in which tokens of their own become what they spell.

        But for those of the names that have a `MARK` within: they are read as any text, and the marks
        are not read at all.
        """

    @property
    @abstractmethod
    def special_names(self) -> frozenset[str]:
        """Texts of all special tokens, of those that parsers read as well."""

    @property
    def added_names(self) -> frozenset[str]:
        """Texts of the other tokens that are taken out of any text whole."""
        return frozenset()

    def encode_pair(self, first: str, second: str) -> tuple[list[int], int]:
        """Ids of two texts as one sequence, and how many of them belong to the first.

        Raises `EngineError` bad_request where the tokenizer does not say how to join them.
        """
        del first, second
        raise EngineError("bad_request", "the model's tokenizer does not join texts", "documents")

    @abstractmethod
    def _ids_of(self, text: str, *, allow_special: bool) -> list[int]: ...

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes that a token stands for; a control token's are those of its name.

        Empty for an id that the vocabulary has no token for.
        """
        found = self._bytes.get(token_id)
        if found is None:
            found = self._bytes[token_id] = self._read_bytes(token_id)
        return found

    @abstractmethod
    def _read_bytes(self, token_id: int) -> bytes: ...

    def token_text(self, token_id: int) -> str:
        """A token alone as text, U+FFFD where it holds half a character."""
        return self.token_bytes(token_id).decode(errors="replace")

    def special_id(self, text: str) -> int | None:
        """The control token of this name, if there is one."""
        ids = self._ids_of(text, allow_special=True)
        return ids[0] if len(ids) == 1 and self.is_control(ids[0]) else None

    def is_control(self, token_id: int) -> bool:
        """Whether a token steers the conversation and is no text of it."""
        return token_id in self._control

    @property
    def bos_id(self) -> int | None:
        return self._specials.bos_id

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """What the model wants before a whole text."""
        return self._specials.prefix

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """What the model wants behind a whole text."""
        return self._specials.suffix

    @property
    def add_bos(self) -> bool:
        return bool(self._specials.prefix)

    @property
    def stop_ids(self) -> frozenset[int]:
        return self._specials.stop_ids

    @property
    def barred_ids(self) -> frozenset[int]:
        return self._specials.barred_ids

    @property
    def bos_token(self) -> str:
        """The text of the BOS token; empty without one."""
        return self._name(self._specials.bos_id)

    @property
    def eos_token(self) -> str:
        return self._name(self._specials.eos_id)

    @abstractmethod
    def _name(self, token_id: int | None) -> str: ...

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids, counting gaps: the model's own vocabulary may still be larger."""
