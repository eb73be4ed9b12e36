from hypothesis import given
from hypothesis import strategies as st

from engine.text.stop import StopMatcher

STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=4)
PIECES = st.lists(st.text("abc", max_size=5), max_size=12)


def run(stops, pieces):
    """All text shown, and the stop found."""
    matcher = StopMatcher(stops)
    shown = ""
    for piece in pieces:
        text, stop = matcher.feed(piece)
        shown += text
        if stop is not None:
            return shown, stop
    return shown + matcher.flush(), None


def first_end(stops, text):
    """The shortest beginning of the text that ends with a stop, searched for plainly."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end - len(stop)], stop
    return text, None


@given(STOPS, PIECES)
def test_the_first_stop_to_be_complete_ends_the_text(stops, pieces):
    """However the text is cut, the result is that of a plain search through all of it."""
    assert run(stops, pieces) == first_end(stops, "".join(pieces))


@given(STOPS, PIECES)
def test_only_what_could_still_be_a_stop_is_held_back(stops, pieces):
    """Shown text is never taken back, and nothing is held without need."""
    matcher = StopMatcher(stops)
    fed = shown = ""
    for piece in pieces:
        text, stop = matcher.feed(piece)
        fed, shown = fed + piece, shown + text
        if stop is not None:
            return
        held = fed[len(shown) :]
        assert fed.startswith(shown)
        assert not held or any(stop.startswith(held) for stop in stops)


def test_without_stops_text_passes():
    """No stop strings, or empty ones, hold nothing back."""
    assert StopMatcher([]).feed("text") == ("text", None)
    assert StopMatcher([""]).feed("text") == ("text", None)


def test_a_long_adversarial_stop_stays_linear():
    """Thousands of characters of almost-stop take no quadratic time."""
    matcher = StopMatcher(["a" * 20_000 + "b"])

    text, stop = matcher.feed("a" * 200_000)

    assert (len(text), stop) == (180_000, None)
    assert matcher.feed("b") == ("", "a" * 20_000 + "b")
