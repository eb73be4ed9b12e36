"""What families of encoders share: what their files say of a text's one row, and what is made of it."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import field

from engine.kernels.ops.encoding import RowPooling
from engine.models.layer_normed import LayerNormConfig
from engine.models.meta import BaseConfig, gguf, gguf_has
from engine.models.names import Name, Names
from engine.nn.text_heads import Pooler

ROWS: Mapping[str, RowPooling] = {"mean": "mean", "cls": "first", "last": "last"}
"""Which rows a pooling takes."""


DENSE: Names = {
    "head.dense_2": Name("dense_2", hf="2_Dense.linear"),
    "head.dense_3": Name("dense_3", hf="3_Dense.linear"),
}
"""Of the matrices behind a `Pooler`."""


class EncoderConfig(LayerNormConfig, frozen=True, kw_only=True):
    """id2label: of a classifier, its labels."""

    attention_causal: Annotated[Literal[False], gguf("attention.causal")] = False
    is_decoder: Literal[False] = False
    architectures: tuple[str, ...] = ()
    id2label: Mapping[str, str] = field(default_factory=dict)
    has_score: Annotated[bool, gguf_has("cls.output.weight")] = False

    rope_thetas: ClassVar[Mapping[str, float | None]] = {}

    @property
    def is_reranker(self) -> bool:
        """Raises ValueError for a classifier, which says something else of a text."""
        if not any(each.endswith("ForSequenceClassification") for each in self.architectures):
            return self.has_score or self.pooling == "rank"
        if len(self.id2label) != 1:
            raise ValueError(f"a classifier of {len(self.id2label)} labels; a reranker has one")
        return True


def pooler(c: BaseConfig) -> Pooler:
    """As its files say; without a word from them, the mean."""
    return Pooler(
        c.hidden_size,
        ROWS[c.pooling or "mean"],
        is_unit=c.normalizes,
        dense_sizes=c.dense_sizes,
    )
