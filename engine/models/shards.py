"""A model in equal parts, one for each of several ranks that compute it together.

The part of a rank is an ordinary model of the family, of a config with fewer heads and narrower
networks. Which stored rows and columns fill it follows from its parameters' shapes beside those of
the whole: where a matrix has fewer outputs, its rows are the rank's; where it has fewer inputs, its
columns are, and the ranks' products add up to the whole's. What has the same shape every rank has.

Cuts fall between heads, and between the blocks of quantised formats; so parts may differ by a unit.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import lcm

from msgspec.structs import force_setattr

from engine.kernels.group import Group
from engine.models.binding import Binding
from engine.models.family import Family, Spread
from engine.models.meta import BaseConfig
from engine.models.sources import Columns, Part, Source
from engine.nn.linear import Linear
from engine.nn.model import Model
from engine.nn.module import Matrix, Parameter, Slot, Table, Vector, parameters
from engine.nn.moe import ExpertLinear
from engine.quant.formats import FORMATS
from engine.quant.integers import run_of
from engine.quant.scaled import SCALE_BLOCK

MIN_COLUMNS = 32
"""A network's inner values are shared out in runs of so many at least, where there are as many."""

HEAD_RUNS = (1, 2, 4, 8, 16)
"""So many heads of keys, and the heads that read them, stay together: as few as blocks allow."""

_HEADS, _KV_HEADS = "num_attention_heads", "num_key_value_heads"
_ADDED_UP = (Linear, ExpertLinear)


class Indivisible(Exception):
    """Why a model cannot be spread over so many ranks."""


class _BlocksCut(Indivisible):
    """A cut would go through blocks of a quantised format."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of one of `size` ranks."""

    rank: int
    size: int


def cut(
    family: Family, config: BaseConfig, bindings: Sequence[Binding], shard: Shard
) -> tuple[BaseConfig, Model, list[Binding]]:
    """The part of a model whose whole has that config and those bindings.

    Blocks whose results are to be added up have a `Group` that has not met. Raises `Indivisible`.
    """
    if not family.spreads:
        raise Indivisible(f"models of family {family.name} are not divided")
    at_first = _Parts(
        family, config, shard, 1, dict.fromkeys(_widths_in(family.spreads, config), 1)
    )
    narrowed = [binding for binding in bindings if at_first.narrows(binding)]
    units = {
        field: _unit(width, narrowed, shard)
        for field, width in _widths_in(family.spreads, config).items()
    }
    refused: Indivisible | None = None
    for run in HEAD_RUNS:
        try:
            parts = _Parts(family, config, shard, run, units)
            return parts.config, parts.model, [parts.binding(binding) for binding in bindings]
        except _BlocksCut as error:
            refused = refused or error
        except Indivisible as error:
            raise refused or error from None
    assert refused is not None
    raise refused


