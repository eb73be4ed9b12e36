import pytest

from tests.gateway.pool.histories import make_history
from tests.gateway.pool.world import World


def walk(seeds: range) -> None:
    for seed in seeds:
        history = make_history(seed, num_ops=120)
        world = World(history)

        for op in history.ops:
            world.play(op)

        world.finish()


@pytest.mark.parametrize("block", range(3))
def test_invariants_hold_through_random_histories(block: int):
    """All invariants hold after every event, and at the end nobody waits or is left paused."""
    walk(range(block * 100, (block + 1) * 100))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(3, 103))
def test_invariants_hold_through_thousands_of_histories(block: int):
    """As above, ten thousand times."""
    walk(range(block * 100, (block + 1) * 100))
