from msgspec import Struct

from gateway import sse


class Said(Struct):
    text: str


def test_an_event_is_one_line_of_json():
    """Newlines in texts are escaped by JSON, so that a line is always an event."""
    assert sse.event(Said("a\nb")) == b'data: {"text":"a\\nb"}\n\n'


def test_a_comment_cannot_break_out_of_its_line():
    """A model's name is not ours to trust."""
    assert sse.comment("loading x\ndata: {}\r") == b": loading x data: {} \n\n"
