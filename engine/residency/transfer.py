"""From an image in host memory to a device: planned, issued, and waited for group by group."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from engine.devices import PIN_SLICE_BYTES, Accelerator, Event, Stream
from engine.models.planes import layers
from engine.residency.image_plan import ImagePlan

GROUP_BYTES = 64 * 2**20
"""A group has so many bytes at least, unless it is the last: waiting for one costs microseconds, and a
copy of so much runs at a link's full rate."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes start..end of an image."""

    start: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Copy:
    """Bytes of an image, and where they go: to a byte of a piece of a slot."""

    span: Span
    piece: int
    start: int

    def target(self, pieces: Sequence[Tensor]) -> Tensor:
        return pieces[self.piece][self.start : self.start + self.span.nbytes]

    def source(self, whole: Tensor) -> Tensor:
        return whole[self.span.start : self.span.end]


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """pieces: what of an image lies together on a device. group_of: a segment's, by its number.

    groups: copies that are waited for together, in the order of computation. places: of each segment
    its piece, where it begins in that, and its bytes.
    """

    pieces: tuple[Span, ...]
    groups: tuple[tuple[Copy, ...], ...]
    group_of: tuple[int, ...]
    places: tuple[tuple[int, int, int], ...]

    def data_of(self, number: int, pieces: Sequence[Tensor]) -> Tensor:
        """A segment's bytes on the device."""
        piece, start, nbytes = self.places[number]
        return pieces[piece][start : start + nbytes]


def plan_transfer(plan: ImagePlan, group_bytes: int = GROUP_BYTES) -> TransferPlan:
    """A piece for each layer; groups of whole layers, or of parts of one that is large by itself."""
    pieces: list[Span] = []
    groups: list[tuple[Copy, ...]] = []
    group_of = [0] * len(plan.segments)
    places = [(0, 0, 0)] * len(plan.segments)
    open_copies: list[Copy] = []
    for layer in _layer_spans(plan):
        piece = len(pieces)
        pieces.append(layer.span)
        for part in _parts(plan, layer, group_bytes):
            for number in part.segments:
                segment = plan.segments[number]
                group_of[number] = len(groups)
                places[number] = piece, segment.offset - layer.span.start, segment.nbytes
            open_copies += _copies(part.span, piece, layer.span.start)
            if sum(copy.span.nbytes for copy in open_copies) >= group_bytes:
                groups.append(tuple(open_copies))
                open_copies = []
    if open_copies:
        groups.append(tuple(open_copies))
    return TransferPlan(tuple(pieces), tuple(groups), tuple(group_of), tuple(places))


@dataclass(frozen=True, slots=True)
class _Part:
    """Segments that lie one after the other, by their numbers."""

    span: Span
    segments: list[int]


def _layer_spans(plan: ImagePlan) -> Iterator[_Part]:
    """Each up to where the next one begins: a piece has its gaps, so all pieces are as one."""
    found = [
        sorted(layer, key=lambda number: plan.segments[number].offset)
        for layer in layers(segment.path for segment in plan.segments)
    ]
    starts = [plan.segments[layer[0]].offset for layer in found]
    for layer, (start, end) in zip(found, pairwise([*starts, plan.file_bytes]), strict=True):
        yield _Part(Span(start, end), layer)


def _parts(plan: ImagePlan, layer: _Part, group_bytes: int) -> Iterator[_Part]:
    """Of a layer, cut where a segment begins once there is enough for a group."""
    start, numbers = layer.span.start, list[int]()
    for number, following in zip(layer.segments, [*layer.segments[1:], None], strict=True):
        numbers.append(number)
        end = layer.span.end if following is None else plan.segments[following].offset
        if following is None or end - start >= group_bytes:
            yield _Part(Span(start, end), numbers)
            start, numbers = end, []


def _copies(span: Span, piece: int, piece_start: int) -> Iterator[Copy]:
    """None crosses from one slice of pinned memory into the next: an image begins with one."""
    first = span.start // PIN_SLICE_BYTES * PIN_SLICE_BYTES + PIN_SLICE_BYTES
    cuts = [span.start, *range(first, span.end, PIN_SLICE_BYTES), span.end]
    for start, end in pairwise(cuts):
        if start < end:
            yield Copy(Span(start, end), piece, start - piece_start)


class Arrivals:
    """Makes a stream wait for weights that are on their way, each group's once.

    Only the thread that computes may call, once all copies were issued. Groups come in order, so who
    waited for one need not wait for those before it.
    """

    def __init__(self, stream: Stream, group_of: Sequence[int], events: Sequence[Event]) -> None:
        self._stream, self._group_of, self._events = stream, group_of, events
        self._num_awaited = 0
        self._before: list[Event] = []

    @property
    def is_complete(self) -> bool:
        """There is nothing left to wait for, and to ask is a waste of time."""
        return self._num_awaited == len(self._events) and not self._before

    def wait_for(self, segment: int) -> None:
        """The stream's next work begins after a segment of the image has come.

        segment: its number, which is that of the parameter in the model's order.
        """
        if self._before:
            for event in self._before:
                self._stream.wait(event)
            self._before = []
        group = self._group_of[segment]
        if group >= self._num_awaited:
            self._stream.wait(self._events[group])
            self._num_awaited = group + 1

    def wait_for_all(self) -> None:
        if self._group_of:
            self.wait_for(max(range(len(self._group_of)), key=self._group_of.__getitem__))

    def expect(self, event: Event) -> None:
        """Whoever waits for anything waits for this, too: of what a model had kept elsewhere."""
        self._before.append(event)


def send(
    accelerator: Accelerator, plan: TransferPlan, whole: Tensor, pieces: Sequence[Tensor]
) -> list[Event]:
    """Issues all copies of an image to the copy stream; an event for each group.

    whole: uint8, pinned in slices from its beginning. It must stay until the last event.
    """
    events = []
    with accelerator.copy_stream() as stream:
        for group in plan.groups:
            for copy in group:
                accelerator.copy(copy.target(pieces), copy.source(whole))
            events.append(stream.record())
    return events
