"""What a step loop may be told, from any thread. Each is answered through `core.residents.Reply`."""

import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from engine.api import Failure
from engine.cache.caches import Caches
from engine.core.resident import Resident
from engine.core.runner import LanguageModel
from engine.sampling.grammar import Constraint
from engine.wire import Start


@dataclass(frozen=True, slots=True)
class Add:
    """A loaded model may run from now on."""

    handle: int
    resident: Resident


@dataclass(frozen=True, slots=True)
class Drop:
    """Let go of a model as soon as its last sequence has ended; it takes no new ones.

    A paused one goes at once, and its sequences fail.
    """

    handle: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Let go of a model, and of its caches, but not of its sequences; it takes new ones."""

    handle: int


@dataclass(frozen=True, slots=True)
class Resume:
    """A paused model is loaded again and goes on: over `caches`, its own or empty ones.

    resumed: becomes whether there was such a paused model; all is let go of where there was none.
    """

    handle: int
    model: LanguageModel
    caches: Caches
    resumed: "Future[bool]"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A paused model will not be loaded again: its sequences fail, and its handle is no more."""

    handle: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a sequence for `owner`, under the owner's number for it.

    constraint: what its grammar was compiled to, or why it was not. since: of `time.perf_counter`.
    """

    owner: Hashable
    start: Start
    constraint: Constraint | Failure | None = None
    since: float = field(default_factory=time.perf_counter, compare=False)


@dataclass(frozen=True, slots=True)
class End:
    """Stop sequences of `owner`, all of them if `numbers` is None. Unknown ones are ignored."""

    owner: Hashable
    numbers: Sequence[int] | None


Work = Add | Drop | Pause | Resume | GiveUp | Begin | End
