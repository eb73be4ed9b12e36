"""What a GPU does with our kernels and images: copies, swaps, decoding, prefill. `make gpu` calls it.

    python bench/gpu.py [--models NAME ...] [--parts copy,decode,swap,peer] [--minutes 9] [--json FILE]

Models are random weights in real shapes (bench/gpu_files.py), made in --folder: memory, if it holds them.
The memory's own limit is measured in the same run, and every rate is told as a share of it. Nothing is
discarded: medians, with the least and the most beside them.
"""

import argparse
import json
import mmap
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from gpu_files import write

from engine.api import HostMemory, LoadOrder, Sampling
from engine.core.admission import sequence_of
from engine.core.resident import Resident
from engine.devices import Accelerator, accelerator
from engine.kernels.triton import install
from engine.residency.image_store import ImageStore
from engine.wire import Start
from engine.worker.models import Models

MODELS = (
    "llama-8b-bf16",
    "llama-8b-q4_k_m",
    "llama-8b-fp8",
    "gpt-oss-20b-mxfp4",
    "qwen3-30b-a3b-q4_k_m",
)
PARTS = ("copy", "decode", "swap", "peer")
KV_TOKENS = 96 * 1024
PREFILL_SECONDS = 10.0  # no limit on chunks: nobody else waits

Row = dict[str, Any]


