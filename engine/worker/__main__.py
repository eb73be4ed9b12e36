"""`python -m engine.worker --control-fd N --socket PATH --device NAME --memory BYTES --dtype D`.

--image-cache FOLDER|auto|off, --image-cache-bytes BYTES: where images of weights are kept.
--warm-bytes BYTES, --parked-bytes BYTES, --host-shares N: as in `engine.api.HostMemory`.
--threads N: how many threads compute; every core's by default.
--kv-dtype auto|q8_0|fp8: what keys and values are kept in.
--speculate N: how many tokens a sequence guesses ahead at most.
--accelerator cuda:UUID: what the device is, where it is not the CPU.
--kinds K,K: of all devices that models may go to, those to be preferred first.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from engine.api import HostMemory
from engine.devices import accelerator
from engine.process import control_channel, live
from engine.residency.image_store import ImageStore
from engine.wire import Command
from engine.worker.server import Worker


def parse_arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m engine.worker", allow_abbrev=False)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--image-cache", default="off")
    parser.add_argument("--image-cache-bytes", type=int)
    parser.add_argument("--warm-bytes", type=int)
    parser.add_argument("--parked-bytes", type=int)
    parser.add_argument("--host-shares", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kv-dtype", choices=("auto", "q8_0", "fp8"), default="auto")
    parser.add_argument("--speculate", type=int, default=0)
    parser.add_argument("--accelerator", type=accelerator)
    parser.add_argument("--kinds", type=lambda kinds: tuple(kinds.split(",")), default=("cpu",))
    return parser.parse_args()


async def serve(arguments: Namespace) -> None:
    """Runs a worker until its control channel ends."""
    images = ImageStore.of(arguments.image_cache, arguments.image_cache_bytes)
    worker = Worker(
        await control_channel(arguments.control_fd, Command),
        device=arguments.device,
        memory_bytes=arguments.memory,
        dtype=arguments.dtype,
        images=images,
        host=HostMemory(arguments.warm_bytes, arguments.parked_bytes, arguments.host_shares),
        threads=arguments.threads,
        kv_dtype=arguments.kv_dtype,
        speculate=arguments.speculate,
        accelerator=arguments.accelerator,
        kinds=arguments.kinds,
    )
    await worker.run(arguments.socket)
    images.wait()  # what was built last; who can't wait for it kills this process


if __name__ == "__main__":
    live(serve(parse_arguments()))
