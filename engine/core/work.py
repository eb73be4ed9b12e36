"""What a step loop may be told, from any thread. Each is answered through `core.residents.Reply`."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from engine.core.resident import Resident
from engine.wire import Start


@dataclass(frozen=True, slots=True)
class Add:
    """A loaded model may run from now on."""

    handle: int
    resident: Resident


@dataclass(frozen=True, slots=True)
class Drop:
    """Let go of a model as soon as its last sequence has ended; it takes no new ones."""

    handle: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a sequence for `owner`, under the owner's number for it."""

    owner: Hashable
    start: Start


@dataclass(frozen=True, slots=True)
class End:
    """Stop sequences of `owner`, all of them if `numbers` is None. Unknown ones are ignored."""

    owner: Hashable
    numbers: Sequence[int] | None


Work = Add | Drop | Begin | End
