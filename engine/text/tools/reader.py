"""A model's text as it comes, for parsers that are written as if all of it were there.

A parser is a generator that yields where it has to wait for more. What it finds does not depend on
how the text was cut into pieces.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from engine.text.tools.events import Argued, Called, Event, Said, Span, SpanKind, Thought

T = TypeVar("T")
Parse = Generator[None, None, T]
Out = Callable[[str], None]


class NotACallError(Exception):
    """The text does not go on as a call does."""


class Reader:
    """A cursor over the text so far, and the events found in it.

    White space at the start of the answer and after a call waits for words: if a call comes first,
    it was only layout. tools: schemas of the arguments of the tools there are, by name.
    splits_thought: whether what is thought comes apart from what is said. ends_in_calls: nothing is
    said after a call, so what cannot be read there is another one that was cut short.
    """

    def __init__(
        self,
        tools: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        *,
        splits_thought: bool = True,
        ends_in_calls: bool = False,
    ) -> None:
        self.tools = tools
        self.splits_thought = splits_thought
        self.ends_in_calls = ends_in_calls
        self.events: list[Event] = []
        self.spans: list[Span] = []
        self.num_calls = 0
        self.is_ended = False
        self._text = ""
        self._at = 0
        self._base = 0
        self._mark: int | None = None
        self._white = ""
        self._is_opening = True

    def append(self, text: str) -> None:
        """Takes in more text; lets go of what cannot be read again."""
        keep = self._at if self._mark is None else self._mark
        self._text = self._text[keep:] + text
        self._base += keep
        self._at -= keep
        self._mark = None if self._mark is None else 0

    def schema(self, name: str) -> Mapping[str, Any]:
        """Of a tool's arguments; empty for a tool that there is not."""
        return self.tools.get(name, {})

    @property
    def num_settled(self) -> int:
        """How many characters have become what they are."""
        return self._base + (self._at if self._mark is None else self._mark) - len(self._white)

    # --- looking --------------------------------------------------------------------------------

    def peek(self) -> Parse[str]:
        """The next character; empty at the end."""
        while self._at == len(self._text) and not self.is_ended:
            yield
        return self._text[self._at : self._at + 1]

    def accept(self, literal: str) -> Parse[bool]:
        """Takes the literal if it comes next."""
        while not (found := self._text.startswith(literal, self._at)):
            if self.is_ended or not literal.startswith(self._text[self._at :]):
                break
            yield
        self._at += len(literal) * found
        return found

    def expect(self, *literals: str) -> Parse[str]:
        """Takes the first of the literals to come next, none of which begins another."""
        for literal in literals:
            if (yield from self.accept(literal)):
                return literal
        raise NotACallError

    def space(self) -> Parse[str]:
        """Takes white space."""
        taken = ""
        while (char := (yield from self.peek())).isspace():
            taken += char
            self._at += 1
        return taken

    def run(self, accepts: Callable[[str], bool]) -> Parse[str]:
        """Takes characters for as long as they are accepted."""
        taken = ""
        while (char := (yield from self.peek())) and accepts(char):
            taken += char
            self._at += 1
        return taken

    def scan(self, out: Out, *markers: str, drops_end: bool = False) -> Parse[str | None]:
        """Takes text up to and with the first marker, which it returns; None at the end.

        The text before it goes out as it comes, but for an end that may become a marker; if the text
        ends there, drops_end says that it was to become one.
        """
        while True:
            found = _first(self._text, self._at, markers)
            if found is not None:
                self._pass(out, found[0])
                self._at += len(found[1])
                return found[1]
            is_whole = self.is_ended and not drops_end
            held = 0 if is_whole else _num_held(self._text, self._at, markers)
            self._pass(out, len(self._text) - held)
            if self.is_ended:
                return None
            yield

    def until(self, *markers: str) -> Parse[str]:
        """Takes text up to and with the first marker; returns it without. Raises at the end."""
        kept: list[str] = []
        if (yield from self.scan(kept.append, *markers)) is None:
            raise NotACallError
        return "".join(kept)

    def run_until(self, marker: str, max_chars: int) -> Parse[str]:
        """As `until`, for a text that is no longer than so."""
        kept = ""
        while not (yield from self.accept(marker)):
            kept += yield from self.peek()
            self._at += 1
            if self._at > len(self._text) or len(kept) > max_chars:
                self._at = min(self._at, len(self._text))
                raise NotACallError
        return kept

    def _pass(self, out: Out, end: int) -> None:
        if end > self._at:
            out(self._text[self._at : end])
            self._at = end

    # --- saying ---------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """The text at the cursor is the answer's."""
        if not text or (self.ends_in_calls and self.num_calls):
            return
        if self._is_opening and text.isspace():
            self._white += text
            return
        start = self._base + self._at - len(self._white)
        self._place(start, self._base + self._at + len(text), "text")
        self.events.append(Said(self._white + text))
        self._white = ""
        self._is_opening = False

    def think(self, text: str) -> None:
        """The text at the cursor is thought."""
        start = self._base + self._at
        self._place(start, start + len(text), "thought")
        self.events.append(Thought(text))

    def call(self, name: str, id: str | None = None) -> None:  # noqa: A002 - the wire's word
        """A call begins, and nothing before the cursor will be read again."""
        self._mark = None
        self._white = ""
        self._is_opening = True
        self.num_calls += 1
        self.events.append(Called(name, id))

    def argue(self, text: str) -> None:
        self.events.append(Argued(text))

    def end(self) -> None:
        """After the last of the text: white space that waited is text if there was no call."""
        if self._white and not self.num_calls:
            start = self._base + self._at - len(self._white)
            self._place(start, start + len(self._white), "text")
            self.events.append(Said(self._white))
        self._white = ""

    def _place(self, start: int, end: int, kind: SpanKind) -> None:
        if self.spans and self.spans[-1].kind == kind and self.spans[-1].end == start:
            start = self.spans.pop().start
        self.spans.append(Span(start, end, kind))

    # --- trying ---------------------------------------------------------------------------------

    def keep(self, num_before: int = 0) -> None:
        """What follows, and the last few characters before it, may have to be read again."""
        self._mark = self._at - num_before

    @contextmanager
    def held(self) -> Iterator[None]:
        """If the parse fails inside, what was taken inside is read again as text."""
        is_outermost = self._mark is None
        if is_outermost:
            self.keep()
        yield
        if is_outermost:
            self._mark = None

    def attempt(self, parse: Parse[None], opening: str = "") -> Parse[bool]:
        """Parses what follows `opening`, just taken, as calls; says it if it is none.

        What cannot be read as a call is text, and is read again after its opening. A call that has
        begun stands as far as it came.
        """
        self.keep(len(opening))
        num_calls = self.num_calls
        try:
            yield from parse
        except NotACallError:
            self._at = self._at if self._mark is None else self._mark
            self._mark = None
            if self.num_calls > num_calls:
                return True
            self.say(opening)
            self._at += len(opening)
            return False
        self._mark = None
        return True


def _first(text: str, start: int, markers: tuple[str, ...]) -> tuple[int, str] | None:
    places = [(place, marker) for marker in markers if (place := text.find(marker, start)) >= 0]
    return min(places, default=None)


def _num_held(text: str, start: int, markers: tuple[str, ...]) -> int:
    """Length of the longest end of the text that a marker begins with."""
    longest = min(max(map(len, markers), default=1) - 1, len(text) - start)
    for length in range(longest, 0, -1):
        end = text[len(text) - length :]
        if any(marker.startswith(end) for marker in markers):
            return length
    return 0
