"""Writes a GGUF of random weights, a tensor at a time."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from shapes import Matrix, Shape, Vector
from torch import Tensor

_POOL = 16_777_213  # a prime: rows of no size come round again


def write_gguf(path: Path, name: str, shape: Shape) -> None:
    """Matrices in bfloat16, vectors in float32. The same shape gives the same bytes."""
    writer = GGUFWriter(path, shape.architecture)
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_BF16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in shape.metadata.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{shape.architecture}.{key}", value)
    add_vocabulary(writer, shape.vocab_size)
    for tensor_name, tensor in shape.tensors.items():
        stored = GGMLQuantizationType.BF16 if isinstance(tensor, Matrix) else None
        num_bytes = prod(tensor.shape) * _dtype(tensor).itemsize
        writer.add_tensor_info(tensor_name, tensor.shape, np.dtype("f4"), num_bytes, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = Random(seed=0)
    for tensor in shape.tensors.values():
        values = random.normal(tensor.shape, tensor.spread)
        if isinstance(tensor, Vector):
            values += tensor.centre
        writer.write_tensor_data(values.to(_dtype(tensor)).view(torch.uint8).numpy())
    writer.close()


class Random:
    """Normal numbers, from a pool that is read from another place each time.

    Drawing 3 billion anew would take minutes.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._pool = torch.randn(_POOL, generator=self._generator)

    def normal(self, shape: Sequence[int], spread: float) -> Tensor:
        start = int(torch.randint(_POOL // 2, (), generator=self._generator))
        count = prod(shape)
        repeats = -(-(start + count) // _POOL)
        pool = self._pool if repeats == 1 else self._pool.repeat(repeats)
        return (pool[start : start + count] * spread).view(*shape)


def vocabulary(size: int) -> list[str]:
    """Bytes as GPT-2 writes them, then dummies: numbers, so that whatever is said is plain text."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    return (letters + [f"t{number}" for number in range(size)])[:size]


def add_vocabulary(writer: GGUFWriter, size: int) -> None:
    tokens = vocabulary(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL] * (size - 1) + [TokenType.CONTROL])
    writer.add_token_merges(["t 0"])
    writer.add_eos_token_id(size - 1)
    writer.add_bos_token_id(size - 1)
    writer.add_add_bos_token(False)


def _dtype(tensor: Matrix | Vector) -> torch.dtype:
    return torch.bfloat16 if isinstance(tensor, Matrix) else torch.float32
