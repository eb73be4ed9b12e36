"""Where states are worth keeping."""

from engine.cache.snapshots import SeenPrompts, prompt_stops

NAMES = [b"a", b"b", b"c", b"d"]


def test_a_short_prompt_stops_at_its_last_block():
    """Once, for whoever sends it again."""
    assert prompt_stops(num_blocks=5, num_shared=0, block_size=16) == {80}


def test_a_prompt_within_one_block_stops_nowhere():
    """There is no boundary to keep a state at."""
    assert prompt_stops(num_blocks=0, num_shared=0, block_size=16) == set()


def test_a_prompt_stops_where_it_parts_from_another():
    """The next that begins so resumes there."""
    assert prompt_stops(num_blocks=5, num_shared=2, block_size=16) == {32, 80}


def test_a_long_prompt_stops_ever_more_sparsely():
    """Few snapshots, and none of them less than half of what the next covers."""
    assert prompt_stops(num_blocks=200, num_shared=0, block_size=16) == {512, 1024, 2048, 3200}
    assert len(prompt_stops(num_blocks=2**16, num_shared=0, block_size=16)) == 12


def test_the_longest_beginning_of_an_earlier_prompt_is_found():
    """Of several, that which shares most."""
    seen = SeenPrompts()
    seen.add(NAMES[:1])
    seen.add(NAMES[:3])

    assert seen.num_shared(NAMES) == 3
    assert seen.num_shared([*NAMES[:2], b"x"]) == 2
    assert seen.num_shared([b"x"]) == 0


def test_the_ends_of_old_prompts_are_forgotten_first():
    """What is remembered is bounded, and beginnings are worth the most."""
    seen = SeenPrompts(max_blocks=5)
    seen.add(NAMES)
    seen.add([b"x", b"y"])

    assert seen.num_shared(NAMES) == 3
    assert seen.num_shared([b"x", b"y"]) == 2
