"""Models that this server knows."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from engine.api import DType, EngineError, KVDType, ModelCard, TextSource
from gateway.catalog.scan import Found, Source
from gateway.config import ModelSettings, Preset


@dataclass(frozen=True, slots=True)
class Said:
    """What the operator says of a model that its card depends on."""

    chat_template: str | None = None
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"


@dataclass(eq=False, slots=True)
class Entry:
    """A checkpoint and what its inspection found: a card, or why there is none."""

    id: str
    found: Found
    said: Said = field(default_factory=Said)
    card: ModelCard | None = None
    failure: EngineError | None = None
    inspection: asyncio.Task[None] | None = None

    @property
    def is_settled(self) -> bool:
        """Nothing new is to be learnt unless the files change."""
        is_bad = self.failure is not None and self.failure.code == "bad_checkpoint"
        return self.card is not None or is_bad


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be asked for. created: seconds since 1970, of its files.

    chat_template: the operator's, instead of the file's own; with one, every model chats.
    dtype, kv_dtype: what the card is for. settings: what the operator says of the model. preset: the one it was asked for by, if so; then
    `root` is the id of the model whose weights it shares. defaults: for what a request leaves open,
    whoever said it: the preset, the model's settings, or those of all models.
    """

    id: str
    card: ModelCard
    created: int
    aliases: tuple[str, ...] = ()
    chat_template: str | None = None
    settings: ModelSettings = field(default_factory=ModelSettings)
    preset: Preset | None = None
    base: str | None = None
    upstream: str | None = None
    source: Source = "models"
    place: Path | None = None
    defaults: Preset | None = None
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"

    @property
    def names(self) -> tuple[str, ...]:
        """Its id and its aliases."""
        return (self.id, *self.aliases)

    @property
    def root(self) -> str:
        return self.base or self.id

    @property
    def key(self) -> str:
        """Of these very files, in what they are computed: what is loaded of others is not theirs."""
        how = "".join(f"+{each}" for each in (self.dtype, self.kv_dtype) if each != "auto")
        return f"{self.root}@{self.card.digest[:12]}{how}"

    @property
    def text_source(self) -> TextSource:
        card = self.card
        return TextSource(card.path, card.digest, card.vocab_size, self.chat_template)
