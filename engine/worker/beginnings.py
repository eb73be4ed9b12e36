"""Sequences on their way to the step loop: one with a grammar waits until that is compiled."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from engine.api import Failure
from engine.core.failures import failure_of
from engine.core.work import Begin, End, Work
from engine.sampling.grammar import Constraint
from engine.sampling.vocabularies import Vocabularies
from engine.wire import Start, Vocabulary
from engine.worker.background import be_background

log = structlog.get_logger()

Owner = Hashable


class Beginnings:
    """Called by the event loop; compiles in a thread of its own, while others begin and go on.

    put: tells the step loop. What was ended before it began never begins.
    """

    def __init__(self, put: Callable[[Work], None]) -> None:
        self._put = put
        self._known: dict[Owner, dict[str, Vocabulary]] = {}
        self._waiting: set[tuple[Owner, int]] = set()
        self._lock = threading.Lock()
        self._vocabularies = Vocabularies()
        self._thread = ThreadPoolExecutor(1, "grammars", initializer=be_background)

    def learn(self, owner: Owner, vocabulary: Vocabulary) -> None:
        """Grammars of this owner may be over these tokens."""
        self._known.setdefault(owner, {})[vocabulary.key] = vocabulary

    def begin(self, owner: Owner, start: Start) -> None:
        if start.grammar is None:
            self._put(Begin(owner, start))
            return
        vocabulary = self._known.get(owner, {}).get(start.grammar.vocabulary)
        with self._lock:
            self._waiting.add((owner, start.sequence))
        self._thread.submit(self._compile, owner, start, vocabulary)

    def end(self, owner: Owner, numbers: Sequence[int] | None) -> None:
        """Stops sequences of an owner; None for all of them, and for good."""
        with self._lock:
            self._waiting -= {
                (of, number)
                for of, number in self._waiting
                if of == owner and (numbers is None or number in numbers)
            }
            self._put(End(owner, numbers))
        if numbers is None:
            self._known.pop(owner, None)

    def _compile(self, owner: Owner, start: Start, vocabulary: Vocabulary | None) -> None:
        if (owner, start.sequence) not in self._waiting:
            return
        constraint = self._constraint(start, vocabulary)
        with self._lock:
            if (owner, start.sequence) in self._waiting:
                self._waiting.remove((owner, start.sequence))
                self._put(Begin(owner, start, constraint))

    def _constraint(self, start: Start, vocabulary: Vocabulary | None) -> Constraint | Failure:
        assert start.grammar is not None
        try:
            return self._vocabularies.constraint(start.grammar, vocabulary)
        except Exception as error:  # whatever a grammar does must not end the thread
            failure = failure_of(error)
            if failure.code == "internal":
                log.exception("grammar_failed", sequence=start.sequence)
            return failure
