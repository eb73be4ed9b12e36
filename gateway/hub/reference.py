"""What a person writes to say which model of the hub."""

import re
from dataclasses import dataclass

from gateway.hub.errors import HubError

MAIN = "main"

_PREFIX = re.compile(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/|^hf://", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_CHOICE = re.compile(r"[\w+-][\w+. -]*(?:/[\w+-][\w+. -]*)*", re.ASCII)
_REVISION = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)
_HELP = "write it as org/name, org/name:Q4_K_M or org/name:file.gguf"


@dataclass(frozen=True, slots=True)
class Reference:
    """choice: a quantisation, a file, or "safetensors"; None leaves it to `plan`.

    Its parts are safe as parts of a path and of a URL.
    """

    repo: str
    choice: str | None = None
    revision: str = MAIN

    def __str__(self) -> str:
        return f"{self.repo}:{self.choice}" if self.choice else self.repo


def read_reference(text: str, revision: str = MAIN) -> Reference:
    """Reads `org/name[:choice]`, also after `hf.co/` as Ollama writes it. Raises `HubError`."""
    repo, _, choice = _PREFIX.sub("", text.strip()).partition(":")
    parts = repo.split("/")
    if len(parts) != 2 or not all(_is_name(part) for part in parts):
        raise HubError("bad_reference", f"{text[:200]!r} names no model of the hub: {_HELP}")
    if choice.casefold() in {"", "latest"}:  # Ollama's clients add it to names without a tag
        return Reference(repo, None, _checked(revision))
    if not _CHOICE.fullmatch(choice) or ".." in choice:
        raise HubError("bad_reference", f"{choice[:200]!r} is neither a quantisation nor a file")
    return Reference(repo, choice, _checked(revision))


def _is_name(part: str) -> bool:
    """The hub's own rule: these would also be misread in a path or a URL."""
    return bool(_NAME.fullmatch(part)) and ".." not in part and "--" not in part


def _checked(revision: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise HubError("bad_reference", f"{revision[:200]!r} is no branch, tag or commit")
    return revision
