"""Where models are looked for beside the models folder."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

StoreName = Literal["huggingface", "llamacpp", "ollama", "lmstudio"]


class Discovery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What other programs have downloaded is served too, where it lies; it is never written to.

    stores: whose, or "auto" for all of them that are there; empty unless said, since a server
    should offer what it was given and not what happens to lie on its machine.
    folders: where a store is, if not where its own program puts it.
    """

    stores: list[StoreName | Literal["auto"]] = []
    folders: dict[StoreName, Path] = {}
