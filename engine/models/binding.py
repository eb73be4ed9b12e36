"""Which stored rows fill which parameter of a model, found and checked from headers alone."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch

from engine.api import Form
from engine.checkpoint import Checkpoint, CheckpointError, TensorInfo
from engine.models.family import Family
from engine.models.lookup import Lookup
from engine.models.meta import BaseConfig
from engine.models.names import Transform, is_unused
from engine.models.sources import Source
from engine.nn.decoder import CausalLM
from engine.nn.linear import TiedHead
from engine.nn.model import Model
from engine.nn.module import Matrix, Parameter, Slot, Table, parameters
from engine.quant.grouped import GroupedTensor

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Binding:
    """A parameter and the stored rows it comes from, in order; none for one that is computed."""

    parameter: Parameter
    sources: tuple[Source, ...]
    transform: Transform | None = None

    @property
    def stored_bytes(self) -> int:
        return sum(source.nbytes for source in self.sources)

    def stays_packed(self, form: Form, dtype: torch.dtype) -> bool:
        """Whether the weight is kept as the file has it: never where that would be larger."""
        slot, types = self.parameter.slot, {source.tensor.type for source in self.sources}
        if form == "dense" or len(types) != 1 or not isinstance(slot, Matrix) or slot.wide:
            return False
        return self.stored_bytes < _num_values(slot) * dtype.itemsize

    def nbytes(self, form: Form, dtype: torch.dtype) -> int:
        """What the loaded parameter takes."""
        slot = self.parameter.slot
        if self.stays_packed(form, dtype):
            return self.stored_bytes
        is_wide = isinstance(slot, Table) or slot.wide
        return _num_values(slot) * (torch.float32 if is_wide else dtype).itemsize

    @property
    def num_parameters(self) -> int:
        """Trained values; tables are none."""
        return 0 if isinstance(self.parameter.slot, Table) else _num_values(self.parameter.slot)


def bind(checkpoint: Checkpoint, family: Family, config: BaseConfig, model: Model) -> list[Binding]:
    """A binding for every parameter, in the order of computation.

    Raises `CheckpointError` for tensors that are missing, of another shape or in a format that we
    do not know, and for tensors or rows that nothing would use.
    """
    model_parameters = list(parameters(model))
    lookup = Lookup(checkpoint, family, config, model_parameters)
    bindings = [Binding(parameter, *lookup.find(parameter)) for parameter in model_parameters]
    also = _deliberately_unused(checkpoint, family, config, model)
    _refuse_unused(checkpoint, family, lookup.tensors, bindings, also)
    return bindings


def _refuse_unused(
    checkpoint: Checkpoint,
    family: Family,
    stored: Mapping[str, TensorInfo],
    bindings: Iterable[Binding],
    also: Collection[str],
) -> None:
    """A tensor that nothing uses may mean a model that is not what its config says."""
    used: Counter[str] = Counter()
    for source in (source for binding in bindings for source in binding.sources):
        used[source.tensor.name] += source.num_rows
    unused = [
        name
        for name, info in stored.items()
        if used[info.name] < Source(info).num_stored_rows
        and not is_unused(name, tuple(also))
        and not _adds_nothing(checkpoint, name, stored)
    ]
    if unused:
        named = ", ".join(sorted(unused)[:_MAX_NAMED])
        more = f" and {len(unused) - _MAX_NAMED} more" if len(unused) > _MAX_NAMED else ""
        what = f"holds tensors that family {family.name} has no use for: {named}{more}"
        raise CheckpointError(f"{checkpoint.path.name}: {what}")


def _adds_nothing(checkpoint: Checkpoint, name: str, stored: Mapping[str, TensorInfo]) -> bool:
    """Whether a tensor is the bias of zeros that AutoGPTQ gave every module that it quantised."""
    module, _, kind = name.rpartition(".")
    weight = stored.get(f"{module}.weight")
    if kind != "bias" or not isinstance(weight, GroupedTensor):
        return False
    return not bytes(checkpoint.read(stored[name].name)).strip(b"\0")


def _deliberately_unused(
    checkpoint: Checkpoint, family: Family, config: BaseConfig, model: Model
) -> list[str]:
    """Beside what no file needs: patterns of names."""
    # Layers that predict more than the next token.
    end = config.num_hidden_layers
    layers = range(end, end + config.num_nextn_predict_layers)
    prefix = "blk" if checkpoint.format == "gguf" else "model.layers"
    further = [f"{prefix}.{layer}.*" for layer in layers]
    # Beside tied weights some files hold the head once more, and what embeds has no use for it.
    is_tied = isinstance(model, CausalLM) and isinstance(model.lm_head, TiedHead)
    head = ["lm_head.*", "output.weight"] if is_tied or not model.traits.generates else []
    return [*family.unused, *further, *head]


def _num_values(slot: Slot) -> int:
    return math.prod(slot.shape)
