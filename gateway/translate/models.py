"""A known model as `/v1/models` shows it, in OpenAI's words and those of llama.cpp's router."""

import time

import msgspec
from msgspec import UNSET, UnsetType

from gateway.catalog.models import KnownModel
from gateway.llamacpp.models import LoadProgress, ModelEvent, Status, StatusChange
from gateway.openai.models import Architecture, Model
from gateway.pool.status import ModelState, ModelStatus

STATUSES: dict[ModelState, str] = {
    "unloaded": "unloaded",
    "loading": "loading",
    "loaded": "loaded",
    "draining": "loaded",
    "paused": "sleeping",
    "unloading": "unloaded",
}
"""Our states in the words of llama.cpp's router."""

STAGE = "text_model"
"""The router's name of the only stage that our loads have."""


def read_model(model: KnownModel, status: ModelStatus, context_length: int) -> Model:
    card = model.card
    return Model(
        id=model.id,
        created=model.created,
        owned_by=model.id.split("/", 1)[0] if "/" in model.id else "roundhouse",
        name=model.id.rsplit("/", 1)[-1],
        root=model.root,
        aliases=list(model.aliases),
        state=status.state,
        status=Status(STATUSES[status.state], _progress(status)),
        expires_at=_expires_at(status),
        pinned=status.pinned,
        device=status.device,
        leases=status.leases,
        waiting=status.waiting,
        memory_bytes=status.bytes,
        idle_seconds=status.idle_seconds,
        load_seconds=status.load_seconds,
        source=model.source,
        family=card.family,
        format=card.format,
        quantization=card.quantization,
        parameters=card.num_parameters,
        bytes=card.file_bytes,
        context_length=context_length,
        context_window=context_length,
        max_model_len=context_length,
        tasks=list(card.tasks),
        capabilities=[*card.tasks, *card.capabilities],
        architecture=Architecture(["text"], ["text"]),
    )


def read_remote(model: KnownModel) -> Model:
    """One that another server has, which is always ready as far as we know."""
    unloaded = ModelStatus(model.key)
    return msgspec.structs.replace(
        read_model(model, unloaded, model.card.context_length),
        owned_by=model.upstream or "",
        state="remote",
        status=Status("loaded"),
        source="upstream",
        format="",
    )


def read_event(model_id: str, status: ModelStatus | None) -> ModelEvent:
    """A change of a model's state; without a status, of the list of models."""
    if status is None:
        return ModelEvent(model_id, "models_reload")
    change = StatusChange(STATUSES[status.state], status.state, _progress(status))
    return ModelEvent(model_id, "status_change", change)


def _progress(status: ModelStatus) -> LoadProgress | UnsetType:
    if status.state != "loading":
        return UNSET
    return LoadProgress([STAGE], STAGE, round(status.fraction, 3))


def _expires_at(status: ModelStatus) -> int | None:
    seconds = status.expires_in_seconds
    return None if seconds is None else int(time.time() + seconds)
