"""What llama.cpp's router adds to OpenAI's list of models: its states, its commands, its events."""

from msgspec import UNSET, Struct, UnsetType


class LoadProgress(Struct, frozen=True):
    """value: the part of the current stage that is done, 0 to 1."""

    stages: list[str]
    current: str
    value: float


class Status(Struct, frozen=True):
    """value: unloaded, loading, loaded or sleeping, which Open WebUI shows."""

    value: str
    progress: LoadProgress | UnsetType = UNSET


class ModelName(Struct, frozen=True):
    """The body of a command."""

    model: str


class Done(Struct, frozen=True):
    success: bool = True


class StatusChange(Struct, frozen=True):
    """state: our own word, where the router's vocabulary has one word for several."""

    status: str
    state: str
    progress: LoadProgress | UnsetType = UNSET


class FileProgress(Struct, frozen=True):
    """Bytes."""

    done: int
    total: int


class DownloadEvent(Struct, frozen=True):
    """An event of `GET /models/sse`: a model comes from the hub. data: by file."""

    model: str
    data: dict[str, FileProgress]
    event: str = "download_progress"


class DownloadFailure(Struct, frozen=True):
    code: str
    message: str


class DownloadFailed(Struct, frozen=True):
    """An event of `GET /models/sse`: a model will not come."""

    model: str
    data: DownloadFailure
    event: str = "download_failed"


class ModelEvent(Struct, frozen=True):
    """An event of `GET /models/sse`. model: an id, or "*" when the list itself has changed.

    event: status_change, models_reload, download_finished or model_remove.
    """

    model: str
    event: str
    data: StatusChange | UnsetType = UNSET
