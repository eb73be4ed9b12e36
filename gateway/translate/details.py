"""A known model as `POST /v1/models/show` tells of it."""

from collections.abc import Iterable

from engine.api import DType, Footprint, KVDType
from gateway.catalog.models import KnownModel
from gateway.config import Settings
from gateway.openai.details import ModelDetails, Need
from gateway.openai.models import Model

CONTEXTS = (2048, 4096, 8192, 16384, 32768, 65536, 131072)


def read_details(
    model: KnownModel,
    shown: Model,
    footprint: Footprint,
    licences: Iterable[str],
    settings: Settings,
) -> ModelDetails:
    """shown: the same model as every client sees it. footprint: of the form that would be loaded."""
    card, (dtype, kv_dtype) = model.card, dtypes_of(model, settings)
    return ModelDetails(
        model=shown,
        path=card.path,
        licences=list(licences),
        digest=card.digest,
        chat_template=_template(model),
        max_context=card.context_length,
        vocab_size=card.vocab_size,
        form=footprint.form,
        dtype=dtype,
        kv_dtype=kv_dtype,
        weights_bytes=footprint.weights_bytes,
        workspace_bytes=footprint.workspace_bytes,
        kv_bytes_per_token=footprint.kv_bytes_per_token,
        state_bytes_per_sequence=footprint.state_bytes_per_sequence,
        needs=_needs(footprint, card.context_length, shown.context_length),
    )


def dtypes_of(model: KnownModel, settings: Settings) -> tuple[DType, KVDType]:
    """What it is computed in, and keeps keys and values in: its own, or else the server's."""
    return (
        settings.dtype if model.dtype == "auto" else model.dtype,
        settings.kv_dtype if model.kv_dtype == "auto" else model.kv_dtype,
    )


def _template(model: KnownModel) -> str:
    if model.chat_template is not None:
        return "the operator's"
    return "the model's own" if "chat" in model.card.tasks else "none"


def _needs(footprint: Footprint, longest: int, served: int) -> list[Need]:
    """Up to what the model knows; with what it is served with here, and one sequence."""
    slots = 1 if footprint.state_bytes_per_sequence else 0
    sizes = {size for size in CONTEXTS if size < longest} | {longest, served}
    return [Need(tokens, footprint.total(tokens, slots)) for tokens in sorted(sizes)]
