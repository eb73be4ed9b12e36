"""How a checkpoint's integers lie in its tensors, as its config.json describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Layout = Literal["gptq", "awq", "packed", "plain", "bitsandbytes"]
"""packed and plain are compressed-tensors' pack-quantized and int-quantized."""


class UnknownScheme(Exception):
    """A described way that is not supported; the message says what of it."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """group_size: None where tensors alone say it. first_zero: what a stored zero of 0 stands for.

    is_reordered: inputs belong to groups in no order, which a tensor of each weight tells.
    """

    layout: Layout
    bits: int
    group_size: int | None = None
    first_zero: int = 0
    is_reordered: bool = False


def gptq(described: Mapping[str, Any]) -> Scheme:
    """Source: AutoGPTQ and GPTQModel, QuantLinear; gptq is what stores zeros less one."""
    bits = _one_of(described, "bits", (4, 8))
    version = _one_of(described, "checkpoint_format", (None, "gptq", "gptq_v2"))
    overrides = described.get("dynamic") or {}
    if not isinstance(overrides, Mapping) or any(
        not str(key).startswith("-:") for key in overrides
    ):
        raise UnknownScheme("dynamic: other settings for some modules")
    first_zero = 0 if version == "gptq_v2" else 1
    is_reordered = _one_of(described, "desc_act", (None, False, True)) is True
    return Scheme("gptq", bits, _group_size(described), first_zero, is_reordered)


def awq(described: Mapping[str, Any]) -> Scheme:
    """Source: AutoAWQ, WQLinear_GEMM."""
    bits = _one_of(described, "bits", (4,))
    version = described.get("version", "gemm")
    if str(version).lower() != "gemm":
        raise UnknownScheme(f"version {version!r}, not gemm")
    _one_of(described, "zero_point", (None, True))
    return Scheme("awq", bits, _group_size(described))


def compressed_tensors(described: Mapping[str, Any]) -> Scheme | None:
    """None where weights are not integers. Source: compressed-tensors, QuantizationConfig."""
    known = ("float-quantized", "pack-quantized", "int-quantized")
    kind = _one_of(described, "format", known)
    if kind == "float-quantized":
        return None
    groups = described.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise UnknownScheme("no config_groups")
    found = {_of_group(group) for group in groups.values()}
    if len(found) != 1:
        raise UnknownScheme(f"config_groups that differ: {sorted(found, key=str)}")
    bits, group_size = found.pop()
    if kind == "int-quantized":
        return Scheme("plain", 8, group_size)
    return Scheme("packed", bits, group_size)


def bitsandbytes(described: Mapping[str, Any]) -> Scheme:
    """Source: bitsandbytes, Int8Params."""
    if described.get("load_in_8bit") is not True or described.get("load_in_4bit"):
        raise UnknownScheme("load_in_8bit is not true")
    return Scheme("bitsandbytes", 8)


def _of_group(group: Any) -> tuple[int, int | None]:
    """Bits and group size of a config group's weights."""
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping):
        raise UnknownScheme("a config group without weights")
    _one_of(weights, "type", ("int",))
    _one_of(weights, "strategy", ("tensor", "channel", "group"))
    return _one_of(weights, "num_bits", (4, 8)), _group_size(weights)


def _group_size(described: Mapping[str, Any]) -> int | None:
    size = described.get("group_size")
    if size is None or size == -1:
        return None
    if type(size) is not int or size <= 0:  # `type() is`, since True is an int
        raise UnknownScheme(f"group_size {size!r}")
    return size


def _one_of(described: Mapping[str, Any], key: str, known: tuple[Any, ...]) -> Any:
    value = described.get(key)
    if not any(value == each and type(value) is type(each) for each in known):
        raise UnknownScheme(f"{key} {value!r}, not {' or '.join(map(str, known))}")
    return value
