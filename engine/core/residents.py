"""The models on a device and their sequences. One thread calls; it holds no lock and no clock."""

from collections.abc import Hashable
from collections.abc import Sequence as Many
from typing import Protocol

from engine.api import EngineError, Failure
from engine.cache.caches import Caches
from engine.core.admission import refuse_misuse, sequence_of
from engine.core.failures import failure_of
from engine.core.fairness import DeficitRoundRobin
from engine.core.pacing import ALONE_SECONDS
from engine.core.plan import DraftCount, PromptCount
from engine.core.resident import Resident
from engine.core.sequence import Sequence
from engine.core.sequences import Sequences
from engine.core.work import Add, Begin, Drop, End, GiveUp, Pause, Resume, Work
from engine.wire import Output

Owner = Hashable

_EVICTED = Failure("stale_handle", "the model was evicted while it was paused")


class Reply(Protocol):
    """Who hears what the loop did."""

    def outputs(self, owner: Owner, outputs: list[Output]) -> None:
        """What one step, or a refusal, has for one owner."""

    def dropped(self, handle: int, caches: Caches | None) -> None:
        """The loop holds no reference to the model any more.

        caches: what it had, with no sequence in them; None if it was never there, or paused: no
        sequence holds anything any more of those that it left then.
        """

    def paused(self, handle: int, caches: Caches | None) -> None:
        """The loop holds nothing of the model but its sequences.

        caches: what these go on with, as long as somebody keeps them; None if there is nothing to
        pause.
        """


