"""A known model as `/v1/models` shows it."""

from engine.api import ModelCard
from gateway.openai.models import Architecture, Model, Status
from gateway.pool.status import ModelState, ModelStatus

STATUSES: dict[ModelState, str] = {
    "unloaded": "unloaded",
    "loading": "loading",
    "loaded": "loaded",
    "draining": "loaded",
    "unloading": "unloaded",
}
"""Our states in the words of llama.cpp's router."""


def read_model(
    model_id: str,
    card: ModelCard,
    *,
    created: int,
    aliases: tuple[str, ...],
    status: ModelStatus,
    context_length: int,
) -> Model:
    return Model(
        id=model_id,
        created=created,
        owned_by=model_id.split("/", 1)[0] if "/" in model_id else "roundhouse",
        name=model_id.rsplit("/", 1)[-1],
        aliases=list(aliases),
        state=status.state,
        status=Status(STATUSES[status.state]),
        device=status.device,
        leases=status.leases,
        waiting=status.waiting,
        family=card.family,
        format=card.format,
        quantization=card.quantization,
        parameters=card.num_parameters,
        bytes=card.file_bytes,
        context_length=context_length,
        context_window=context_length,
        max_model_len=context_length,
        tasks=list(card.tasks),
        capabilities=list(card.tasks),
        architecture=Architecture(["text"], ["text"]),
    )
