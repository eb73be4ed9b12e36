"""An answer on the screen while it comes."""

import os
import sys
import time

from gateway.cli.conversation import Conversation, Figures

MAX_NOTE = 72
"""Characters of a passing line; one that wraps could not be taken back."""


def answer(conversation: Conversation, text: str) -> None:
    """Prints an answer while it comes; Ctrl-C stops it and is no error."""
    note = PassingNote()
    thoughts = Thoughts(note)
    pieces = conversation.say(text, note.show, thoughts.add)
    try:
        for piece in pieces:
            thoughts.end()
            note.clear()
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()
    finally:
        note.clear()
        print()
    if conversation.figures and sys.stderr.isatty():
        print(dim(in_words(conversation.figures)), file=sys.stderr)


def in_words(figures: Figures) -> str:
    rate = f", {figures.tokens_per_second:.1f} tokens/s" if figures.num_tokens > 1 else ""
    return f"{figures.num_tokens} tokens{rate}, the first after {figures.first_seconds:.2f} s"


def dim(text: str) -> str:
    return text if os.environ.get("NO_COLOR") else f"\x1b[2m{text}\x1b[0m"


class PassingNote:
    """One passing line about why nothing comes yet; only where somebody watches."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{dim(text[:MAX_NOTE])}", end="", file=sys.stderr, flush=True)
            self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._is_shown = False


class Thoughts:
    """A model's reasoning, folded: its last words while it thinks, one line with its time after."""

    def __init__(self, note: PassingNote) -> None:
        self._note = note
        self._began: float | None = None
        self._text = ""

    def add(self, text: str) -> None:
        self._began = self._began or time.monotonic()
        self._text = f"{self._text}{text}"[-2 * MAX_NOTE :]
        seen = f"thinking, {self._seconds():.0f} s: "
        self._note.show(seen + " ".join(self._text.split())[-(MAX_NOTE - len(seen)) :])

    def end(self) -> None:
        """The answer begins."""
        if self._began is not None:
            self._note.clear()
            if sys.stderr.isatty():
                print(dim(f"thought for {self._seconds():.1f} s"), file=sys.stderr, flush=True)
            self._began = None

    def _seconds(self) -> float:
        return time.monotonic() - (self._began or 0.0)
