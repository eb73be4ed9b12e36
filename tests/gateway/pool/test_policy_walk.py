import pytest

from tests.gateway.pool.histories import World, make_history


@pytest.mark.parametrize("block", range(20))
def test_invariants_hold_through_random_histories(block: int):
    """Invariants 1, 2, 5, 6 and 9 hold after every event, and at the end nobody is left waiting."""
    for seed in range(block * 150, (block + 1) * 150):
        history = make_history(seed, num_ops=120)
        world = World(history)

        for op in history.ops:
            world.play(op)

        world.finish()
