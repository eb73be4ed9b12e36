"""RoBERTa and XLM-R: BERT with one kind of text, and positions that begin behind the padding's.

Checked against transformers 5.23 (models/roberta, models/xlm_roberta). Their GGUF files call
themselves bert, and have no rows for the positions that are left out.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models import bert
from engine.models.family import Family


class Config(bert.Config, frozen=True, kw_only=True):
    """max_position_embeddings: of config.json less the offset, so what a text may have."""

    type_vocab_size: Annotated[int, Meta(ge=1, le=64)] = 1
    pad_token_id: Annotated[int, Meta(ge=0, le=2**24)] = 1

    hf_defaults: ClassVar[Mapping[str, Any]] = bert.Config.hf_defaults

    def __post_init__(self) -> None:
        super().__post_init__()
        num_positions = self.max_position_embeddings - self.position_offset
        if num_positions < 1:
            raise ValueError(f"{self.max_position_embeddings} positions are none for a text")
        force_setattr(self, "max_position_embeddings", num_positions)

    @property
    def position_offset(self) -> int:
        """Position of the first token."""
        return self.pad_token_id + 1


NAMES = bert.names("", dense="classifier.dense", out_proj="classifier.out_proj")

FAMILY = Family(
    "roberta",
    (
        *("RobertaModel", "RobertaForSequenceClassification", "RobertaForMaskedLM"),
        *("XLMRobertaModel", "XLMRobertaForSequenceClassification", "XLMRobertaForMaskedLM"),
    ),
    ("roberta", "xlm-roberta"),
    (),
    Config,
    bert.build,
    NAMES,
    unused=(*bert.UNUSED, "lm_head.*"),
)
