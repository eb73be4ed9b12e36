"""Slots of a device's memory: where their bytes are, and who waits for whom."""

from itertools import pairwise

import pytest
import torch

from engine.devices import DeviceLost, OutOfDeviceMemory
from engine.models.planes import UNIT
from engine.residency.arena import MERGED_BYTES, Arena, Slot, take_tensors
from tests.support.fake_device import FakeDevice


def arena_of(num_units: int, **how: object) -> Arena:
    return Arena(FakeDevice(**how), num_units * UNIT)


def span(tensor: torch.Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes


def test_memory_is_taken_once_and_late():
    """Nothing of the device before the first slot; all of it with that."""
    arena = arena_of(4)
    device = arena.accelerator
    assert device.used_bytes == 0

    slots = [arena.take(number, [UNIT]) for number in range(4)]
    for slot in slots:
        slot.free()
    assert device.num_allocations == 1
    assert arena.free_bytes == arena.num_bytes == 4 * UNIT


def test_pieces_lie_together_where_they_can():
    """One after the other, without rounding each."""
    arena = arena_of(3)
    slot = arena.take("a", [UNIT, 256, UNIT - 256])

    assert slot.nbytes == 2 * UNIT
    starts = [span(piece) for piece in slot.pieces]
    assert starts[0][1] == starts[1][0]
    assert starts[1][1] == starts[2][0]
    assert starts[0][0] % UNIT == 0


def test_pieces_lie_apart_where_they_must():
    """Each at a unit; no byte is anybody else's."""
    arena = arena_of(5)
    slots = [arena.take(number, [UNIT]) for number in range(5)]
    for number in (0, 2, 4):
        slots[number].free()

    slot = arena.take("a", [UNIT, 300, UNIT])
    assert slot.nbytes == 3 * UNIT
    spans = sorted(span(piece) for piece in (*slot.pieces, *slots[1].pieces, *slots[3].pieces))
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    with pytest.raises(OutOfDeviceMemory, match="0 free"):
        arena.take("b", [1])


def test_a_device_without_that_much_changes_nothing():
    """The next one to ask asks again."""
    arena = arena_of(4, fails_at_allocation=0)
    with pytest.raises(OutOfDeviceMemory):
        arena.take("a", [UNIT])
    assert arena.free_bytes == 4 * UNIT

    arena.take("a", [UNIT])
    arena.check()


def run_kernel(device: FakeDevice, slot: Slot, out: torch.Tensor) -> None:
    """Reads the slot at some time."""
    with device.compute_stream():
        device.copy(out, slot.pieces[0][: len(out)])


def overwrite(device: FakeDevice, slot: Slot, value: int) -> None:
    with device.copy_stream() as copies:
        device.copy(slot.pieces[0], torch.full_like(slot.pieces[0], value))
        slot.copies.append(copies.record())


@pytest.mark.parametrize("seed", range(10))
def test_memory_is_not_overwritten_before_it_was_read(seed):
    """An evicted model's last kernels come before whatever is copied in its place."""
    arena = arena_of(1, late_compute=True, seed=seed)
    device, out = arena.accelerator, torch.zeros(8, dtype=torch.uint8)
    old = arena.take("old", [UNIT])
    overwrite(device, old, 3)
    device.compute_stream().wait(old.copies[0])
    run_kernel(device, old, out)
    old.free()

    new = arena.take("new", [UNIT])
    overwrite(device, new, 5)
    device.copy_stream().synchronise()
    device.compute_stream().synchronise()
    assert out.tolist() == [3] * 8


def test_memory_is_not_given_away_while_copies_write_to_it():
    """A load that was given up has none under way once its slot is free."""
    arena = arena_of(1)
    device = arena.accelerator
    slot = arena.take("given up", [UNIT])
    overwrite(device, slot, 3)
    slot.free()

    new = arena.take("new", [UNIT])
    with device.compute_stream():
        new.pieces[0].fill_(9)
    device.copy_stream().synchronise()
    assert new.pieces[0].unique().tolist() == [9]


def test_a_slot_is_freed_once():
    """Whoever says so again says nothing new."""
    arena = arena_of(2)
    one = arena.take("one", [UNIT])
    one.free()
    other = arena.take("one", [UNIT])
    one.free()

    assert arena.free_bytes == UNIT
    assert other.generation == one.generation
    arena.check()


def test_what_a_lost_device_had_is_accounted_for():
    """It says so, and the slot is free all the same."""
    arena = arena_of(2)
    slot = arena.take("a", [UNIT])
    overwrite(arena.accelerator, slot, 1)
    arena.accelerator.lose()

    with pytest.raises(DeviceLost):
        slot.free()
    assert arena.free_bytes == 2 * UNIT


def test_tensors_have_their_shapes_and_no_byte_in_common():
    """Of any dtype; each at a multiple of 256 bytes."""
    shapes = [
        ((3, 5), torch.bfloat16),
        ((7,), torch.float32),
        ((0, 4), torch.uint8),
        ((2,), torch.uint8),
    ]
    slot, tensors = take_tensors(arena_of(1), "a", shapes)

    assert [(tuple(each.shape), each.dtype) for each in tensors] == shapes
    assert all(each.data_ptr() % 256 == 0 for each in tensors if each.nbytes)
    spans = sorted(span(each) for each in tensors if each.nbytes)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert slot.nbytes == UNIT


def test_tensors_spread_over_holes():
    """Runs of them, of `MERGED_BYTES` or more but for the last."""
    units = MERGED_BYTES // UNIT
    arena = arena_of(3 * units)
    middle = [arena.take(number, [units * UNIT]) for number in range(3)]
    middle[0].free()
    middle[2].free()

    half = ((MERGED_BYTES // 2,), torch.uint8)
    slot, tensors = take_tensors(arena, "a", [half] * 4)
    assert len(slot.pieces) == 2
    assert len({span(each) for each in tensors}) == 4
    assert arena.free_bytes == 0


def test_nothing_takes_nothing():
    """A model that keeps nothing has no tensors."""
    arena = arena_of(1)
    slot, tensors = take_tensors(arena, "a", [])

    assert (slot.nbytes, tensors) == (0, [])
    slot.free()
    arena.check()
