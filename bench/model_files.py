"""GGUF files to measure: the demo models, and random weights in the shapes of known models.

Random ones are made on demand, kept in an ignored folder of bounded size, and as large as real ones:
what they say is noise, how fast they say it is not.
"""

import argparse
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from folders import DEMO_MODELS, MODELS, room_for
from peer import tool
from random_weights import write_gguf
from recurrent_shapes import mamba2, rwkv7
from shapes import Shape, llama, qwen3moe

MAX_KEPT_BYTES = 20 * 2**30

DEMO = {"smollm2": "SmolLM2-135M-Instruct-Q4_1.gguf", "gemma": "gemma-3-270m-Q4_K_M.gguf"}

SHAPES: dict[str, Callable[[], Shape]] = {
    # TinyLlama 1.1B
    "1b": lambda: llama(
        num_layers=22, hidden=2048, wide=5632, heads=(32, 4), vocab=32_000, theta=1e4
    ),
    # Llama 3.2 3B
    "3b": lambda: llama(
        num_layers=28, hidden=3072, wide=8192, heads=(24, 8), vocab=128_256, theta=5e5
    ),
    # 1.5 billion parameters, of which a token uses a fifth
    "moe": lambda: qwen3moe(
        num_layers=28, hidden=1024, heads=(16, 4), experts=(32, 4), expert_wide=512, vocab=32_000
    ),
    "mamba2-130m": lambda: mamba2(24, 768, state=128, head_dim=64, vocab=50_288),
    "mamba2-370m": lambda: mamba2(48, 1024, state=128, head_dim=64, vocab=50_288),
    "rwkv7-190m": lambda: rwkv7(12, 768, vocab=65_536),
    "rwkv7-450m": lambda: rwkv7(24, 1024, vocab=65_536),
}

BITS_PER_WEIGHT = {"bf16": 16.0, "q8_0": 8.5, "q4_0": 4.6, "q4_k_m": 4.9}
"""Formats of the made files, and what a weight takes in them, the mix of Q4_K_M included."""


@dataclass(frozen=True)
class Made:
    """A file of random weights: "1b-q4_k_m" is the shape "1b" in Q4_K_M."""

    shape: str
    form: str

    @classmethod
    def named(cls, name: str) -> "Made":
        shape, _, form = name.rpartition("-")
        if shape not in SHAPES or form not in BITS_PER_WEIGHT:
            shapes, forms = ", ".join(SHAPES), ", ".join(BITS_PER_WEIGHT)
            raise SystemExit(
                f"no model {name!r}: {', '.join(DEMO)} or SHAPE-FORMAT of {shapes} and {forms}"
            )
        return cls(shape, form)

    @property
    def path(self) -> Path:
        return MODELS / f"{self.shape}-{self.form}.gguf"

    @property
    def expected_bytes(self) -> int:
        return int(SHAPES[self.shape]().num_parameters * BITS_PER_WEIGHT[self.form] / 8)


def path_of(name: str) -> Path:
    """The file of that name, made if need be. Exits for a name that is none."""
    if name in DEMO:
        path = DEMO_MODELS / DEMO[name]
        if not path.is_file():
            raise SystemExit(f"no {path}: 'make models' brings it")
        return path
    made = Made.named(name)
    if not _is_whole(made):
        _make(made)
    os.utime(made.path)  # used now: others go first
    return made.path


def _is_whole(made: Made) -> bool:
    """A file of another size than its shape's is of an older shape, or another's."""
    return made.path.is_file() and is_about(made.path.stat().st_size, made.expected_bytes)


def is_about(size: int, expected: int) -> bool:
    """Within a quarter, and 32 MB for the vocabulary: mixes and odd rows cost a little more."""
    return abs(size - expected) <= expected / 4 + 32e6


def _make(made: Made) -> None:
    # The source is looked up first: making room must not take it away again.
    source = None if made.form == "bf16" else path_of(f"{made.shape}-bf16")
    MODELS.mkdir(exist_ok=True)
    room_for(made.expected_bytes, MAX_KEPT_BYTES)
    partial_path = made.path.with_suffix(".partial")
    if source is None:
        write_gguf(partial_path, made.shape, SHAPES[made.shape]())
    else:
        command = [tool("llama-quantize"), source, partial_path, made.form.upper(), "2"]
        subprocess.run(command, check=True, capture_output=True)
    partial_path.replace(made.path)
    if not _is_whole(made):
        size = made.path.stat().st_size
        raise SystemExit(f"{made.path} has {size} bytes, about {made.expected_bytes} were expected")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help=f"{', '.join(DEMO)}, or as 1b-q4_k_m")
    for name in parser.parse_args().names:
        path = path_of(name)
        print(f"{path} {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