@dataclass
class Bench:
    """tables: by title. until: when the time is over, of `time.monotonic`."""

    device: Accelerator
    folder: Path
    until: float
    limit_gbs: float = 0.0
    pinned_gbs: float = 0.0
    tables: dict[str, list[Row]] = field(default_factory=dict)

    @cached_property
    def served(self) -> "Served":
        """One worker's memory, for all models."""
        return Served(self)

    @property
    def has_time(self) -> bool:
        return time.monotonic() < self.until

    def add(self, title: str, **row: Any) -> None:
        self.tables.setdefault(title, []).append(row)
        print(
            f"{title}: " + "  ".join(f"{name} {_shown(value)}" for name, value in row.items()),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm/roundhouse"))
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    parts = set(args.parts.split(","))
    bench = Bench(accelerator(args.device), args.folder, time.monotonic() + 60 * args.minutes)
    install.install(bench.device.device.type)
    bench.add("machine", gpu=bench.device.name, torch=torch.__version__)
    try:
        limits(bench)
        if "copy" in parts:
            copies(bench)
        for name in args.models:
            if "decode" in parts and bench.has_time:
                decode(bench, name)
        if "swap" in parts and bench.has_time:
            swap(bench, list(args.models[:2]))
        if "peer" in parts and bench.has_time:
            peer(bench)
    finally:
        if args.json:
            args.json.write_text(json.dumps(bench.tables, indent=1))


# --- the machine ---------------------------------------------------------------------------------


def limits(bench: Bench, num_bytes: int = 4 * 2**30, side: int = 8192) -> None:
    """What the device's memory gives: a copy, read and written bytes counted; and its tensor cores."""
    bench.limit_gbs = 2 * num_bytes / _copy_seconds(bench, num_bytes) / 1e9
    a = torch.randn(side, side, device=bench.device.device).bfloat16()
    seconds = timed(bench, lambda: a @ a, 10)
    bench.add("machine", memory_gbs=bench.limit_gbs, bf16_tflops=2 * side**3 / seconds / 1e12)


def _copy_seconds(bench: Bench, num_bytes: int) -> float:
    source = torch.empty(num_bytes, dtype=torch.uint8, device=bench.device.device)
    target = torch.empty_like(source)
    return timed(bench, lambda: target.copy_(source), 20)


def copies(bench: Bench, sizes: tuple[int, ...] = (1, 16, 64, 512)) -> None:
    """Host to device by size in MiB, pinned and not; and what pinning itself costs."""
    device = bench.device
    staging = device.pinned(max(sizes) * 2**20)
    target = device.allocate(max(sizes) * 2**20)
    for mib in sizes:
        size = mib * 2**20
        pinned = timed(bench, lambda s=size: device.copy(target[:s], staging[:s]), 20)
        plain = torch.ones(size, dtype=torch.uint8)
        pageable = timed(bench, lambda s=size, p=plain: target[:s].copy_(p), 5)
        bench.pinned_gbs = size / pinned / 1e9
        bench.add(
            "copy", mib=mib, pinned_gbs=size / pinned / 1e9, pageable_gbs=size / pageable / 1e9
        )
    for kind in ("4 KiB pages", "2 MiB pages"):
        host = _host_memory(4 * max(sizes) * 2**20, is_huge=kind.startswith("2"))
        started = time.perf_counter()
        handle = device.pin(host)
        seconds = time.perf_counter() - started
        bench.add("pin", pages=kind, gbs=host.nbytes / seconds / 1e9 if handle else None)
        if handle:
            handle.release()


def _host_memory(num_bytes: int, *, is_huge: bool) -> torch.Tensor:
    pages = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE if is_huge else mmap.MADV_NOHUGEPAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = torch.frombuffer(pages, dtype=torch.uint8)
    found.fill_(1)
    return found


# --- models --------------------------------------------------------------------------------------


class Served:
    """Models in one worker's memory, as the gateway has them there."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        free = bench.device.memory().free_bytes
        images = ImageStore(bench.folder / "images")
        self._models = Models(
            torch.bfloat16,
            images,
            HostMemory(warm_bytes=96 * 2**30, parked_bytes=0),
            int(free * 0.92),
            accelerator=bench.device,
        )
        self._handle = 0

    @contextmanager
    def loaded(self, path: Path, kv_tokens: int = KV_TOKENS) -> Iterator[tuple[Resident, Any]]:
        self._handle += 1
        order = LoadOrder(self._handle, "cuda", str(path), "planes", kv_tokens)
        model, caches, report = self._models.open(order, lambda _: None, lambda: False)
        resident = Resident(model, caches)
        try:
            yield resident, report
        finally:
            del resident
            lost = self._models.park(order.handle, caches, is_paused=False)
            for each in lost:
                each.discard()
            del model, caches, lost
            self._models.close(order.handle)


class Run:
    """Sequences of one resident, and when their tokens came."""

    def __init__(self, resident: Resident, lengths: list[int], max_tokens: int) -> None:
        self._resident = resident
        self.counts = dict.fromkeys(range(len(lengths)), 0)
        for number, length in enumerate(lengths):
            draw = random.Random(f"{number} {length} {time.time_ns()}")
            ids = [draw.randrange(100, 400) for _ in range(length)]
            start = Start(number, 0, ids, max_tokens, max_tokens, [], Sampling(temperature=0))
            resident.scheduler.add(sequence_of(start, None, resident.vocab_size))

    def until(self, num_tokens: int) -> float:
        """Steps until every sequence has so many tokens; seconds it took."""
        started = time.perf_counter()
        while min(self.counts.values()) < num_tokens and not self._resident.is_idle:
            for _, output in self._resident.step(PREFILL_SECONDS):
                if output.failure:
                    raise SystemExit(f"failed: {output.failure}")
                self.counts[output.sequence] += len(output.token_ids)
        return time.perf_counter() - started

    def end(self) -> None:
        while not self._resident.is_idle:
            self._resident.step(PREFILL_SECONDS)


def decode(
    bench: Bench,
    name: str,
    prompts: tuple[int, ...] = (512, 2048, 8192),
    batches: tuple[tuple[int, int], ...] = (
        (1, 128),
        (1, 8000),
        (8, 128),
        (8, 8000),
        (64, 128),
        (64, 1024),
    ),
    steps: tuple[int, ...] = (48, 96, 144),
) -> None:
    """Prefill and decode of one model, alone on the device, by batch and context."""
    started = time.perf_counter()
    path = write(name, bench.folder)
    bench.add("made", model=name, seconds=time.perf_counter() - started)
    with bench.served.loaded(path) as (resident, report):
        read_bytes = report.weights_bytes
        phases = {f"{phase} s": seconds for phase, seconds in report.phases.items()}
        bench.add("loaded", model=name, gb=read_bytes / 1e9, tier=report.tier, **phases)
        for length in prompts:
            Run(resident, [length], 1).end()  # compiles what this size needs
            rates = []
            for _ in range(3):
                seconds = Run(resident, [length], 1).until(1)
                rates.append(length / seconds)
            bench.add("prefill", model=name, tokens=length, **spread("tokens/s", rates))
        for batch, length in batches:
            if not bench.has_time or batch * (length + 256) > KV_TOKENS:
                continue
            rates = []
            run = Run(resident, [length] * batch, steps[-1] + 40)
            run.until(16)  # graphs are there then
            for more in steps:
                before = sum(run.counts.values())
                seconds = run.until(16 + more)
                rates.append((sum(run.counts.values()) - before) / seconds)
            run.end()
            row = spread("tokens/s", rates)
            if batch == 1:
                row["limit"] = statistics.median(rates) * read_bytes / (bench.limit_gbs * 1e9)
            bench.add("decode", model=name, batch=batch, context=length, **row)


def swap(bench: Bench, names: list[str], times: int = 10, rest_seconds: float = 10) -> None:
    """From a load of a warm model to its first token, one in the place of the other.

    rest_seconds: in which images are pinned.
    """
    served = bench.served
    paths = [write(name, bench.folder) for name in names]
    for path in paths:  # images are built, and pinned in the background
        with served.loaded(path, 16 * 1024) as (resident, _):
            Run(resident, [512], 1).end()
    time.sleep(rest_seconds)
    before = bench.device.memory().free_bytes
    found: dict[str, list[float]] = {name: [] for name in names}
    rates: dict[str, float] = {}
    for _ in range(times):
        for name, path in zip(names, paths, strict=True):
            started = time.perf_counter()
            with served.loaded(path, 16 * 1024) as (resident, report):
                Run(resident, [512], 1).until(1)
                found[name].append(time.perf_counter() - started)
                rates[name] = report.weights_bytes / 1e9
    for name in names:
        copy_seconds = rates[name] / bench.pinned_gbs if bench.pinned_gbs else None
        bench.add(
            "swap", model=name, **spread("seconds", found[name]), copy_limit_seconds=copy_seconds
        )
    bench.add("swap", left_bytes=before - bench.device.memory().free_bytes)


LLAMA_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 8192,
}


def peer(
    bench: Bench,
    shape: dict[str, int] = LLAMA_8B,
    batches: tuple[int, ...] = (1, 8, 64),
    tokens: tuple[int, int] = (16, 144),
) -> None:
    """What transformers' generate does with the same shape: static cache, compiled on a GPU.

    tokens: of a short and of a long answer; the time between them counts.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device(bench.device.device):
        model = LlamaForCausalLM(LlamaConfig(**shape)).to(torch.bfloat16).eval()

    def seconds(ids: torch.Tensor, num_tokens: int) -> float:
        return _seconds(
            bench,
            lambda: model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=num_tokens,
                max_new_tokens=num_tokens,
                do_sample=False,
                cache_implementation="static",
                pad_token_id=0,
            ),
        )

    short, long = tokens
    for batch in batches:
        ids = torch.randint(100, 400, (batch, 128), device=bench.device.device)
        for _ in range(2):  # compiles
            seconds(ids, short)
            seconds(ids, long)
        rate = batch * (long - short) / (seconds(ids, long) - seconds(ids, short))
        bench.add("transformers", batch=batch, **{"tokens/s": rate})
        if not bench.has_time:
            return


# --- measuring -----------------------------------------------------------------------------------


def timed(bench: Bench, work: Callable[[], object], times: int) -> float:
    """Seconds of one, once it is warm."""
    work()
    return _seconds(bench, lambda: [work() for _ in range(times)]) / times


def _seconds(bench: Bench, work: Callable[[], object]) -> float:
    with bench.device.compute_stream() as stream:
        stream.synchronise()
        started = time.perf_counter()
        work()
        stream.synchronise()
    return time.perf_counter() - started


def spread(name: str, values: list[float]) -> Row:
    return {name: statistics.median(values), "least": min(values), "most": max(values)}


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
