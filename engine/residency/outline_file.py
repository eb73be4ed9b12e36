"""Outlines as bytes: strictly typed, and only those that come back as they were."""

import re
import sys
from importlib import import_module
from pathlib import Path

import msgspec
import torch
from msgspec import Raw, Struct

from engine.checkpoint.stamps import Stamps
from engine.kernels.routing import Routing
from engine.kernels.trace import Call, Tape
from engine.models.family import Family
from engine.models.shards import Shard
from engine.residency.image_plan import ImagePlan, Layout
from engine.residency.outline import Outline

Setting = None | bool | int | float | Routing | tuple[float, ...]
"""What ops are given beside tensors."""

_FAMILY_MODULE = re.compile(r"engine\.models\.\w+")

_DTYPES = {
    str(dtype): dtype
    for dtype in (
        *(torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.int8),
        *(torch.int32, torch.int64, torch.bool),
    )
}


class _Call(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    op: str
    tensors: dict[str, tuple[str, ...]]
    output: str | None
    shape: tuple[int, ...]
    settings: dict[str, Setting]
    dtype: str | None


class _Outline(Struct, frozen=True, forbid_unknown_fields=True):
    """family: the module that declares it. config: of its type."""

    path: str
    dtype: str
    stamps: Stamps
    digest: str
    family: str
    config: Raw
    plan: ImagePlan
    calls: tuple[_Call, ...]
    shapes: dict[str, tuple[int, ...]]
    operation_bytes: int
    layout: Layout
    shard: tuple[int, int] | None
    summed: tuple[str, ...]


def encoded(outline: Outline) -> bytes | None:
    """None for one that would not come back equal."""
    try:
        content = msgspec.msgpack.encode(_record(outline))
        return content if decoded(content) == outline else None
    except (LookupError, TypeError, ValueError):
        return None


def decoded(content: bytes) -> Outline:
    """Raises ValueError for what is no outline, and LookupError for a family that is gone."""
    record = msgspec.msgpack.decode(content, type=_Outline)
    family = _family_in(record.family)
    calls = [
        Call(
            *(each.op, each.tensors, each.output, each.shape, each.settings),
            None if each.dtype is None else _DTYPES[each.dtype],
        )
        for each in record.calls
    ]
    return Outline(
        Path(record.path),
        _DTYPES[record.dtype],
        record.stamps,
        record.digest,
        family,
        msgspec.msgpack.decode(record.config, type=family.config),
        record.plan,
        Tape(calls, record.shapes),
        record.operation_bytes,
        record.layout,
        None if record.shard is None else Shard(*record.shard),
        record.summed,
    )


def _record(outline: Outline) -> _Outline:
    return _Outline(
        path=str(outline.path),
        dtype=str(outline.dtype),
        stamps=outline.stamps,
        digest=outline.digest,
        family=_module_of(outline.family),
        config=Raw(msgspec.msgpack.encode(outline.config)),
        plan=outline.plan,
        calls=tuple(_call(each) for each in outline.tape.calls),
        shapes=outline.tape.shapes,
        operation_bytes=outline.operation_bytes,
        layout=outline.layout,
        shard=None if outline.shard is None else (outline.shard.rank, outline.shard.size),
        summed=outline.summed,
    )


def _call(call: Call) -> _Call:
    dtype = None if call.dtype is None else str(call.dtype)
    tensors, settings = dict(call.tensors), dict(call.settings)
    return _Call(call.op, tensors, call.output, call.shape, settings, dtype)


def _module_of(family: Family) -> str:
    """Importing all families takes longer than everything else that is kept here saves."""
    for name, module in list(sys.modules.items()):
        if _FAMILY_MODULE.fullmatch(name) and getattr(module, "FAMILY", None) is family:
            return name
    raise LookupError(f"no module declares the family {family.name}")


def _family_in(module: str) -> Family:
    if not _FAMILY_MODULE.fullmatch(module):
        raise LookupError(f"{module} is no family's module")
    try:
        family = import_module(module).FAMILY
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{module} declares no family") from error
    assert isinstance(family, Family)
    return family
