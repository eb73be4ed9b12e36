"""The models on a device and their sequences. One thread calls; it holds no lock and no clock."""

from collections.abc import Hashable
from collections.abc import Sequence as Many
from typing import Protocol

from engine.api import EngineError
from engine.core.admission import sequence_of
from engine.core.failures import failure_of
from engine.core.fairness import DeficitRoundRobin
from engine.core.pacing import ALONE_SECONDS, SHARED_SECONDS
from engine.core.resident import Resident
from engine.core.sequence import Sequence
from engine.core.work import Add, Begin, Drop, End, Work
from engine.wire import Output

Owner = Hashable


class Reply(Protocol):
    """Who hears what the loop did."""

    def outputs(self, owner: Owner, outputs: list[Output]) -> None:
        """What one step, or a refusal, has for one owner."""

    def dropped(self, handle: int) -> None:
        """The loop holds no reference to the model any more."""


class Residents:
    """Takes work in, runs one step of one model at a time, in fair turns."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._residents: dict[int, Resident] = {}
        self._draining: set[int] = set()
        self._turns: DeficitRoundRobin[int] = DeficitRoundRobin()
        self._running: dict[tuple[Owner, int], tuple[Resident, Sequence]] = {}

    @property
    def is_idle(self) -> bool:
        return not self._running

    def apply(self, work: Work) -> None:
        match work:
            case Add(handle, resident):
                self._residents[handle] = resident
                self._turns.add(handle)
            case Drop(handle):
                self._draining.add(handle)
            case Begin():
                self._begin(work)
            case End(owner, numbers):
                self._end(owner, self._numbers_of(owner) if numbers is None else numbers)
        self._drop_drained()

    def next_turn(self) -> int:
        """The handle of the model whose turn it is. Something must be running."""
        return self._turns.choose(self._ready())

    def step(self, handle: int) -> None:
        """Runs one step of a model and hands out what it made."""
        prefill_seconds = ALONE_SECONDS if len(self._running) == 1 else SHARED_SECONDS
        by_owner: dict[Owner, list[Output]] = {}
        for sequence, output in self._residents[handle].step(prefill_seconds):
            by_owner.setdefault(sequence.owner, []).append(output)
            if output.finish_reason or output.failure:
                del self._running[sequence.owner, sequence.number]
        for owner, outputs in by_owner.items():
            self._reply.outputs(owner, outputs)
        self._drop_drained()

    def charge(self, handle: int, seconds: float) -> None:
        """What a step cost the model that took it."""
        self._turns.charge(handle, seconds)

    def check(self) -> None:
        """Asserts what must hold between steps: no block lost, no sequence forgotten."""
        scheduled = {s for resident in self._residents.values() for s in resident.scheduler}
        assert scheduled == {sequence for _, sequence in self._running.values()}
        for resident in self._residents.values():
            resident.scheduler.check()

    def _ready(self) -> list[int]:
        return [handle for handle, resident in self._residents.items() if not resident.is_idle]

    def _begin(self, work: Begin) -> None:
        number = work.start.sequence
        try:
            resident = self._resident_for(work)
            sequence = sequence_of(work.start, work.owner, resident.vocab_size)
            resident.scheduler.add(sequence)
        except EngineError as error:
            output = Output(number, [], [], [], failure=failure_of(error))
            self._reply.outputs(work.owner, [output])
        else:
            self._running[work.owner, number] = resident, sequence

    def _resident_for(self, work: Begin) -> Resident:
        handle, number = work.start.handle, work.start.sequence
        if (work.owner, number) in self._running:
            raise EngineError("internal", f"a sequence {number} is running already")
        if handle not in self._residents or handle in self._draining:
            raise EngineError("stale_handle", f"no model {handle} here any more")
        return self._residents[handle]

    def _numbers_of(self, owner: Owner) -> list[int]:
        return [number for of, number in self._running if of == owner]

    def _end(self, owner: Owner, numbers: Many[int]) -> None:
        for number in numbers:
            resident, sequence = self._running.pop((owner, number), (None, None))
            if resident and sequence:
                resident.scheduler.remove(sequence)

    def _drop_drained(self) -> None:
        for handle in [h for h in self._draining if self._can_drop(h)]:
            self._draining.remove(handle)
            if self._residents.pop(handle, None):
                self._turns.remove(handle)
            self._reply.dropped(handle)

    def _can_drop(self, handle: int) -> bool:
        return handle not in self._residents or self._residents[handle].is_idle
