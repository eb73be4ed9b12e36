from engine.api import EngineError


class CheckpointError(EngineError):
    """A model file is malformed, unsupported or incomplete.

    The message names the file, what is wrong and, where one is known, the byte at which it is.
    """

    def __init__(self, message: str) -> None:
        super().__init__("bad_checkpoint", message)
