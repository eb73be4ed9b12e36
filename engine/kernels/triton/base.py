"""What all Triton kernels share."""

import triton
from triton import language as tl

INTERPRETS: bool = triton.knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, on the CPU: its bfloat16 arithmetic is wrong, so kernels
compute in float32 there (`UPCAST`), and its out-of-bounds accesses crash."""


@triton.jit
def dot(a, b, acc, UPCAST: tl.constexpr):
    """Acc + a @ b, acc float32, exact to its rounding: float32 is never cut to fewer bits.

    UPCAST: of `INTERPRETS`.
    """
    if UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision="ieee")
    return tl.dot(a, b, acc, input_precision="ieee")


def ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)
