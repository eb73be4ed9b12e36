"""What a checkpoint is and needs, found out in a child process that a bad file may take down.

Stands above models and text, since a card takes knowledge of both.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from engine.api import DType, EngineError, Failure, KVDType, ModelCard
from engine.checkpoint import open_checkpoint
from engine.core.device import compute_dtype, device_dtype
from engine.models.card import describe
from engine.sandbox import serve
from engine.text.capabilities import capabilities_of
from engine.text.template import has_chat_template
from engine.wire import Inspect, Inspected

log = structlog.get_logger()

Question = tuple[Inspect, tuple[str, ...]]
"""And the kinds of devices that the model may go to, the best first."""


def answer(payload: bytes) -> bytes:
    """An `Inspected` for a `Question`, both as msgpack."""
    asked, kinds = msgspec.msgpack.decode(payload, type=Question)
    call, path = asked.call, Path(asked.path)
    try:
        card = inspect(path, asked.dtype, asked.kv_dtype, asked.chat_template, kinds=kinds)
        inspected = Inspected(call, card)
    except EngineError as error:
        inspected = Inspected(call, None, Failure(error.code, error.message, error.param))
    except Exception as error:  # a malformed file may break a reader in ways nobody thought of
        log.exception("inspect_failed", path=asked.path)
        failure = Failure("bad_checkpoint", f"{path.name}: cannot be understood: {error!r}")
        inspected = Inspected(call, None, failure)
    return msgspec.msgpack.encode(inspected)


def inspect(
    path: Path,
    dtype: DType,
    kv_dtype: KVDType = "auto",
    chat_template: str | None = None,
    *,
    kinds: Sequence[str] = ("cpu",),
) -> ModelCard:
    """A checkpoint's card, from its headers. Raises `EngineError` bad_checkpoint.

    kinds: of the devices that the model may go to, those to be preferred first.
    """
    with open_checkpoint(path) as checkpoint:
        card = describe(
            checkpoint,
            compute_dtype(dtype),
            kv_dtype=kv_dtype,
            kinds=kinds,
            device_dtype=device_dtype(dtype),
        )
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