@dataclass(frozen=True)
class _Parts:
    """The parts of all ranks, without weights, and what the one of `shard` is made of."""

    family: Family
    whole: BaseConfig
    shard: Shard
    run: int
    units: Mapping[str, int]

    @cached_property
    def config(self) -> BaseConfig:
        return self._config_of(self.shard.rank)

    def _config_of(self, rank: int) -> BaseConfig:
        """Its values were checked together, as the whole's."""
        assert self.family.spreads is not None
        shard, part = Shard(rank, self.shard.size), copy(self.whole)
        heads = _heads(self.family.spreads, self.whole, shard, self.run)
        for field, value in {**heads, **_widths(self.whole, shard, self.units)}.items():
            force_setattr(part, field, value)
        return part

    @cached_property
    def model(self) -> Model:
        return self._model_of(self.config)

    def _model_of(self, config: BaseConfig) -> Model:
        try:
            return self.family.model(config)
        except ValueError as error:
            raise Indivisible(str(error)) from error

    @cached_property
    def _own(self) -> Mapping[str, Parameter]:
        return {parameter.path: parameter for parameter in parameters(self.model)}

    @cached_property
    def _slots(self) -> Sequence[Mapping[str, Slot]]:
        """Of every rank, by path."""
        size, known = self.shard.size, {_key(self.config): self._own}
        found = []
        for rank in range(size):
            config = self._config_of(rank)
            if _key(config) not in known:
                model = self._model_of(config)
                known[_key(config)] = {each.path: each for each in parameters(model)}
            found.append({path: each.slot for path, each in known[_key(config)].items()})
        return found

    @cached_property
    def _group(self) -> Group:
        return Group()

    def narrows(self, whole: Binding) -> bool:
        """Whether a parameter is a matrix of which the part has fewer inputs."""
        slot, own = whole.parameter.slot, self._own.get(whole.parameter.path)
        if own is None or not (isinstance(slot, Matrix) and isinstance(own.slot, Matrix)):
            return False
        return slot.in_features != own.slot.in_features

    def binding(self, whole: Binding) -> Binding:
        """What fills a parameter of the part."""
        path, slot = whole.parameter.path, whole.parameter.slot
        own = self._own.get(path)
        if own is None:
            raise Indivisible(f"{path} is not in every part")
        if own.slot == slot:
            is_added = own.name == "bias" and own.module.group is not None and self.shard.rank > 0
            blank = tuple(replace(source, is_blank=True) for source in whole.sources)
            return replace(whole, parameter=own, sources=blank if is_added else whole.sources)
        axis = _axis(slot, own)
        start, stop = self._range(path, slot, axis)
        if axis == "in_features":
            if not isinstance(own.module, _ADDED_UP):
                raise Indivisible(f"{path} cannot have its inputs divided")
            own.module.group = self._group
        sources = tuple(_cut(source, slot, axis, start, stop) for source in whole.sources)
        return replace(whole, parameter=own, sources=sources)

    def _range(self, path: str, slot: Slot, axis: str) -> tuple[int, int]:
        """The part's along an axis: after those of the ranks before it, or theirs, too."""
        sizes = [getattr(slots[path], axis) for slots in self._slots]
        total, rank = getattr(slot, axis), self.shard.rank
        if sum(sizes) == total:
            stop = list(accumulate(sizes))[rank]
        else:  # several ranks read one head of keys
            copies, rest = divmod(sum(sizes), total)
            if rest or len(set(sizes)) > 1 or len(sizes) % max(copies, 1):
                raise Indivisible(f"{path}: parts of {sizes} do not make up {total}")
            stop = (rank // copies + 1) * sizes[rank]
        return stop - sizes[rank], stop


def _key(config: BaseConfig) -> tuple[object, ...]:
    return tuple(repr(getattr(config, field)) for field in config.__struct_fields__)


def _axis(slot: Slot, own: Parameter) -> str:
    """Along which of its axes a parameter is divided."""
    if not own.module.divides or isinstance(slot, Table) or type(slot) is not type(own.slot):
        raise Indivisible(f"{own.path} of {type(own.module).__name__} cannot be divided")
    axes = (
        ("count", "out_features", "in_features") if isinstance(slot, Matrix) else ("count", "size")
    )
    differing = [axis for axis in axes if getattr(slot, axis) != getattr(own.slot, axis)]
    if len(differing) != 1:
        raise Indivisible(f"{own.path} cannot be divided along several axes")
    return differing[0]


def _cut(source: Source, slot: Slot, axis: str, start: int, stop: int) -> Source:
    """Of a source of a parameter, what lies in start..stop along an axis."""
    assert isinstance(slot, Matrix | Vector)
    if axis == "in_features" or (isinstance(slot, Vector) and axis == "size" and source.width > 1):
        return _narrowed(source, start, stop)
    inner = _rows_of_one(slot, axis, source)
    size = getattr(slot, axis)
    num_groups = source.num_rows // (inner * size)
    if num_groups * inner * size != source.num_rows:
        raise Indivisible(f"{source.tensor.name} is stored in parts of its own")
    return replace(source, share=Part(start * inner, stop * inner, num_groups))


def _rows_of_one(slot: Matrix | Vector, axis: str, source: Source) -> int:
    """Rows that one step along the axis takes."""
    if axis != "count":
        return 1
    if isinstance(slot, Matrix):
        return slot.out_features
    return 1 if source.width > 1 else slot.size


def _narrowed(source: Source, start: int, stop: int) -> Source:
    block = _block(source)
    if start % block or (stop % block and stop != source.width):
        where = f"{source.tensor.name} in blocks of {block} cannot be cut at {start} and {stop}"
        raise _BlocksCut(where)
    return replace(source, columns=Columns(start, stop, block))


def _block(source: Source) -> int:
    """So many values of a row are stored together."""
    name = source.tensor.type
    if name in FORMATS:
        return FORMATS[name].block_size
    if name.startswith("INT"):
        return run_of(name)
    return {"FP8_BLOCK": SCALE_BLOCK, "MXFP4_SPLIT": 32}.get(name, 1)


# --- configs ------------------------------------------------------------------------------------


def _heads(spread: Spread, config: BaseConfig, shard: Shard, run: int) -> dict[str, int]:
    heads = getattr(config, _HEADS, 0)
    if not heads:
        return {}
    found = {}
    for field in (_KV_HEADS, *spread.kv_heads):
        kv_heads = getattr(config, field)
        if kv_heads >= shard.size:
            found[field] = _share(field, kv_heads, run, shard)
            own = found[field] * (heads // kv_heads)
        elif kv_heads == 1:
            own = _share(_HEADS, heads, run, shard)
        else:
            if shard.size % kv_heads or heads % shard.size or heads // shard.size % run:
                what = f"{heads} heads, {kv_heads} of keys"
                raise _BlocksCut(f"{what}, cannot be shared out among {shard.size}")
            found[field], own = 1, heads // shard.size
        if found.setdefault(_HEADS, own) != own:
            raise Indivisible(f"layers of {kv_heads} heads of keys need other parts than the rest")
    return found


def _widths(config: BaseConfig, shard: Shard, units: Mapping[str, int]) -> dict[str, int]:
    return {
        field: _share(field, getattr(config, field), unit, shard) for field, unit in units.items()
    }


def _widths_in(spread: Spread, config: BaseConfig) -> dict[str, int]:
    given = {field: getattr(config, field, None) for field in spread.widths}
    return {field: width for field, width in given.items() if isinstance(width, int) and width}


def _unit(width: int, narrowed: Sequence[Binding], shard: Shard) -> int:
    """In runs of how many values it is shared out: of whole blocks of the matrices that read it."""
    blocks = [
        _block(source)
        for binding in narrowed
        if isinstance(binding.parameter.slot, Matrix)
        and binding.parameter.slot.in_features % width == 0
        for source in binding.sources
    ]
    is_wide = width >= MIN_COLUMNS * shard.size
    return lcm(*blocks, MIN_COLUMNS if is_wide else 1)


def _share(what: str, total: int, unit: int, shard: Shard) -> int:
    """Whole units, the first ranks one more where they do not come out even; the last one may be short."""
    units = -(-total // unit)
    if units < shard.size:
        raise Indivisible(
            f"{what} {total} in runs of {unit} cannot be shared out among {shard.size}"
        )
    each, more = divmod(units, shard.size)
    first = shard.rank * each + min(shard.rank, more)
    last = first + each + (shard.rank < more)
    return min(last * unit, total) - first * unit
