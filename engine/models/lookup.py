"""A parameter's rows among what a checkpoint stores, found by the names of its format."""

import math
import re
from fnmatch import fnmatchcase

from engine.checkpoint import Checkpoint, CheckpointError, TensorInfo
from engine.models.family import Family
from engine.models.meta import BaseConfig
from engine.models.names import FUSED_GGUF, FUSED_HF, Fused, Name, Transform, canonical, locate
from engine.models.sources import Part, Source, TransposedTensor
from engine.nn.module import Matrix, Parameter, Slot, Table, Vector
from engine.quant.formats import format_named
from engine.quant.grouped import GroupedTensor
from engine.quant.stored import ScaledTensor, stored_weights


class Lookup:
    """What a checkpoint stores, by name, for the parameters of one model.

    tensors: without the names of a wrapper around the model.
    """

    def __init__(
        self, checkpoint: Checkpoint, family: Family, config: BaseConfig, model: list[Parameter]
    ) -> None:
        self._checkpoint = checkpoint
        self._family = family
        self._config = config
        self._is_gguf = checkpoint.format == "gguf"
        plain = str if self._is_gguf else canonical
        stored = {plain(name): info for name, info in stored_weights(checkpoint).items()}
        self.tensors = {name: self._as_declared(name, info) for name, info in stored.items()}
        self._slots = {self._word(self._name(each)): each.slot for each in model}

    def find(self, parameter: Parameter) -> tuple[tuple[Source, ...], Transform | None]:
        """Its rows in order, none of a table that is only computed, and what puts them right.

        Raises `CheckpointError` for tensors that are missing, of another shape or unknown format.
        """
        name, slot = self._name(parameter), parameter.slot
        word = self._word(name)
        if isinstance(slot, Table) and not (self._is_gguf and word in self.tensors):
            return (), None  # Hugging Face computes these, whatever old files hold
        sources = self._fused(word) or self._listed(word, slot) or self._stacked(word, slot)
        for source in sources:
            format_named(source.tensor.type)
        return sources, name.from_gguf if self._is_gguf else name.from_hf

    def _as_declared(self, name: str, info: TensorInfo) -> TensorInfo:
        """With the shape that it has to us."""
        is_turned = any(fnmatchcase(name, pattern) for pattern in self._family.transposed)
        is_apart = isinstance(info, ScaledTensor | GroupedTensor)
        if self._is_gguf or is_apart or not is_turned or len(info.shape) < 2:
            return info
        *count, in_features, out_features = info.shape
        shape = *count, out_features, in_features
        return TransposedTensor(info.name, shape, info.type, info.nbytes)

    def _name(self, parameter: Parameter) -> Name:
        name = locate(parameter.path, self._family.names)
        if name is None and self._is_gguf and not isinstance(parameter.slot, Table):
            raise LookupError(f"{self._family.name} names no GGUF tensor {parameter.path}")
        return name or Name("", hf=parameter.path)

    def _word(self, name: Name) -> str:
        return name.gguf if self._is_gguf else name.hf

    def _stacked(self, word: str, slot: Slot) -> tuple[Source, ...]:
        """One tensor, or for a {n} in its name those of 0, 1 and so on, one upon the other."""
        if self._is_gguf and word not in self.tensors:
            word = word.replace("_exps.", ".{n}.")  # as files of 2023 have experts, one by one
        elif word.replace("{n}.", "") in self.tensors:
            word = word.replace("{n}.", "")
        if "{n}" not in word:
            return (self._whole(word, _stored_shape(slot), of_vectors=isinstance(slot, Vector)),)
        count, *shape = _stored_shape(slot)
        words = [word.replace("{n}", str(index)) for index in range(count)]
        return tuple(self._whole(each, tuple(shape)) for each in words)

    def _whole(self, word: str, shape: tuple[int, ...], *, of_vectors: bool = False) -> Source:
        tensor = self._stored(word)
        if of_vectors and len(tensor.shape) == 1:  # as a group norm has the vectors of its groups
            shape = (math.prod(shape),)
        self._check_shape(tensor, shape)
        return Source(tensor)

    def _stored(self, word: str) -> TensorInfo:
        if word not in self.tensors:
            raise self._error(f"has no tensor {word!r}")
        return self.tensors[word]

    def _listed(self, word: str, slot: Slot) -> tuple[Source, ...]:
        """The tensors whose names a {q,k,v} lists, each some of the vectors; none for no list."""
        parts = re.fullmatch(r"(.*)\{(\w+(?:,\w+)+)\}(.*)", word)
        if parts is None:
            return ()
        before, names, after = parts.groups()
        tensors = [self._stored(f"{before}{name}{after}") for name in names.split(",")]
        count, size = _stored_shape(slot)
        sizes = [math.prod(tensor.shape) for tensor in tensors]
        if any(each % size for each in sizes) or sum(sizes) != count * size:
            shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
            raise self._error(f"tensors {word!r} of {shapes} do not make up {[count, size]}")
        return tuple(Source(tensor) for tensor in tensors)

    def _fused(self, word: str) -> tuple[Source, ...]:
        """The part of a tensor in which several parameters are stored; none if ours is not."""
        for fused in (*self._family.fused, *(FUSED_GGUF if self._is_gguf else FUSED_HF)):
            found = fused.find(word)
            if found is None:
                continue
            whole, parts = found
            slots = [self._slots[part] for part in parts if part in self._slots]
            is_apart = all(part in self.tensors for part in parts)
            if whole in self.tensors and len(slots) == len(parts) and not is_apart:
                return (self._part(fused, self.tensors[whole], slots, parts.index(word)),)
        return ()

    def _part(self, fused: Fused, tensor: TensorInfo, slots: list[Slot], index: int) -> Source:
        shapes = [_stored_shape(slot) for slot in slots]
        of_vectors = isinstance(slots[0], Vector)
        axis = len(shapes[0]) - (1 if of_vectors else 2)  # a stack is fused matrix by matrix
        before, after = shapes[0][:axis], shapes[0][axis + 1 :]
        self._check_shape(tensor, (*before, sum(shape[axis] for shape in shapes), *after))
        groups: int = getattr(self._config, fused.groups) if fused.groups else 1
        num_groups = math.prod(before) * groups
        sizes = [math.prod(shape[: axis + 1]) // num_groups for shape in shapes]
        start = sum(sizes[:index])
        return Source(tensor, Part(start, start + sizes[index], num_groups), of_vectors)

    def _check_shape(self, tensor: TensorInfo, shape: tuple[int, ...]) -> None:
        is_in_groups = len(shape) == 1 and math.prod(tensor.shape) == shape[0]  # a group norm's
        if _without_ones(tensor.shape) != _without_ones(shape) and not is_in_groups:
            what = f"tensor {tensor.name!r} has shape {list(tensor.shape)}, not {list(shape)}"
            raise self._error(what)

    def _error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._checkpoint.path.name}: {what}")


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    """Convolutions and states' factors come with axes of one entry, here or there."""
    return [size for size in shape if size != 1]


def _stored_shape(slot: Slot) -> tuple[int, ...]:
    if isinstance(slot, Matrix) and slot.count:
        return slot.count, slot.out_features, slot.in_features
    return slot.shape
