"""Known models as Ollama's clients read them."""

from datetime import UTC, datetime, timedelta

from engine.api import ModelCard
from gateway.catalog.models import KnownModel
from gateway.ollama.models import Details, Running, Tag
from gateway.ollama.replies import Shown
from gateway.pool import ModelStatus

_CAPABILITIES = {
    "completion": "completion",
    "tools": "tools",
    "fill": "insert",
    "reasoning": "thinking",
    "embedding": "embedding",
}

FOR_EVER = timedelta(days=100 * 365)
"""From now on: what Ollama's own clients show as "forever", and every clock can still count."""


def read_tag(model: KnownModel) -> Tag:
    return Tag(
        name=model.id,
        model=model.id,
        modified_at=_written(datetime.fromtimestamp(model.created, UTC)),
        size=model.card.file_bytes,
        digest=model.card.digest,
        details=_details(model),
    )


def read_running(model: KnownModel, status: ModelStatus, now: datetime) -> Running:
    """Of a model that is in memory."""
    seconds = status.expires_in_seconds
    longest = FOR_EVER.total_seconds()
    ends = now + timedelta(seconds=longest if seconds is None else min(seconds, longest))
    return Running(
        name=model.id,
        model=model.id,
        size=status.bytes,
        digest=model.card.digest,
        details=_details(model),
        expires_at=_written(ends),
        size_vram=0 if (status.device or "").startswith("cpu") else status.bytes,
        context_length=status.kv_tokens,
    )


def read_shown(model: KnownModel, context_length: int) -> Shown:
    """context_length: tokens that a prompt and its completion may fill here."""
    card = model.card
    info = {
        "general.architecture": card.family,
        "general.basename": model.id.rsplit("/", 1)[-1],
        "general.parameter_count": card.num_parameters,
        f"{card.family}.context_length": context_length,
        f"{card.family}.vocab_size": card.vocab_size,
    }
    return Shown(
        modelfile=f"FROM {model.root}",
        parameters="",
        template="",
        details=_details(model),
        model_info=info,
        capabilities=_capabilities(card),
        modified_at=_written(datetime.fromtimestamp(model.created, UTC)),
    )


def _capabilities(card: ModelCard) -> list[str]:
    """In Ollama's words, as far as it has any."""
    has = {*card.tasks, *card.capabilities}
    return [word for name, word in _CAPABILITIES.items() if name in has]


def parameter_size(number: int) -> str:
    """Ollama's way to write it: 8030261248 is "8.0B", 134515008 is "134.52M"."""
    if number >= 10**9:
        return f"{number / 10**9:.1f}B"
    if number >= 10**6:
        return f"{number / 10**6:.2f}M"
    return f"{number / 10**3:.2f}K"


def _details(model: KnownModel) -> Details:
    card = model.card
    return Details(
        parent_model=model.base or "",
        format=card.format,
        family=card.family,
        families=[card.family],
        parameter_size=parameter_size(card.num_parameters),
        quantization_level=card.quantization,
    )


def _written(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
