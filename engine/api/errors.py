"""What can go wrong in an engine, by code."""

from typing import Literal

from msgspec import Struct

ErrorCode = Literal[
    "bad_checkpoint",  # a model file is malformed, unsupported or incomplete
    "no_chat_template",  # the model completes only
    "template_failed",  # the model's chat template refused the messages, ran too long or too large
    "bad_request",  # a value the engine cannot honour, such as a token id outside the vocabulary
    "stale_handle",  # the model was evicted before the request reached it
    "out_of_memory",  # a load or a sequence does not fit the device
    "worker_lost",  # the process that owned the device died
    "text_lost",  # the text process died
    "internal",  # a bug of ours
]


class EngineError(Exception):
    """The engine could not do what was asked; `code` says why, `param` names the field at fault."""

    def __init__(self, code: ErrorCode, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Failure(Struct, frozen=True):
    """An `EngineError` on the wire."""

    code: ErrorCode
    message: str
    param: str | None = None

    def error(self) -> EngineError:
        return EngineError(self.code, self.message, self.param)
