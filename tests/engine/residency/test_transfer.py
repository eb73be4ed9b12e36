"""Copies of an image: all of it, in the order of computation, and waited for by group."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.devices import PIN_SLICE_BYTES
from engine.residency import transfer
from engine.residency.image_plan import ImagePlan, Segment
from engine.residency.transfer import Arrivals, plan_transfer, send
from tests.support.fake_device import FakeDevice

PAGE = 4096


def plan_of(layers: list[list[int]], first: int = PAGE) -> ImagePlan:
    """Segments of so many bytes: of an embedding, and of layers."""
    segments, offset = [], first
    for number, sizes in enumerate(layers):
        offset = -(-offset // PAGE) * PAGE
        name = "embed" if not number else f"layers.{number}"
        for index, size in enumerate(sizes):
            path = f"{name}.{index}.weight" if number else f"embed.w{index}"
            segments.append(Segment(path, "dense", (size,), "float32", offset, size))
            offset = -(-(offset + size) // 256) * 256
    return ImagePlan("key", tuple(segments))


layers = st.lists(st.lists(st.integers(1, 9000), min_size=1, max_size=4), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(layers, st.integers(1, 20_000), st.sampled_from([PAGE, 4 * PAGE, 10**9]))
def test_every_byte_is_copied_once_and_in_order(layers, group_bytes, slice_bytes):
    """To where the segment's values are looked for; no copy crosses a slice of pinned memory."""
    plan = plan_of(layers)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfer, "PIN_SLICE_BYTES", slice_bytes)
        found = plan_transfer(plan, group_bytes)

    copies = [copy for group in found.groups for copy in group]
    spans = [copy.span for copy in copies]
    assert spans[0].start == plan.first_byte
    assert spans[-1].end == plan.file_bytes
    assert all(one.end == other.start for one, other in pairwise(spans))
    assert all(s.start // slice_bytes == (s.end - 1) // slice_bytes for s in spans)
    whole = torch.arange(plan.file_bytes, dtype=torch.int64)
    pieces = [torch.full((piece.nbytes,), -1) for piece in found.pieces]
    for copy in copies:
        copy.target(pieces).copy_(copy.source(whole))
    for number, segment in enumerate(plan.segments):
        assert torch.equal(found.data_of(number, pieces), whole[segment.offset : segment.end])


@settings(max_examples=60, deadline=None)
@given(layers, st.integers(1, 20_000))
def test_a_segment_is_there_once_its_group_is(layers, group_bytes):
    """And groups are as large as they are to be, but for the last."""
    plan = plan_of(layers)
    found = plan_transfer(plan, group_bytes)
    end_of = [group[-1].span.end for group in found.groups]

    assert all(
        segment.end <= end_of[group]
        for segment, group in zip(plan.segments, found.group_of, strict=True)
    )
    assert set(found.group_of) == set(range(len(found.groups)))
    sizes = [sum(copy.span.nbytes for copy in group) for group in found.groups]
    assert all(size >= group_bytes for size in sizes[:-1])


def test_a_large_layer_comes_in_parts():
    """What computes need not wait for all of it."""
    found = plan_transfer(plan_of([[100], [5000, 5000, 5000, 5000]]), group_bytes=6000)

    assert len(found.pieces) == 2
    assert found.group_of == (0, 0, 0, 1, 1)


def test_what_is_pinned_in_slices_is_copied_in_slices():
    """A device refuses a copy that crosses from one into the next."""
    plan = plan_of([[100, PIN_SLICE_BYTES]])

    assert len([copy for group in plan_transfer(plan).groups for copy in group]) == 2


def sent(device: FakeDevice) -> tuple[Arrivals, list[torch.Tensor]]:
    """Three groups of one segment each, all ones."""
    plan = plan_of([[PAGE], [PAGE], [PAGE]])
    found = plan_transfer(plan, group_bytes=1)
    whole = torch.ones(plan.file_bytes, dtype=torch.uint8)
    pieces = [torch.zeros(piece.nbytes, dtype=torch.uint8) for piece in found.pieces]
    events = send(device, found, whole, pieces)
    return Arrivals(device.compute_stream(), found.group_of, events), pieces


def test_who_waits_for_a_segment_has_it_and_those_before():
    """And no more than that."""
    arrivals, pieces = sent(FakeDevice())
    assert [int(piece.sum()) for piece in pieces] == [0, 0, 0]

    arrivals.wait_for(1)
    assert [int(piece.sum()) for piece in pieces] == [PAGE, PAGE, 0]
    assert not arrivals.is_complete
    arrivals.wait_for_all()
    assert [int(piece.sum()) for piece in pieces] == [PAGE] * 3
    assert arrivals.is_complete


class Counting:
    """A stream that counts."""

    def __init__(self) -> None:
        self.waits: list[object] = []

    def wait(self, event: object) -> None:
        self.waits.append(event)


def test_each_group_is_waited_for_once():
    """Whoever asks again, or for what came before, costs nothing."""
    stream = Counting()
    arrivals = Arrivals(stream, [0, 0, 1, 2], ["a", "b", "c"])
    for segment in (0, 1, 0, 2, 2, 1, 3, 3):
        arrivals.wait_for(segment)

    assert stream.waits == ["a", "b", "c"]
    assert arrivals.is_complete


def test_the_first_to_wait_waits_for_all_that_is_expected():
    """Of what a model had kept elsewhere, whichever weights it asks for first."""
    stream = Counting()
    arrivals = Arrivals(stream, [0], ["weights"])
    arrivals.wait_for(0)
    arrivals.expect("caches")
    assert not arrivals.is_complete

    arrivals.wait_for(0)
    assert stream.waits == ["weights", "caches"]
    assert arrivals.is_complete