class Residents:
    """Takes work in, runs one step of one model at a time, in fair turns.

    begun: all prompts that began. drafted: all guesses that were made.
    """

    def __init__(self, reply: Reply) -> None:
        self.begun, self.drafted = PromptCount(), DraftCount()
        self._reply = reply
        self._residents: dict[int, Resident] = {}
        self._paused: dict[int, Sequences] = {}
        self._draining: set[int] = set()
        self._turns: DeficitRoundRobin[int] = DeficitRoundRobin()
        self._running: dict[tuple[Owner, int], tuple[Sequences, Sequence]] = {}

    @property
    def is_idle(self) -> bool:
        """Nothing can be computed, though paused sequences may wait."""
        return all(resident.is_idle for resident in self._residents.values())

    def apply(self, work: Work) -> None:
        match work:
            case Add(handle, resident):
                self._add(handle, resident)
            case Drop(handle):
                self._draining.add(handle)
            case Pause(handle):
                self._pause(handle)
            case Resume():
                self._resume(work)
            case GiveUp(handle, failure):
                self._give_up(handle, failure)
            case Begin():
                self._begin(work)
            case End(owner, numbers):
                self._end(owner, self._numbers_of(owner) if numbers is None else numbers)
        self._drop_drained()

    def next_turn(self) -> int:
        """The handle of the model whose turn it is. Something must be running."""
        return self._turns.choose(self._ready())

    def step(self, handle: int) -> None:
        """Runs one step of a model and hands out what it made.

        On a device that computes beside us the model's next step may then be under way already, unless
        others have work: what is under way is over before another model begins.
        """
        resident = self._residents[handle]
        self._settle_others(handle)
        is_alone = len(self._ready()) == 1
        outputs = resident.step(self._prefill_seconds(resident), ahead=is_alone)
        begun = resident.scheduler.take_begun()
        self.begun += begun
        resident.sequences.counts.begun += begun
        resident.sequences.counts.num_preempted += resident.scheduler.take_preempted()
        self.drafted += resident.scheduler.take_drafted()
        self._hand_out(outputs)
        del resident  # whoever hears of the drop may count on it
        self._drop_drained()

    def prepare(self) -> bool:
        """Makes use of a moment in which there is nothing to compute; whether there was any use for it."""
        return any(resident.prepare() for resident in self._residents.values())

    def charge(self, handle: int, seconds: float) -> None:
        """What a step cost the model that took it."""
        self._turns.charge(handle, seconds)

    def check(self) -> None:
        """Asserts the schedulers' invariants."""
        for resident in self._residents.values():
            resident.scheduler.check()
        for sequences in self._paused.values():
            sequences.scheduler.check()

    def _settle_others(self, handle: int) -> None:
        for each, resident in self._residents.items():
            if each != handle:
                self._hand_out(resident.settle())

    def _hand_out(self, outputs: Many[tuple[Sequence, Output]]) -> None:
        by_owner: dict[Owner, list[Output]] = {}
        for sequence, output in outputs:
            by_owner.setdefault(sequence.owner, []).append(output)
            if output.finish_reason or output.failure:
                del self._running[sequence.owner, sequence.number]
        for owner, of_owner in by_owner.items():
            self._reply.outputs(owner, of_owner)

    # --- models ---------------------------------------------------------------------------------

    def _add(self, handle: int, resident: Resident) -> None:
        self._residents[handle] = resident
        self._turns.add(handle)

    def _remove(self, handle: int) -> Resident | None:
        if handle in self._residents:
            self._turns.remove(handle)
        return self._residents.pop(handle, None)

    def _pause(self, handle: int) -> None:
        resident = self._remove(handle)
        if resident is None:
            self._reply.paused(handle, None)
        else:
            self._hand_out(resident.settle())
            self._paused[handle], caches = resident.sequences, resident.caches
            del resident
            self._reply.paused(handle, caches)

    def _resume(self, work: Resume) -> None:
        sequences = self._paused.pop(work.handle, None)
        if sequences is not None:
            self._add(work.handle, Resident(work.model, work.caches, sequences))
        work.resumed.set_result(sequences is not None)

    def _give_up(self, handle: int, failure: Failure) -> None:
        sequences = self._paused.pop(handle, None)
        for (owner, number), (of, sequence) in list(self._running.items()):
            if of is sequences:
                del self._running[owner, number]
                of.scheduler.remove(sequence)  # its caches may be kept for others
                self._reply.outputs(owner, [Output(number, [], [], [], failure=failure)])

    def _drop_drained(self) -> None:
        for handle in [h for h in self._draining if self._can_drop(h)]:
            self._draining.remove(handle)
            self._give_up(handle, _EVICTED)
            resident = self._remove(handle)
            caches = resident.caches if resident else None
            del resident
            self._reply.dropped(handle, caches)

    def _can_drop(self, handle: int) -> bool:
        return handle not in self._residents or self._residents[handle].is_idle

    # --- sequences ------------------------------------------------------------------------------

    def _ready(self) -> list[int]:
        return [handle for handle, resident in self._residents.items() if not resident.is_idle]

    def _prefill_seconds(self, resident: Resident) -> float:
        """By whether somebody else waits for the step."""
        running = sum(len(each.scheduler) for each in self._residents.values())
        return ALONE_SECONDS if running == 1 else resident.sequences.stall_seconds

    def _begin(self, work: Begin) -> None:
        number = work.start.sequence
        try:
            if isinstance(work.constraint, Failure):
                raise work.constraint.error()
            sequences = self._sequences_for(work)
            refuse_misuse(work.start, sequences.traits)
            sequence = sequence_of(work.start, work.owner, sequences.vocab_size, work.constraint)
            sequence.arrived_at = work.since
            sequences.scheduler.add(sequence)
        except EngineError as error:
            output = Output(number, [], [], [], failure=failure_of(error))
            self._reply.outputs(work.owner, [output])
        else:
            self._running[work.owner, number] = sequences, sequence

    def _sequences_for(self, work: Begin) -> Sequences:
        handle, number = work.start.handle, work.start.sequence
        if (work.owner, number) in self._running:
            raise EngineError("internal", f"a sequence {number} is running already")
        if handle in self._residents and handle not in self._draining:
            return self._residents[handle].sequences
        if handle in self._paused:
            return self._paused[handle]
        raise EngineError("stale_handle", f"no model {handle} here any more")

    def _numbers_of(self, owner: Owner) -> list[int]:
        return [number for of, number in self._running if of == owner]

    def _end(self, owner: Owner, numbers: Many[int]) -> None:
        for number in numbers:
            sequences, sequence = self._running.pop((owner, number), (None, None))
            if sequences and sequence:
                sequences.scheduler.remove(sequence)
