"""State slots: what is kept, what gives way, and who writes where."""

import pytest

from engine.cache.slots import StateSlots
from engine.cache.table import BlockTable


def begun(slots: StateSlots, snapshot: bytes | None = None) -> BlockTable:
    table = BlockTable()
    slots.begin(table, snapshot)
    return table


def stepped(
    slots: StateSlots, table: BlockTable, name: bytes | None = None, *, is_rolling: bool = False
) -> None:
    """A step of a table that goes on, and what it left is named."""
    slots.advance(table)
    if name is not None:
        slots.keep(table, name, is_rolling=is_rolling, goes_on=True, spare=0)


def test_a_sequence_stays_in_its_slot():
    """Without a snapshot each step reads what the one before has written, where it was written."""
    slots = StateSlots(2)
    table = begun(slots)
    assert table.state_read is None
    stepped(slots, table)

    assert table.state_read == table.state_write
    assert slots.num_free == 1
    slots.check([table])


def test_a_kept_state_is_read_once_more_and_never_written():
    """The sequence goes on in another slot; the snapshot is held until its next step is over."""
    slots = StateSlots(2)
    table = begun(slots)
    stepped(slots, table, b"x")
    assert table.state_read != table.state_write
    assert slots.num_free == 0
    slots.check([table])

    stepped(slots, table)

    assert table.state_read == table.state_write
    assert slots.num_free == 1
    assert slots.longest([b"x"]) == 1
    slots.check([table])


def test_no_snapshot_is_made_without_a_slot_to_go_on_in():
    """What runs goes on as if nothing had been asked."""
    slots = StateSlots(1)
    table = begun(slots)
    stepped(slots, table, b"x")

    assert table.state_read == table.state_write
    assert slots.longest([b"x"]) == 0


def test_newcomers_slots_are_no_snapshots():
    """As many stay free as somebody waits for."""
    slots = StateSlots(2)
    table = begun(slots)
    slots.advance(table)
    slots.keep(table, b"x", is_rolling=False, goes_on=True, spare=1)

    assert slots.longest([b"x"]) == 0


def test_the_last_state_of_a_sequence_needs_no_other_slot():
    """Nobody goes on from it, so it is kept where it is."""
    slots = StateSlots(1)
    table = begun(slots)
    slots.advance(table)
    slots.keep(table, b"x", is_rolling=True, goes_on=False, spare=0)
    slots.release(table)

    assert slots.longest([b"x"]) == 1
    assert slots.num_free == 1
    slots.check([])


def test_who_resumes_reads_the_snapshot_and_writes_elsewhere():
    """So it is there for the next as well."""
    slots = StateSlots(3)
    first = begun(slots)
    stepped(slots, first, b"x")
    second = begun(slots, b"x")

    assert second.state_read == first.state_read
    assert second.state_write not in {first.state_read, first.state_write}
    slots.check([first, second])
    slots.release(first)
    stepped(slots, second)
    assert slots.longest([b"x"]) == 1
    slots.check([second])


def test_a_snapshot_in_the_last_free_slot_is_taken_over():
    """It is used in spite of that, and its name goes."""
    slots = StateSlots(2)
    first = begun(slots)
    stepped(slots, first, b"x")
    stepped(slots, first)
    second = begun(slots, b"x")

    assert second.state_read == second.state_write != first.state_write
    assert slots.longest([b"x"]) == 0
    slots.check([first, second])


def test_the_longest_unused_snapshot_gives_way():
    """A sequence that begins takes precedence over all of them."""
    slots = StateSlots(3)
    table = begun(slots)
    for name in (b"x", b"y", None):
        stepped(slots, table, name)
    assert (slots.longest([b"x"]), slots.longest([b"y"])) == (1, 1)
    begun(slots)

    assert (slots.longest([b"x"]), slots.longest([b"y"])) == (0, 1)


def test_a_rolling_snapshot_gives_way_to_the_next():
    """One that generates for long keeps one state, and no others give way to it."""
    slots = StateSlots(3)
    table = begun(slots)
    stepped(slots, table, b"prompt")
    for name in (b"a", b"b", b"c", b"d"):
        stepped(slots, table)
        stepped(slots, table, name, is_rolling=True)
        slots.check([table])

    assert [slots.longest([name]) for name in (b"prompt", b"c", b"d")] == [1, 0, 1]


@pytest.mark.parametrize("still_runs", [True, False])
def test_a_rolling_snapshot_that_was_used_stays(still_runs: bool):
    """Somebody has found it worth something."""
    slots = StateSlots(8)
    table = begun(slots)
    stepped(slots, table, b"a", is_rolling=True)
    stepped(slots, table)
    other = begun(slots, b"a")
    if not still_runs:
        slots.release(other)
    stepped(slots, table, b"b", is_rolling=True)

    assert (slots.longest([b"a"]), slots.longest([b"b"])) == (1, 1)
    slots.check([table, other] if still_runs else [table])


def test_the_last_rolling_snapshot_outlives_its_sequence():
    """The next turn of a chat begins where this one ended."""
    slots = StateSlots(3)
    table = begun(slots)
    stepped(slots, table, b"a", is_rolling=True)
    slots.release(table)
    other = begun(slots)
    stepped(slots, other, b"b", is_rolling=True)

    assert slots.longest([b"a"]) == 1


def test_what_a_failed_step_was_to_write_is_blank():
    """Only what was computed has a name; what it was to go on from still has its own."""
    slots = StateSlots(2)
    table = begun(slots)
    stepped(slots, table, b"x")
    slots.release(table)

    assert slots.num_free == 2
    assert slots.longest([b"x"]) == 1
    slots.check([])


def test_check_finds_a_snapshot_that_would_be_written():
    """It would be shared with the wrong contents."""
    slots = StateSlots(2)
    table = begun(slots)
    stepped(slots, table, b"x")
    table.state_read, table.state_write = table.state_write, table.state_read

    with pytest.raises(AssertionError):
        slots.check([table])
