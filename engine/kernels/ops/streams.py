"""Several residual streams beside each other (AltUp, arXiv:2301.13310)."""

from torch import Tensor

from engine.kernels.ops.op import like, op


@op
def match_rms(x: Tensor, target: Tensor) -> Tensor:
    """x (T, k, n) with each of its vectors scaled to the root mean square of target (T, n).

    In target's dtype. One whose mean square is below 1e-5 is scaled as if it were that.
    """
    return like(target, *x.shape)


@op
def mix_streams(streams: Tensor, coefficients: Tensor) -> Tensor:
    """Each stream plus a mix of all: s_j + sum_i c_ji s_i, (T, k, n).

    streams: (T, k, n), coefficients: (T, k * k), those of each j together. AltUp's prediction,
    arXiv:2301.13310.
    """
    return like(streams, *streams.shape)


@op
def correct_streams(streams: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    """s_j + (1 + c_j) (x - s_0), (T, k, n): AltUp's correction.

    streams: (T, k, n), x: (T, n), what the first should have been, coefficients: (T, k).
    """
    return like(streams, *streams.shape)


@op
def add_to_later(streams: Tensor, x: Tensor) -> Tensor:
    """Streams (T, k, n) with x (T, n) added to all but the first."""
    return like(streams, *streams.shape)


@op
def select_stream(streams: Tensor, index: int) -> Tensor:
    """The one of that index of streams (T, k, n): (T, n)."""
    return like(streams, streams.shape[0], streams.shape[2])
