"""Which stored tensor fills which parameter of a model, found and checked from headers alone."""

import math
from dataclasses import dataclass

import torch

from engine.api import Form
from engine.checkpoint import Checkpoint, CheckpointError, TensorInfo
from engine.models.family import Family
from engine.models.names import Transform, is_unused, locate, without_wrapper
from engine.nn.decoder import CausalLM
from engine.nn.linear import TiedHead
from engine.nn.module import Matrix, Parameter, Slot, Table, parameters
from engine.quant.formats import format_named

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Binding:
    """A parameter and the stored tensor it comes from; None for a table that is only computed."""

    parameter: Parameter
    source: TensorInfo | None
    transform: Transform | None = None

    def stays_packed(self, form: Form, dtype: torch.dtype) -> bool:
        """Whether the weight is kept as the file has it: never where that would be larger."""
        slot, source = self.parameter.slot, self.source
        if form == "dense" or source is None or not isinstance(slot, Matrix):
            return False
        return source.nbytes < _num_values(slot) * dtype.itemsize

    def nbytes(self, form: Form, dtype: torch.dtype) -> int:
        """What the loaded parameter takes."""
        slot = self.parameter.slot
        if self.source is not None and self.stays_packed(form, dtype):
            return self.source.nbytes
        is_wide = isinstance(slot, Table) or (not isinstance(slot, Matrix) and slot.wide)
        return _num_values(slot) * (torch.float32 if is_wide else dtype).itemsize

    @property
    def num_parameters(self) -> int:
        """Trained values; tables are none."""
        return 0 if isinstance(self.parameter.slot, Table) else _num_values(self.parameter.slot)


def bind(checkpoint: Checkpoint, family: Family, model: CausalLM) -> list[Binding]:
    """A binding for every parameter, in the order of computation.

    Raises `CheckpointError` for tensors that are missing, of another shape or in a format that we
    do not know, and for tensors that nothing would use.
    """
    binder = _Binder(checkpoint, family)
    bindings = [binder.bind(parameter) for parameter in parameters(model)]
    binder.refuse_unused(is_tied=isinstance(model.lm_head, TiedHead))
    return bindings


class _Binder:
    def __init__(self, checkpoint: Checkpoint, family: Family) -> None:
        self._checkpoint = checkpoint
        self._family = family
        plain = without_wrapper if checkpoint.format == "safetensors" else str
        self._stored = {plain(name): info for name, info in checkpoint.tensors.items()}
        self._used: set[str] = set()

    def bind(self, parameter: Parameter) -> Binding:
        name, transform = self._source(parameter)
        if isinstance(parameter.slot, Table) and name not in self._stored:
            return Binding(parameter, None)
        if name not in self._stored:
            raise self._error(f"has no tensor {name!r}")
        self._used.add(name)
        source = self._stored[name]
        self._check(source, parameter.slot)
        return Binding(parameter, source, transform)

    def refuse_unused(self, *, is_tied: bool) -> None:
        """A tensor that nothing uses may mean a model that is not what its config says."""
        # Beside tied weights some files hold the head once more.
        also = (*self._family.unused, *(("lm_head.*", "output.weight") if is_tied else ()))
        unused = [name for name in self._stored.keys() - self._used if not is_unused(name, also)]
        if unused:
            named = ", ".join(sorted(unused)[:_MAX_NAMED])
            more = f" and {len(unused) - _MAX_NAMED} more" if len(unused) > _MAX_NAMED else ""
            what = f"tensors that family {self._family.name} has no use for: {named}{more}"
            raise self._error(f"holds {what}")

    def _source(self, parameter: Parameter) -> tuple[str, Transform | None]:
        """The parameter's name in this format, and what then puts it right."""
        name = locate(parameter.path, self._family.names)
        if self._checkpoint.format == "gguf":
            if name is None:
                raise LookupError(f"{self._family.name} names no GGUF tensor {parameter.path}")
            return name.gguf, name.from_gguf
        if isinstance(parameter.slot, Table):
            return "", None  # Hugging Face computes these, whatever old files hold
        return parameter.path, name.from_hf if name else None

    def _check(self, source: TensorInfo, slot: Slot) -> None:
        format_named(source.type)
        shape = _shape(slot)
        if source.shape != shape:
            what = f"tensor {source.name!r} has shape {list(source.shape)}, not {list(shape)}"
            raise self._error(what)

    def _error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._checkpoint.path.name}: {what}")


def _shape(slot: Slot) -> tuple[int, ...]:
    if isinstance(slot, Matrix):
        return slot.out_features, slot.in_features
    return (len(slot.values) if isinstance(slot, Table) else slot.size,)


def _num_values(slot: Slot) -> int:
    return math.prod(_shape(slot))
