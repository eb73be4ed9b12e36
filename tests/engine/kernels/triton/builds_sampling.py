"""Builds of the sampler, for vocabularies of 32,000 to 262,144 tokens."""

from engine.kernels.triton import filtering, sampling
from offline_builds import Build

KINDS = {
    **dict.fromkeys(("logits", "raw", "bests", "masses", "values"), "*fp32"),
    **dict.fromkeys(("parameters", "sums", "totals"), "*fp64"),
    **dict.fromkeys(("firsts", "counts", "starts", "plans", "ids"), "*i32"),
    "tokens": "*i64",
    **dict.fromkeys(("stride", "raw_stride", "vocab", "num_blocks", "capacity"), "i32"),
}
ALIGNED = ("stride", "raw_stride", "vocab", "capacity")


def build(name: str, kernel, num_warps: int = 4, *, quick: bool = False, **constants) -> Build:
    kinds = {each: kind for each, kind in KINDS.items() if each in kernel.arg_names}
    aligned = tuple(each for each in ALIGNED if each in kernel.arg_names)
    # a program a row reads little but chosen places
    wide = kernel in {sampling._summarise, filtering.collect}
    return Build(
        name,
        kernel,
        kinds,
        constants,
        aligned=aligned,
        num_warps=num_warps,
        max_registers=168,
        vector_loads=wide,
        quick=quick,
    )


BUILDS = [
    build("summarise, plain", sampling._summarise, ADJUSTED=False, FILTERS=False, BLOCK=1024),
    build("summarise", sampling._summarise, 8, ADJUSTED=False, FILTERS=True, BLOCK=1024),
    build("summarise, wide", sampling._summarise, 16, ADJUSTED=True, FILTERS=True, BLOCK=2048),
    build("settle, plain", sampling._settle, 8, FILTERS=False, BLOCKS=128, BLOCK=1024, quick=True),
    build("settle", sampling._settle, 8, FILTERS=True, BLOCKS=32, BLOCK=1024),
    build("settle, wide", sampling._settle, 8, FILTERS=True, BLOCKS=128, BLOCK=2048),
    build("collect", filtering.collect, BLOCK=1024),
    build("filter", filtering.choose, 8, CHUNK=sampling.CHUNK, quick=True),
]
