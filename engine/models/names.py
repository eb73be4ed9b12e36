"""Tensor names: Hugging Face's are ours, a table per family gives GGUF's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

Transform = Callable[[Tensor, Any], Tensor]
"""Puts right what a format stores differently. Matrices come as rows, perhaps packed ones."""


@dataclass(frozen=True, slots=True)
class Name:
    """What the formats call a module or tensor, with what they store differently.

    hf: where it is not the path that our blocks have. A {n} in a name counts tensors that make up
    one parameter, such as the experts of a layer; {q,k,v} names the parts of one, in that order.
    """

    gguf: str
    from_gguf: Transform | None = None
    from_hf: Transform | None = None
    hf: str = ""


Names = Mapping[str, str | Name]
"""By path in our blocks, of a module ("model.norm") or of one tensor; {i} is the layer."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A module whose rows hold those of several, `parts`, in that order.

    All are named by how their names end, in either format. A file that has each part on its own is
    right, too. groups: the config's key for how many times the parts come in turn, each time with
    an equal share of their rows; once by default.
    """

    whole: str
    parts: tuple[str, ...]
    groups: str = ""

    def find(self, name: str) -> tuple[str, list[str]] | None:
        """The names of the whole and of all parts, for a tensor of one of them."""
        module, _, kind = name.rpartition(".")
        for part in self.parts:
            if module.endswith(f".{part}"):
                before = module.removesuffix(part)
                return f"{before}{self.whole}.{kind}", [f"{before}{p}.{kind}" for p in self.parts]
        return None


FUSED_GGUF = (
    Fused("attn_qkv", ("attn_q", "attn_k", "attn_v")),
    Fused("ffn_gate_up_exps", ("ffn_gate_exps", "ffn_up_exps")),
)
"""What any GGUF file may have fused, whatever its architecture."""

FUSED_HF = (Fused("experts.gate_up_proj", ("experts.{n}.gate_proj", "experts.{n}.up_proj")),)
"""What any safetensors file may: transformers itself has experts stacked so."""

# What vision-language wrappers put before their text model, longest first.
_WRAPPERS = (
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    # Mamba's have the word backbone for it, the oldest of them and Codestral's one embedding.
    ("model.backbone.embedding.", "model.embeddings."),
    ("model.backbone.", "model."),
    ("model.lm_head.", "lm_head."),
    ("backbone.embedding.", "model.embeddings."),
    ("backbone.", "model."),
    ("bert.", ""),
    ("roberta.", ""),
    # Decoders that were saved without their head have no word for what is left.
    ("embed_tokens.", "model.embed_tokens."),
    ("layers.", "model.layers."),
    ("norm.", "model.norm."),
    # So were encoders.
    ("embeddings.tok_embeddings.", "model.embeddings.tok_embeddings."),
    ("embeddings.norm.", "model.embeddings.norm."),
    ("final_norm.", "model.final_norm."),
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
    """What the formats call a parameter, given its path; None for one that GGUF lacks."""
    layer = re.search(r"(?<=\.)\d+(?=\.)", path)
    pattern = path if layer is None else f"{path[: layer.start()]}{{i}}{path[layer.end() :]}"
    module, _, kind = pattern.rpartition(".")
    entry, suffix = (names[pattern], "") if pattern in names else (names.get(module), f".{kind}")
    if entry is None:
        return None
    name = entry if isinstance(entry, Name) else Name(entry)
    index = layer.group() if layer else ""
    hf = name.hf.replace("{i}", index) + suffix if name.hf else path
    gguf = name.gguf.replace("{i}", index) + suffix
    return Name(gguf, name.from_gguf, name.from_hf, hf)


def without_wrapper(name: str) -> str:
    """A tensor's name as its text model alone would have it."""
    for prefix, plain in _WRAPPERS:
        if name.startswith(prefix):
            return plain + name.removeprefix(prefix)
    return name


def canonical(name: str) -> str:
    """A stored name without wrapper, where experts that are stacked in one tensor are a module."""
    plain = without_wrapper(name)
    stacked = re.fullmatch(r"(.*\.experts\.\w+_proj)(_bias)?", plain)
    if stacked is None:
        return plain
    return f"{stacked[1]}.{'bias' if stacked[2] else 'weight'}"


def is_unused(name: str, also: tuple[str, ...] = ()) -> bool:
    """Whether a tensor may lie in a file without being loaded, on purpose."""
    return any(fnmatchcase(name, pattern) for pattern in (*_UNUSED, *also))


def unpermute(num_heads: str, *, whole: bool = False) -> Transform:
    """Undoes the row order of q and k that interleaved rope wants.

    num_heads: the config's key for how many heads the rows belong to. whole: all rows of a head
    are moved, however many are turned. Of the r rows that are turned
    of each head's d, row h*d + 2*j + s becomes h*d + s*(r/2) + j. Whole rows move, so this holds
    for packed ones too; scores stay as they are, since q and k move alike.
    """

    def apply(rows: Tensor, config: Any) -> Tensor:
        heads = rows.view(getattr(config, num_heads), -1, *rows.shape[1:])
        size = heads.shape[1] if whole else config.rotary_dim
        turned, rest = heads[:, :size], heads[:, size:]
        pairs = turned.reshape(len(heads), -1, 2, *rows.shape[1:])
        return torch.cat([pairs.transpose(1, 2).flatten(1, 2), rest], dim=1).flatten(0, 1)

    return apply


def interleaved(gguf: str, num_heads: str) -> Name:
    """Q or k of a family whose rope is interleaved in both formats."""
    return Name(gguf, unpermute(num_heads), unpermute(num_heads))


def plus_one(weight: Tensor, _: Any) -> Tensor:
    """Of a norm stored as w whose factor is 1 + w."""
    return weight + 1
