"""Models that several workers hold together, as one load: all of it, or nothing."""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from engine.api import LoadOrder, LoadReport
from engine.links import WorkerLink
from engine.wire import CancelLoad, Evict, Load, Pause, Seat

_Answer = asyncio.Future[LoadReport]


class SpreadModels:
    """By handle, with the devices that hold them; the first leads. folder: for their meetings."""

    def __init__(self, workers: Mapping[str, WorkerLink], folder: Path) -> None:
        self._workers, self._folder = workers, folder
        self._places: dict[int, Sequence[str]] = {}

    def __contains__(self, handle: int) -> bool:
        return handle in self._places

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:
        """As of `Engine.load`; what any worker refuses is refused, once the others have let go."""
        workers = [self._workers[name] for name in (order.device, *order.others)]
        for worker in workers:
            await worker.ready.wait()
        room = self._room(order.handle)
        room.mkdir(mode=0o700)
        answers: dict[WorkerLink, _Answer] = {}
        try:
            self._ask(order, workers, room, answers, _Least(len(workers), progress))
            reports = await _all(answers.values())
        except BaseException:
            await _undo(order.handle, answers)
            shutil.rmtree(room, ignore_errors=True)
            raise
        finally:
            for worker in workers:
                worker.progress.pop(order.handle, None)
        self._places[order.handle] = (order.device, *order.others)
        return _together(reports)

    async def evict(self, handle: int) -> None:
        """From all of its devices that are left."""
        await _evict(handle, self._left(handle))
        del self._places[handle]
        shutil.rmtree(self._room(handle), ignore_errors=True)

    async def pause(self, handle: int) -> None:
        """The leader keeps the sequences; the others have nothing to keep."""
        leader, *others = self._left(handle)
        leader.send(Pause(handle))
        await leader.pauses.open(handle)
        await _evict(handle, others)
        shutil.rmtree(self._room(handle), ignore_errors=True)

    def _room(self, handle: int) -> Path:
        """Where they meet, again after a step that failed."""
        return self._folder / f"group-{handle}"

    def _left(self, handle: int) -> list[WorkerLink]:
        workers = [self._workers[name] for name in self._places[handle]]
        return [worker for worker in workers if worker.ready.is_set()]

    def _ask(
        self,
        order: LoadOrder,
        workers: Sequence[WorkerLink],
        room: Path,
        answers: dict[WorkerLink, _Answer],
        progress: "_Least",
    ) -> None:
        """Fills `answers`, of those that could be asked."""
        for rank, worker in enumerate(workers):
            # only the leader has sequences that could go on
            own = replace(order, device=worker.device.name, resumes=order.resumes and rank == 0)
            worker.send(Load(own, Seat(rank, len(workers), str(room))))
            worker.progress[order.handle] = progress.of(rank)
            answers[worker] = worker.loads.open(order.handle)


class _Least:
    """Passes on how far the slowest of several has come."""

    def __init__(self, count: int, progress: Callable[[float], None]) -> None:
        self._fractions = [0.0] * count
        self._progress = progress

    def of(self, index: int) -> Callable[[float], None]:
        def tell(fraction: float) -> None:
            self._fractions[index] = fraction
            self._progress(min(self._fractions))

        return tell


async def _all(answers: Iterable[_Answer]) -> list[LoadReport]:
    """Raises what the first that failed did, without waiting for the rest."""
    asked = list(answers)
    await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
    refused = [answer for answer in asked if answer.done() and answer.exception()]
    return [answer.result() for answer in refused or asked]


async def _undo(handle: int, answers: Mapping[WorkerLink, _Answer]) -> None:
    """Returns once no worker holds anything of it."""
    for worker in answers:
        worker.send_if_alive(CancelLoad(handle))
    if answers:
        await asyncio.wait(answers.values())
    finished = [worker for worker, answer in answers.items() if not answer.exception()]
    await _evict(handle, [worker for worker in finished if worker.ready.is_set()])


async def _evict(handle: int, workers: Sequence[WorkerLink]) -> None:
    """Raises where one is lost meanwhile, once all others are done."""
    answers = []
    for worker in workers:
        worker.send(Evict(handle))
        answers.append(worker.evictions.open(handle))
    for answer in await asyncio.gather(*answers, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


def _together(reports: Sequence[LoadReport]) -> LoadReport:
    """The most that any device needed; how it went is what the leader says."""

    def most(of: Callable[[LoadReport], int]) -> int:
        return max(map(of, reports))

    return replace(
        reports[0],
        weights_bytes=most(lambda each: each.weights_bytes),
        kv_bytes=most(lambda each: each.kv_bytes),
        state_bytes=most(lambda each: each.state_bytes),
        workspace_bytes=most(lambda each: each.workspace_bytes),
        seconds=max(each.seconds for each in reports),
    )
