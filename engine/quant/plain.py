"""Numbers as they are."""

import torch
from torch import Tensor

from engine.quant.bits import reinterpret
from engine.quant.format import UnpackBlocks, ggml_format


def _stored_as(dtype: torch.dtype) -> UnpackBlocks:
    def unpack_blocks(blocks: Tensor, values: Tensor) -> None:
        values.copy_(_view(blocks, dtype))

    return unpack_blocks


def _view(blocks: Tensor, dtype: torch.dtype) -> Tensor:
    if blocks.data_ptr() % dtype.itemsize or blocks.storage_offset() % dtype.itemsize:
        return reinterpret(blocks, dtype)
    return blocks.view(dtype)


FORMATS = (
    ggml_format("F32", _stored_as(torch.float32)),
    ggml_format("F16", _stored_as(torch.float16)),
    ggml_format("BF16", _stored_as(torch.bfloat16)),
)
