"""Tensor names: Hugging Face's are ours, a table per family gives GGUF's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor

from engine.models.meta import Config

Transform = Callable[[Tensor, Config], Tensor]
"""Puts right what a format stores differently. Matrices come as rows, perhaps packed ones."""


@dataclass(frozen=True, slots=True)
class Name:
    """A GGUF name, with what differs between the formats."""

    gguf: str
    from_gguf: Transform | None = None
    from_hf: Transform | None = None


Names = Mapping[str, str | Name]
"""By path in Hugging Face, of a module ("model.norm") or of one tensor; {i} is the layer."""

# What vision-language wrappers put before their text model, longest first.
_WRAPPERS = (
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
)

_UNUSED = (
    "*.rotary_emb.inv_freq",  # computed from the config
    "*.attn_rot_embd.weight",  # the same in old GGUF files
    "*.self_attn.masked_bias",  # leftovers of old training code
    # The parts of a wrapper that are not its text model.
    *("vision_tower.*", "model.vision_tower.*", "visual.*", "model.visual.*"),
    *("multi_modal_projector.*", "model.multi_modal_projector.*", "mm_projector.*"),
    *("audio_tower.*", "model.audio_tower.*"),
    "mtp.*",  # heads that predict several tokens at once, not needed for one
)


def locate(path: str, names: Names) -> Name | None:
    """Where a parameter is in GGUF, given its path; None for one that the format lacks."""
    layer = re.search(r"(?<=\.)\d+(?=\.)", path)
    pattern = path if layer is None else f"{path[: layer.start()]}{{i}}{path[layer.end() :]}"
    module, _, kind = pattern.rpartition(".")
    entry, suffix = (names[pattern], "") if pattern in names else (names.get(module), f".{kind}")
    if entry is None:
        return None
    name = entry if isinstance(entry, Name) else Name(entry)
    index = layer.group() if layer else ""
    return Name(name.gguf.replace("{i}", index) + suffix, name.from_gguf, name.from_hf)


def without_wrapper(name: str) -> str:
    """A tensor's name as its text model alone would have it."""
    for prefix, plain in _WRAPPERS:
        if name.startswith(prefix):
            return plain + name.removeprefix(prefix)
    return name


def is_unused(name: str, also: tuple[str, ...] = ()) -> bool:
    """Whether a tensor may lie in a file without being loaded, on purpose."""
    return any(fnmatchcase(name, pattern) for pattern in (*_UNUSED, *also))


def unpermute(num_heads: str) -> Transform:
    """Undoes the row order that GGUF has for q and k of families with interleaved rope.

    num_heads: the config's key for how many heads the rows belong to. Row h*d + 2*j + s becomes
    h*d + s*(d/2) + j. Whole rows move, so this holds for packed ones too.
    """

    def apply(rows: Tensor, config: Config) -> Tensor:
        heads = rows.view(getattr(config, num_heads), -1, 2, *rows.shape[1:])
        return heads.transpose(1, 2).flatten(0, 2)

    return apply


def plus_one(weight: Tensor, _: Config) -> Tensor:
    """Of a norm stored as w whose factor is 1 + w."""
    return weight + 1
