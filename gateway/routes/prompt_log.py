"""What was asked, in the log: only where the operator wants that."""

from collections.abc import Sequence

import msgspec
import structlog

from engine.api import Prompt
from gateway.config import LogSettings

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


def log_prompts(settings: LogSettings, prompts: Sequence[Prompt]) -> None:
    """One line for each prompt, cut off beyond `prompt_chars`. Nothing unless `prompts` is set."""
    if not settings.prompts:
        return
    for place, prompt in enumerate(prompts):
        text = _encode(prompt).decode()
        log.info("prompt", place=place, chars=len(text), text=text[: settings.prompt_chars])
