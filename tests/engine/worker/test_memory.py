import mmap

from engine.worker.memory import Unreclaimed, private_bytes

SIZE = 32 * 2**20


def test_what_is_left_behind_is_seen():
    """Memory that is neither kept on purpose nor was there at first."""
    unreclaimed = Unreclaimed()
    with mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as left:
        left.write(bytes(SIZE))
        unreclaimed.look(kept_bytes=0)
        found = unreclaimed.num_bytes
        unreclaimed.look(kept_bytes=SIZE)
        kept = unreclaimed.num_bytes

    assert found > SIZE // 2
    assert kept < SIZE // 2


def test_a_process_has_memory_of_its_own():
    """Some, of which files take no part."""
    assert private_bytes() > 2**20
