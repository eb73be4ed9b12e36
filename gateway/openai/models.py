from msgspec import Struct

from gateway.llamacpp.models import Status


class Architecture(Struct, frozen=True):
    input_modalities: list[str]
    output_modalities: list[str]


class Model(Struct, frozen=True, kw_only=True):
    """OpenAI's four fields first, then what clients of local servers look for.

    root: the model whose weights it shares, which is itself unless it is a preset. expires_at: when
    it leaves if nobody asks for it until then, in seconds since 1970; null while it need not.

    context_length: tokens that a prompt and its completion may fill here, which the device's memory
    may make fewer than the model knows (`max_position_embeddings` of the checkpoint). device: where
    it is resident, if it is. leases, waiting: requests that it serves now, and that wait for it.
    source: where its files lie: models for the models folder, or the program whose store it is.
    memory_bytes: taken now; idle_seconds: since its last request, null while it serves one or is not
    loaded; load_seconds: of its last load.
    capabilities: its tasks, and of tools, reasoning, system and fill those that its template and its
    tokens show.
    """

    id: str
    created: int
    owned_by: str
    object: str = "model"
    name: str
    root: str
    aliases: list[str]
    state: str
    status: Status
    expires_at: int | None
    pinned: bool
    device: str | None
    leases: int
    waiting: int
    memory_bytes: int = 0
    idle_seconds: float | None = None
    load_seconds: float | None = None
    source: str = "models"
    family: str
    format: str
    quantization: str
    parameters: int
    bytes: int
    context_length: int
    context_window: int
    max_model_len: int
    tasks: list[str]
    capabilities: list[str]
    architecture: Architecture


class ModelList(Struct, frozen=True):
    data: list[Model]
    object: str = "list"


class DeletedModel(Struct, frozen=True):
    id: str
    object: str = "model"
    deleted: bool = True
