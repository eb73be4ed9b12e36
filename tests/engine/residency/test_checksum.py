from itertools import pairwise

import numpy as np
import pytest

from engine.residency.checksum import STRIPE, checksum, digest, partial_sums, summed
from tests.engine.residency.images import needs_native

rng = np.random.default_rng(7)


def some_bytes(count: int) -> np.ndarray:
    return rng.integers(0, 256, count, dtype=np.uint8)


@needs_native
@pytest.mark.parametrize("count", [0, 1, 8, 63, 64, 65, 127, 128, 4096, 100_001])
def test_native_and_numpy_agree(count):
    """Whatever the length, the alignment and the place."""
    data = some_bytes(count + 3)[3:]

    for first in (0, 5, 2**40):
        assert np.array_equal(partial_sums(data, first * STRIPE), summed(data, first))


def test_parts_add_up_in_any_order():
    """To the sums of the whole."""
    data = some_bytes(10 * STRIPE + 7)
    cuts = [0, STRIPE, 4 * STRIPE, 9 * STRIPE, len(data)]
    parts = [partial_sums(data[a:b], a) for a, b in pairwise(cuts)]

    assert digest(sum(reversed(parts)), len(data)) == checksum(data)


def test_every_flipped_bit_is_seen():
    """Also in zeros, where products are 0."""
    for data in (some_bytes(192), np.zeros(192, np.uint8)):
        sums = {checksum(data)}
        for bit in range(8 * len(data)):
            flipped = data.copy()
            flipped[bit // 8] ^= 1 << bit % 8
            sums.add(checksum(flipped))

        assert len(sums) == 8 * len(data) + 1


def test_moved_bytes_are_seen():
    """Stripes that changed places, words of a lane, and a run of zeros that grew."""
    data = some_bytes(4 * STRIPE)
    swapped = np.concatenate([data[STRIPE : 2 * STRIPE], data[:STRIPE], data[2 * STRIPE :]])

    assert checksum(swapped) != checksum(data)
    assert checksum(np.zeros(64, np.uint8)) != checksum(np.zeros(63, np.uint8))
