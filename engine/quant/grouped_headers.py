"""Which stored tensors make up weights of integers, found and checked from headers alone."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.checkpoint import TensorInfo
from engine.quant.grouped import DECODED, GroupedTensor, NotStoredRight
from engine.quant.integers import format_of, num_pairs
from engine.quant.schemes import Layout, Scheme

_SCALE_TYPES = ("F32", "BF16", "F16")


@dataclass(frozen=True, slots=True)
class _Names:
    """What a layout calls a weight's tensors, after the name of its module; "" for none."""

    codes: str
    scales: str
    zeros: str = ""
    order: str = ""
    others: tuple[str, ...] = ()

    def every(self) -> tuple[str, ...]:
        return self.codes, self.scales, self.zeros, self.order, *self.others


_NAMES: Mapping[Layout, _Names] = {
    "gptq": _Names(".qweight", ".scales", ".qzeros", ".g_idx"),
    "awq": _Names(".qweight", ".scales", ".qzeros"),
    "packed": _Names(
        ".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_g_idx", (".weight_shape",)
    ),
    "plain": _Names(".weight", ".weight_scale", ".weight_zero_point", ".weight_g_idx"),
    "bitsandbytes": _Names(".weight", ".SCB", others=(".weight_format",)),
}


def find_grouped(scheme: Scheme, tensors: Mapping[str, TensorInfo]) -> dict[str, GroupedTensor]:
    """All weights of integers, by the name of their module.

    Raises `NotStoredRight` for tensors that are missing or do not fit each other.
    """
    suffix = _NAMES[scheme.layout].codes
    types = _code_types(scheme)
    return {
        (module := name.removesuffix(suffix)): _grouped(scheme, module, tensors)
        for name, info in tensors.items()
        if name.endswith(suffix) and (suffix != ".weight" or info.type in types)
    }


def stored_names(scheme: Scheme, module: str) -> Iterator[str]:
    """Of all tensors that a module's weight may have."""
    return (module + name for name in _NAMES[scheme.layout].every() if name)


def _grouped(scheme: Scheme, module: str, tensors: Mapping[str, TensorInfo]) -> GroupedTensor:
    names = _NAMES[scheme.layout]
    codes, scales = tensors[module + names.codes], tensors.get(module + names.scales)
    zeros = tensors.get(module + names.zeros) if names.zeros else None
    order = tensors.get(module + names.order) if names.order else None
    if scales is None or (zeros is None and scheme.layout in ("gptq", "awq")):
        missing = names.zeros if scales else names.scales
        raise NotStoredRight(f"{codes.name!r} is stored without {module + missing!r}")
    shape = _shape(scheme, codes)
    group_size = _group_size(scheme, codes, scales, shape[1])
    num_groups = -(-shape[1] // group_size)
    _check(scheme, codes, scales, _shapes_of_scales(scheme, shape[0], num_groups))
    if zeros is not None:
        _check(scheme, codes, zeros, _shapes_of_zeros(scheme, shape[0], num_groups))
    if order is not None:
        _check(scheme, codes, order, ((shape[1],),))
    # GPTQ has the order of the inputs always, compressed-tensors where it is another.
    is_reordered = order is not None and (scheme.is_reordered or scheme.layout != "gptq")
    is_decoded = is_reordered and num_groups > 1
    kind = None if is_decoded else format_of(scheme.bits, group_size, num_groups)
    nbytes = _kept_bytes(scheme, kind, shape)
    return GroupedTensor(
        codes.name, shape, kind or DECODED, nbytes, scheme, scales, zeros, order, group_size
    )


def _shape(scheme: Scheme, codes: TensorInfo) -> tuple[int, int]:
    """(out, in)."""
    is_matrix = len(codes.shape) == 2 and 0 not in codes.shape
    if not is_matrix or codes.type not in _code_types(scheme):
        what = f"{codes.name!r} is {codes.type} of {list(codes.shape)}"
        raise NotStoredRight(f"{what}, not a matrix of {_code_types(scheme)[0]}")
    first, second = codes.shape
    per_word = 32 // scheme.bits
    match scheme.layout:
        case "gptq":
            return second, first * per_word
        case "awq":
            if first % 2:
                raise NotStoredRight(f"{codes.name!r} has rows of {first} values of 4 bits")
            return second * per_word, first
        case "packed":
            return first, second * per_word
        case _:
            return first, second


def _code_types(scheme: Scheme) -> tuple[str]:
    return ("I8",) if scheme.layout in ("plain", "bitsandbytes") else ("I32",)


def _group_size(scheme: Scheme, codes: TensorInfo, scales: TensorInfo, width: int) -> int:
    is_by_group = scheme.layout in ("gptq", "awq")
    num_groups = math.prod(scales.shape[:1] if is_by_group else scales.shape[1:])
    if num_groups == 1:
        return width
    size = scheme.group_size or width // max(1, num_groups)
    if size == 0 or -(-width // size) != num_groups:
        what = f"{num_groups} groups of {size} in rows of {width}"
        raise NotStoredRight(f"{codes.name!r} and {scales.name!r} make {what}")
    return size


def _shapes_of_scales(
    scheme: Scheme, num_rows: int, num_groups: int
) -> tuple[tuple[int, ...], ...]:
    match scheme.layout:
        case "gptq" | "awq":
            return ((num_groups, num_rows),)
        case "bitsandbytes":
            return ((num_rows,),)
        case _:
            for_each = ((num_rows,), (1,), ()) if num_groups == 1 else ()
            return ((num_rows, num_groups), (1, num_groups), *for_each)


def _shapes_of_zeros(scheme: Scheme, num_rows: int, num_groups: int) -> tuple[tuple[int, ...], ...]:
    words = -(-num_rows * scheme.bits // 32)
    match scheme.layout:
        case "gptq" | "awq":
            return ((num_groups, words),)
        case "packed":
            return ((words, num_groups),)
        case _:
            return ((num_rows, num_groups), (1, num_groups))


def _check(
    scheme: Scheme, codes: TensorInfo, tensor: TensorInfo, shapes: tuple[tuple[int, ...], ...]
) -> None:
    """That a tensor beside the codes is what readers rely on."""
    is_scales = tensor.name.endswith(_NAMES[scheme.layout].scales)
    is_order = tensor.name.endswith("g_idx")
    types = _SCALE_TYPES if is_scales else ("I32",) if is_order else _code_types(scheme)
    if tensor.type not in types or tensor.shape not in shapes:
        what = f"{tensor.name!r}, {tensor.type} of {list(tensor.shape)}"
        raise NotStoredRight(f"{what}, does not fit {codes.type} of {list(codes.shape)}")


def _kept_bytes(scheme: Scheme, kind: str | None, shape: tuple[int, int]) -> int:
    num_rows, width = shape
    if kind is None:
        return 4 * num_rows * width
    return num_rows * (width * scheme.bits // 8 + 8 * num_pairs(kind, width))
