"""Stop strings in a stream of text."""

from collections.abc import Sequence


class StopMatcher:
    """Finds the first of several strings to be complete in a text that comes in pieces.

    Of two that end at the same character, the longer counts. What is found does not depend on how
    the text was cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._patterns = [_Pattern(stop) for stop in stops if stop]
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        """The text that can be shown now, and the stop string if one is complete.

        An end that could still become a stop string is held back. After a match nothing more is
        to be fed.
        """
        if not self._patterns:
            return text, None
        for index, char in enumerate(text):
            found = [pattern.text for pattern in self._patterns if pattern.advance(char)]
            if found:
                stop = max(found, key=len)
                return (self._held + text[: index + 1])[: -len(stop)], stop
        seen = self._held + text
        num_held = max((pattern.num_matched for pattern in self._patterns), default=0)
        shown, self._held = seen[: len(seen) - num_held], seen[len(seen) - num_held :]
        return shown, None

    def flush(self) -> str:
        """What was held back, now that the text has ended."""
        held, self._held = self._held, ""
        return held


class _Pattern:
    """One string and how much of it the text now ends with (Knuth, Morris, Pratt)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.num_matched = 0
        self._fallback = _borders(text)

    def advance(self, char: str) -> bool:
        """Takes one more character; true when it completes the string."""
        while self.num_matched and self.text[self.num_matched] != char:
            self.num_matched = self._fallback[self.num_matched - 1]
        if self.text[self.num_matched] == char:
            self.num_matched += 1
        if self.num_matched == len(self.text):
            self.num_matched = self._fallback[-1]
            return True
        return False


def _borders(text: str) -> list[int]:
    """For each prefix, the length of its longest proper border."""
    borders = [0] * len(text)
    length = 0
    for index in range(1, len(text)):
        while length and text[index] != text[length]:
            length = borders[length - 1]
        if text[index] == text[length]:
            length += 1
        borders[index] = length
    return borders
