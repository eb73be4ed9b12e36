"""What a checkpoint is and needs, found out in a child process that a bad file may take down.

Stands above models and text, since a card takes knowledge of both.
"""

from pathlib import Path

import msgspec
import structlog

from engine.api import EngineError, Failure, ModelCard
from engine.cache.spec import KVDType
from engine.checkpoint import open_checkpoint
from engine.core.device import DType, compute_dtype
from engine.models.card import describe
from engine.sandbox import serve
from engine.text.capabilities import capabilities_of
from engine.text.template import has_chat_template
from engine.wire import Inspected

log = structlog.get_logger()

Question = tuple[int, str, DType, KVDType, str | None]
"""The call's number, the checkpoint's path, what the model would compute in and keep tokens in, and
the operator's chat template for it."""


def answer(payload: bytes) -> bytes:
    """An `Inspected` for a `Question`, both as msgpack."""
    call, path, dtype, kv_dtype, template = msgspec.msgpack.decode(payload, type=Question)
    try:
        inspected = Inspected(call, inspect(Path(path), dtype, kv_dtype, template))
    except EngineError as error:
        inspected = Inspected(call, None, Failure(error.code, error.message, error.param))
    except Exception as error:  # a malformed file may break a reader in ways nobody thought of
        log.exception("inspect_failed", path=path)
        failure = Failure("bad_checkpoint", f"{Path(path).name}: cannot be understood: {error!r}")
        inspected = Inspected(call, None, failure)
    return msgspec.msgpack.encode(inspected)


def inspect(
    path: Path, dtype: DType, kv_dtype: KVDType = "auto", chat_template: str | None = None
) -> ModelCard:
    """A checkpoint's card, from its headers. Raises `EngineError` bad_checkpoint."""
    with open_checkpoint(path) as checkpoint:
        card = describe(checkpoint, compute_dtype(dtype), kv_dtype=kv_dtype)
        if "completion" in card.tasks:
            chats = chat_template is not None or has_chat_template(checkpoint)
            card = msgspec.structs.replace(
                card,
                tasks=("chat", *card.tasks) if chats else card.tasks,
                capabilities=capabilities_of(checkpoint, chat_template),
            )
    return card


if __name__ == "__main__":
    serve(answer)
