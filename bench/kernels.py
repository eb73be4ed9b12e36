"""How fast native kernels multiply: GB/s of weights for one row, GOPS for 16 and for 512."""

import argparse
import time
from collections.abc import Callable

import torch
from harness import Row, report
from torch import Tensor

from engine.kernels.cpu import matrices  # noqa: F401  # registers kernels
from engine.kernels.cpu.calls import Threads, run
from engine.kernels.cpu.layouts import NUMBERS, tiled_bytes
from engine.kernels.weight import TILED, Weight

SHAPES = ((2048, 2048), (5632, 2048), (1536, 576), (14336, 4096))
COUNTS = (1, 16, 512)

ROTATED_BYTES = 400 * 2**20
"""Weights are taken in turn from so much memory: more than caches hold."""

WHOLE_BLOCKS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")


def best_seconds(call: Callable[[int], None], repeats: int) -> float:
    """Of several rounds of calls: what others do on the same cores only ever adds."""
    found = []
    for _ in range(5):
        began = time.perf_counter()
        for index in range(repeats):
            call(index)
        found.append((time.perf_counter() - began) / repeats)
    return min(found)


def read_bandwidth(memory: Tensor) -> float:
    """GB/s that the threads read together."""
    values = memory.view(torch.float32)
    return memory.nbytes / best_seconds(lambda _: values.sum(), 1) / 1e9


def weights_in(memory: Tensor, name: str, shape: tuple[int, int]) -> list[Weight]:
    """As many as fit; what they hold doesn't matter to the time."""
    size = tiled_bytes(name, *shape)
    starts = range(0, memory.nbytes - size + 1, size)
    return [Weight(name, shape, memory[start : start + size], torch.float32) for start in starts]


def measure(memory: Tensor, threads: Threads, name: str, shape: tuple[int, int]) -> Row:
    weights = weights_in(memory, name, shape)
    row: Row = {"format": name.removeprefix(TILED), "shape": f"{shape[0]}x{shape[1]}"}
    for count in COUNTS:
        x, y = torch.randn(count, shape[1]), torch.empty(count, shape[0])

        def call(index: int, x: Tensor = x, y: Tensor = y) -> None:
            run(threads, "linear", (x, weights[index % len(weights)]), y)

        operations = 2 * count * shape[0] * shape[1]
        seconds = best_seconds(call, max(2, min(len(weights), int(1e10 / operations))))
        if count == 1:
            row["GB/s, 1 row"] = round(weights[0].nbytes / seconds / 1e9, 1)
        else:
            row[f"GOPS, {count} rows"] = round(operations / seconds / 1e9)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", default=",".join(NUMBERS), help="comma-separated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    args = parser.parse_args()
    threads = Threads(args.threads)
    # As float16, float32 and factors alike these bytes are ordinary numbers.
    room = torch.full((ROTATED_BYTES + 64,), 0x2C, dtype=torch.uint8)
    memory = room[-room.data_ptr() % 64 :][:ROTATED_BYTES]
    rows = []
    for name in args.formats.split(","):
        for shape in SHAPES:
            if name in WHOLE_BLOCKS and shape[1] % 256:
                continue
            row = measure(memory, threads, TILED + name, shape)
            rows.append(row | {"GB/s of reading": round(read_bandwidth(memory), 1)})
    report({"Matrices": rows}, args.json)


if __name__ == "__main__":
    main()
